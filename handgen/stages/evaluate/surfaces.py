"""Two hand surfaces against each other: vertex by vertex where the meshes correspond, else point to surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import trimesh
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from handgen.stages.evaluate.alignment import similarity_between
from handgen.stages.evaluate.distributions import pck_counts

Kind = Literal["corresponding", "surface"]
F_THRESHOLDS_MM = (5.0, 15.0)  # FreiHAND's, `eval.py`


@dataclass(frozen=True)
class SurfaceErrors:
    """Surface errors of `n` hands. kind: how they were compared. error_mm: mean over the vertices of each.

    within: vertices under each PCK threshold, of `count`.
    """

    kind: Kind
    error_mm: Float[np.ndarray, " n"]
    aligned_mm: Float[np.ndarray, " n"]
    within: Int[np.ndarray, " 100"]
    aligned_within: Int[np.ndarray, " 100"]
    count: int
    f_scores: Float[np.ndarray, "n 2 2"]


@dataclass(frozen=True)
class HandMesh:
    """`n` poses of one mesh, metres, with the keypoints that they are aligned by where vertices do not correspond."""

    vertices: Float[np.ndarray, "n v 3"]
    faces: Int[np.ndarray, "faces 3"]
    keypoints: Float[np.ndarray, "n 21 3"]


def surface_errors(mesh: HandMesh, truth: HandMesh) -> SurfaceErrors:
    """Compare the hands one by one.

    Meshes with the same faces have corresponding vertices: distance of each vertex from the same one of the truth;
    Procrustes by the vertices (FreiHAND). Otherwise: distance of every vertex from the other surface, both ways
    together; Procrustes by the keypoints.
    """
    corresponding = np.array_equal(mesh.faces, truth.faces)
    pair = (mesh.vertices, truth.vertices) if corresponding else (mesh.keypoints, truth.keypoints)
    aligned = similarity_between(*pair).apply(mesh.vertices)

    def errors(vertices: np.ndarray) -> list[np.ndarray]:
        if corresponding:
            return list(np.linalg.norm(vertices - truth.vertices, axis=2) * 1e3)
        ways = [
            (distance_to_surface(ours, theirs, truth.faces), distance_to_surface(theirs, ours, mesh.faces))
            for ours, theirs in zip(vertices, truth.vertices, strict=True)
        ]
        return [np.concatenate(both) * 1e3 for both in ways]

    as_is, fitted = errors(mesh.vertices), errors(aligned)
    scores = [[f_scores(ours[i], true) for ours in (mesh.vertices, aligned)] for i, true in enumerate(truth.vertices)]
    return SurfaceErrors(
        kind="corresponding" if corresponding else "surface",
        error_mm=np.array([error.mean() for error in as_is]),
        aligned_mm=np.array([error.mean() for error in fitted]),
        within=sum((pck_counts(error) for error in as_is), np.zeros(100, int)),
        aligned_within=sum((pck_counts(error) for error in fitted), np.zeros(100, int)),
        count=sum(len(error) for error in as_is),
        f_scores=np.array(scores).reshape(-1, 2, len(F_THRESHOLDS_MM)),
    )


def join_surfaces(parts: Sequence[SurfaceErrors], order: Int[np.ndarray, " n"] | None = None) -> SurfaceErrors:
    """The errors of several sets of hands as one. order: rows of the whole, or None to leave them one after another."""
    error_mm = np.concatenate([part.error_mm for part in parts])
    rows = np.arange(len(error_mm)) if order is None else order
    return SurfaceErrors(
        kind=parts[0].kind,
        error_mm=error_mm[rows],
        aligned_mm=np.concatenate([part.aligned_mm for part in parts])[rows],
        within=np.sum([part.within for part in parts], axis=0),
        aligned_within=np.sum([part.aligned_within for part in parts], axis=0),
        count=sum(part.count for part in parts),
        f_scores=np.concatenate([part.f_scores for part in parts])[rows],
    )


def f_scores(vertices: Float[np.ndarray, "n 3"], truth: Float[np.ndarray, "m 3"]) -> list[float]:
    """F-score of two clouds of points (metres) at each of `F_THRESHOLDS_MM`.

    Harmonic mean of the shares of either cloud that have a point of the other nearer than the threshold.
    Source: FreiHAND, `eval.py`; Knapitsch et al., "Tanks and Temples", 2017.
    """
    to_truth = cKDTree(truth).query(vertices)[0] * 1e3
    to_ours = cKDTree(vertices).query(truth)[0] * 1e3
    scores = []
    for threshold in F_THRESHOLDS_MM:
        shares = float((to_truth < threshold).mean()), float((to_ours < threshold).mean())
        scores.append(2 * shares[0] * shares[1] / sum(shares) if sum(shares) else 0.0)
    return scores


def distance_to_surface(
    points: Float[np.ndarray, "n 3"], vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "faces 3"]
) -> Float[np.ndarray, " n"]:
    """Exact distance of each point from a mesh, in the points' unit.

    Only triangles are looked at whose middle is no farther than the nearest vertex plus the largest triangle's reach.
    """
    triangles = vertices[faces]
    middle = triangles.mean(1)
    reach = float(np.linalg.norm(triangles - middle[:, None], axis=2).max())
    bound = cKDTree(vertices[np.unique(faces)]).query(points)[0]
    near = cKDTree(middle).query_ball_point(points, bound + reach + 1e-12)
    counts = np.array([len(found) for found in near])
    face = np.concatenate([np.asarray(found, dtype=int) for found in near])
    point = np.repeat(np.arange(len(points)), counts)
    closest = trimesh.triangles.closest_point(triangles[face], points[point])
    distance = np.linalg.norm(closest - points[point], axis=1)
    return np.minimum.reduceat(distance, np.cumsum(counts) - counts)
