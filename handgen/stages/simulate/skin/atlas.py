"""The texture atlas of the open hand: where each texel lies on the skin at rest.

The texture coordinates are MakeHuman's (CC0): the palm and the back are halves of one island, the forearm is another.
Both sides share the atlas, in a right hand's rest pose. At `FULL_PX` one texel is a quarter of a millimetre of the
hand, which a crop of 512 px shows; cameras that see less get an atlas of half or a quarter of that (`side_for`).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from handgen.geometry.meshes import Points

FULL_PX = 1280
SIDES_PX = (FULL_PX // 4, FULL_PX // 2, FULL_PX)
_TEXEL_M = 2.65e-4  # of the full atlas, for `side_for`
_MARGIN = 6 / FULL_PX  # shares of the side
_FOREARM_CORNER = np.array([730, 890]) / FULL_PX  # where the hand's island leaves room
_FOREARM_SHARE = 0.5  # of the hand's texels per metre


@dataclass(frozen=True)
class Atlas:
    """Texels that show skin, row by row, of an atlas as wide as it is high.

    covered: which do. position_m, normal: of the mean right hand at rest. weights: of its skinning. texel_m: side of
    a texel on the hand.
    """

    covered: Bool[np.ndarray, "side side"]
    position_m: Points
    normal: Points
    weights: Float[np.ndarray, "n 16"]
    texel_m: float

    @property
    def side_px(self) -> int:
        """Return its width and height."""
        return len(self.covered)

    def image(self, values: Float[np.ndarray, "n ..."], empty: float = 0.0) -> Float[np.ndarray, "side side ..."]:
        """Lay values of covered texels out as an image."""
        laid = np.full((*self.covered.shape, *values.shape[1:]), empty, np.float32)
        laid[self.covered] = values
        return laid


def side_for(pixel_m: float) -> int:
    """Return the side of the smallest atlas that shows cameras whose pixels cover `pixel_m` of a hand all they see."""
    return next((side for side in SIDES_PX if _TEXEL_M * FULL_PX / side <= pixel_m), FULL_PX)


def corner_texels(
    uv: Float[np.ndarray, "n 2"], faces_uv: Int[np.ndarray, "faces 3"], side_px: int
) -> Float[np.ndarray, "faces 3 2"]:
    """Place the corners of all faces in an atlas: x, y, texels, centre of the first at 0."""
    edges = np.concatenate([faces_uv[:, [0, 1]], faces_uv[:, [1, 2]]]).astype(np.int64)
    graph = sparse.coo_matrix((np.ones(len(edges)), edges.T), (len(uv), len(uv)))
    count, island = connected_components(graph, directed=False)
    if count != 2:
        raise ValueError(f"expected a hand and a forearm in the texture coordinates, found {count} islands")
    hand = island == np.bincount(island).argmax()
    low, high = uv[hand].min(0), uv[hand].max(0)
    scale = (1 - 2 * _MARGIN) / float((high - low).max())
    shares = _MARGIN + (uv - low) * scale
    forearm = uv[~hand]
    shares[~hand] = _FOREARM_CORNER + (forearm - forearm.min(0)) * scale * _FOREARM_SHARE
    return (shares * side_px - 0.5)[faces_uv]


def subdivide_corners(corners: Float[np.ndarray, "faces 3 k"]) -> Float[np.ndarray, "more 3 k"]:
    """Halve every side, in the order of `surface.subdivision`."""
    a, b, c = corners.transpose(1, 0, 2)
    ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
    return np.concatenate([np.stack(x, 1) for x in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])


def bake(
    corners_px: Float[np.ndarray, "faces 3 2"],
    faces: Int[np.ndarray, "faces 3"],
    vertices: Points,
    normals: Points,
    weights: Float[np.ndarray, "n 16"],
    side_px: int,
) -> Atlas:
    """Find what every texel shows of a mesh."""
    shown = np.full((side_px, side_px), -1, np.int32)
    for index, triangle in enumerate(np.round(corners_px * 16).astype(np.int32)):
        cv2.fillConvexPoly(shown, triangle, index, lineType=cv2.LINE_4, shift=4)
    rows, columns = np.nonzero(shown >= 0)
    face = shown[rows, columns]
    share = _barycentric(np.stack([columns, rows], -1).astype(float), corners_px[face])
    blended = {
        name: np.einsum("nk,nkc->nc", share, values[faces[face]])
        for name, values in (("position", vertices), ("normal", normals), ("weights", weights))
    }
    normal = blended["normal"] / np.linalg.norm(blended["normal"], axis=1, keepdims=True).clip(1e-9)
    return Atlas(shown >= 0, blended["position"], normal, blended["weights"], _texel_m(corners_px, vertices[faces]))


def _barycentric(points: Float[np.ndarray, "n 2"], corners: Float[np.ndarray, "n 3 2"]) -> Float[np.ndarray, "n 3"]:
    a, b, c = corners.transpose(1, 0, 2)
    ab, ac, ap = b - a, c - a, points - a
    area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    area = np.where(np.abs(area) < 1e-9, 1e-9, area)
    v = (ap[:, 0] * ac[:, 1] - ap[:, 1] * ac[:, 0]) / area
    w = (ab[:, 0] * ap[:, 1] - ab[:, 1] * ap[:, 0]) / area
    share = np.stack([1 - v - w, v, w], -1).clip(0, 1)  # texels on an outline may lie a little outside
    return share / share.sum(1, keepdims=True)


def _texel_m(corners_px: np.ndarray, corners_m: np.ndarray) -> float:
    """Median over the faces of the side of a texel."""
    sides = np.roll(corners_px, -1, 1) - corners_px, np.roll(corners_m, -1, 1) - corners_m
    lengths = [np.linalg.norm(side, axis=-1) for side in sides]
    return float(np.median(lengths[1].sum(1) / lengths[0].sum(1).clip(1e-9)))
