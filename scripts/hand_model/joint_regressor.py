"""Regress joints from vertices: MANO's `J_regressor`."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

CANDIDATES = 60
CANDIDATES_WRIST = 120
SHAPE_ROWS = 2.0  # importance of following the shape components (metres per deviation) against the mean position
SUM_ROW = 10.0
SPREAD_ROW = 2e-3  # keeps the weight from piling up on a few vertices


def fit_regressor(vertices: np.ndarray, shapes: np.ndarray, joints: np.ndarray, joint_shapes: np.ndarray) -> np.ndarray:
    """Non-negative weights (16, v), each row summing to one, of vertices near the joint.

    vertices: (v, 3). shapes: (v, 3, k). joints: (16, 3). joint_shapes: (16, 3, k).
    """
    regressor = np.zeros((len(joints), len(vertices)))
    for joint, position in enumerate(joints):
        count = CANDIDATES if joint else CANDIDATES_WRIST
        near = np.argsort(np.linalg.norm(vertices - position, axis=1), kind="stable")[:count]
        rows = [
            100 * (vertices[near] - position).T,
            100 * SHAPE_ROWS * shapes[near].transpose(1, 2, 0).reshape(-1, count),
        ]
        wanted = [np.zeros(3), 100 * SHAPE_ROWS * joint_shapes[joint].reshape(-1)]
        rows += [np.full((1, count), SUM_ROW), SPREAD_ROW * np.sqrt(count) * np.eye(count)]
        wanted += [np.array([SUM_ROW]), np.full(count, SPREAD_ROW / np.sqrt(count))]
        weights, _ = nnls(np.concatenate(rows), np.concatenate(wanted), maxiter=100 * count)
        regressor[joint, near] = weights / weights.sum()
    return regressor
