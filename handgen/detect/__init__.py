"""Detectors: images or files of keypoints -> keypoints_px, confidence, side. One file per detector."""
