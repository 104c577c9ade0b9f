"""Drawings for people."""
