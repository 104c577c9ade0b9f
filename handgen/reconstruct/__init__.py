"""Detections and pictures become fitted hands and records."""
