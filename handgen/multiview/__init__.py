"""Detections of several cameras brought together: association and tracking."""
