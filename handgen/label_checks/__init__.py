"""Checks whether labels mean what they say, on labelled pictures of whatever format."""
