"""Calibration files: one module per format."""
