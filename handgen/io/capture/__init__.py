"""Captures: finding, opening and synchronising their cameras."""
