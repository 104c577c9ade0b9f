"""Parts that several test modules make their scenes with."""
