"""A capture becomes annotations."""
