"""Sample MakeHuman's texture masks at the corners of a mesh."""

from __future__ import annotations

import numpy as np


def sample_bilinear(image: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Values (n,) of `image` (height, width) at texture coordinates (n, 2), v = 1 on the first row."""
    height, width = image.shape
    x = np.clip(uv[:, 0] * width - 0.5, 0, width - 1.001)
    y = np.clip((1 - uv[:, 1]) * height - 0.5, 0, height - 1.001)
    column, row = x.astype(int), y.astype(int)
    right, down = x - column, y - row
    top = image[row, column] * (1 - right) + image[row, column + 1] * right
    bottom = image[row + 1, column] * (1 - right) + image[row + 1, column + 1] * right
    return top * (1 - down) + bottom * down


def nail_mask(image: np.ndarray, uv: np.ndarray, faces: np.ndarray, faces_uv: np.ndarray, count: int) -> np.ndarray:
    """How much each of `count` vertices belongs to a nail, 0..1: the mean over its texture corners."""
    values = sample_bilinear(image, uv[faces_uv.reshape(-1)])
    total, corners = np.zeros(count), np.zeros(count)
    np.add.at(total, faces.reshape(-1), values)
    np.add.at(corners, faces.reshape(-1), 1)
    return total / np.maximum(corners, 1)
