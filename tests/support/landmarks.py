"""Landmarks of a flat hand in a picture."""

import numpy as np


def open_hand(center=(300.0, 200.0), size=100.0, angle=0.0):
    """21 keypoints of a flat hand that points up, then turned clockwise by `angle`; `size` px long."""
    points = np.zeros((21, 2))
    for finger in range(5):
        for k in range(4):
            points[1 + 4 * finger + k] = ((finger - 2) * 0.12 * size, -(0.5 + 0.16 * k) * size)
    points[1:5, 1] += 0.35 * size
    cos, sin = np.cos(angle), np.sin(angle)
    return points @ np.array([[cos, -sin], [sin, cos]]).T + center


def to_crop(region, points_px, crop_px=224):
    """Pixels of the crop, of pixels of the image."""
    affine = region.image_from_crop(crop_px)
    return (points_px - affine[:, 2]) @ np.linalg.inv(affine[:, :2]).T
