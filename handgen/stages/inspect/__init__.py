"""Describe what a directory holds."""
