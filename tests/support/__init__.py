"""What several test modules make their scenes with."""
