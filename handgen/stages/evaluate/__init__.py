"""Annotations measured against truth, or against a view that was left out."""
