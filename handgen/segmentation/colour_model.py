"""Hand or background where anything may be behind the hand: a mesh as the prior, colours as the evidence.

As GrabCut does (Rother et al., SIGGRAPH 2004), colour models and labels are found in turn. Other than there the models
are local, one Gaussian of the hand's colours and one of the background's in a window about every pixel, as in Video
SnapCut (Bai et al., SIGGRAPH 2009): a brown hand differs from the brown table next to it, not from the whole picture.
Where the two are alike, or unknown, the labels follow the mesh. Neighbours are made to agree by a guided filter on the
costs instead of a graph cut (Hosni et al., "Fast Cost-Volume Filtering", PAMI 2013): a tenth of the time, and edges as
sharp as the picture has them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from handgen.media.arrays import Image, Mask, Plane
from handgen.segmentation.guided_filter import guided

_MODEL_SIDE_PX = 72  # of the grid of colour models: they change slowly
_FINE_SIDE_PX = 448  # of the grid of labels; larger pictures are shrunk to this
_WINDOW_SHARE = 0.12  # of the hand's extent: how far a pixel's neighbours are that its colours are compared with
_CORE_SHARE, _OUTSIDE_SHARE = 0.02, 0.03  # of the hand's extent: from the mesh's edge to the first samples
_COLOR_NOISE = (5.0, 2.5, 2.5)  # grey levels of Y, Cr, Cb: of video; no model is surer than that
_MIN_SAMPLES = 0.01  # of a window: with fewer there is no model
_EVIDENCE = 4.0  # the most that colours say, in logits; 1 : 55
_LEARN_LOGITS = 1.0  # surer pixels teach the second models
_LEARN_REACHES = 1.0  # how far from the mesh's edge labels may contradict it and still teach, in reaches
_FILTER_SHARE = 0.01  # of the hand's extent
_AGREE_SHARE = 0.06  # of the hand's extent: about the mesh's edge, where colours must agree with it
_PLAIN = 0.25  # logits against the mesh: surer, and it is contradicted
Models = Float[np.ndarray, "10 rows columns"]
Cells = Bool[np.ndarray, "rows columns"]
_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


@dataclass(frozen=True)
class LocalCut:
    """mask: 0 and 255. agreement: 1 where the colours say what the mesh says, or nothing; 0 where they contradict.

    It is the IoU of the mesh and what the first colour models, those of the mesh itself, call hand, near its edge.
    """

    mask: Mask
    agreement: float


def local_cut(image: Image, signed_px: Plane, ignore_mask: Mask, extent_px: float, reach_px: float) -> LocalCut:
    """Cut out what lies at the mesh.

    signed_px: distance from the mesh's edge, negative inside. barred: 255 where neither hand nor background is to be
    learnt, as on a forearm; the mask goes on there as the mesh does. extent_px: the hand's size. reach_px: how far from
    the mesh the hand may be where its colours are plain.
    """
    height, width = image.shape[:2]
    scale = min(1.0, _FINE_SIDE_PX / max(height, width))
    if scale < 1:
        size = (max(8, round(width * scale)), max(8, round(height * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        signed_px = cv2.resize(signed_px, size, interpolation=cv2.INTER_AREA) * np.float32(scale)
        ignore_mask = cv2.resize(ignore_mask, size, interpolation=cv2.INTER_NEAREST)
        extent_px, reach_px = extent_px * scale, reach_px * scale
    colors = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
    sigma_px = reach_px / _EVIDENCE
    models, agreement = _learnt(colors, signed_px, ignore_mask, extent_px, reach_px, sigma_px)
    logits = np.clip(signed_px / np.float32(-sigma_px), -_EVIDENCE - 2, _EVIDENCE + 2)
    near = np.flatnonzero(np.abs(signed_px) < reach_px)
    evidence = _evidence(_channels(colors.reshape(-1, 3)[near]), _at(models, near, signed_px.shape))
    flat = logits.reshape(-1)
    flat[near] = np.clip(flat[near] + evidence, -_EVIDENCE - 2, _EVIDENCE + 2)
    grey = colors[..., 0].astype(np.float32)
    smooth = guided(logits, grey, max(1, round(_FILTER_SHARE * extent_px)))
    if scale < 1:
        smooth = cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR)
    return LocalCut(np.where(smooth > 0, np.uint8(255), np.uint8(0)), agreement)


def _learnt(
    colors: Image, signed_px: Plane, ignore_mask: Mask, extent_px: float, reach_px: float, sigma_px: float
) -> tuple[Models, float]:
    """The second colour models, on a small grid, and how well the first agree with the mesh."""
    height, width = signed_px.shape
    scale = min(1.0, _MODEL_SIDE_PX / max(height, width))
    size = (max(4, round(width * scale)), max(4, round(height * scale)))
    pixels = _channels(cv2.resize(colors, size, interpolation=cv2.INTER_AREA).reshape(-1, 3)).reshape(3, *size[::-1])
    signed = cv2.resize(signed_px, size, interpolation=cv2.INTER_AREA)
    usable = cv2.resize(ignore_mask, size, interpolation=cv2.INTER_AREA) < 128
    moments = np.concatenate([np.ones_like(pixels[:1]), pixels, [pixels[i] * pixels[j] for i, j in _PAIRS]])
    outside_px = max(_OUTSIDE_SHARE * extent_px, 0.75 * reach_px)
    around_px = _WINDOW_SHARE * extent_px + outside_px - _OUTSIDE_SHARE * extent_px
    side = 2 * max(1, round(around_px * scale)) + 1
    first = _models(moments, (signed < -_CORE_SHARE * extent_px) & usable, (signed > outside_px) & usable, side)
    evidence = _evidence(pixels, first)
    agreement = _agreement(evidence, signed, usable & (np.abs(signed) < _AGREE_SHARE * extent_px))
    logits = cv2.blur(evidence - signed / np.float32(sigma_px), (3, 3))
    hand = (logits > _LEARN_LOGITS) & (signed < _LEARN_REACHES * reach_px) & usable
    background = (logits < -_LEARN_LOGITS) & (signed > -_LEARN_REACHES * reach_px) & usable
    return _models(moments, hand, background, side), agreement


def _agreement(evidence: Plane, signed_px: Plane, near: Cells) -> float:
    """IoU of the mesh and the hand's colours near its edge; what the colours leave open agrees."""
    inside = signed_px < 0
    doubt = np.clip(np.where(inside, -evidence, evidence) / np.float32(_PLAIN), 0, 1) * near
    hand = max(float(np.count_nonzero(inside)), 1.0)
    return float((hand - doubt[inside].sum()) / (hand + doubt[~inside].sum()))


def _channels(colors: UInt8[np.ndarray, "n 3"]) -> Float[np.ndarray, "3 n"]:
    """Y, Cr, Cb about zero, where float32 squares without loss."""
    return colors.T.astype(np.float32) - 128


def _models(moments: Models, hand: Cells, background: Cells, side_px: int) -> Models:
    """Log likelihood ratio of a hand's and a background's Gaussian about each pixel, as a quadratic of its colour.

    Coefficients of 1, Y, Cr, Cb and `_PAIRS`. Zero where there are too few samples of either.
    """
    window = (side_px, side_px)
    sums = np.empty((2, *moments.shape), np.float32)
    for k, chosen in enumerate((hand, background)):
        weight = chosen.astype(np.float32)
        for m, moment in enumerate(moments):
            cv2.blur(moment * weight, window, dst=sums[k, m], borderType=cv2.BORDER_CONSTANT)
    share = sums[:, 0]
    y, u, v, yy, yu, yv, uu, uv, vv = np.moveaxis(sums[:, 1:] / np.maximum(share, 1e-6)[:, None], 1, 0)
    a, b, c = yy - y * y + _COLOR_NOISE[0] ** 2, yu - y * u, yv - y * v  # the covariance: a b c, b d e, c e f
    d, e, f = uu - u * u + _COLOR_NOISE[1] ** 2, uv - u * v, vv - v * v + _COLOR_NOISE[2] ** 2
    cofactors = np.stack([d * f - e * e, c * e - b * f, b * e - c * d, a * f - c * c, b * c - a * e, a * d - b * b])
    determinant = np.maximum(a * cofactors[0] + b * cofactors[1] + c * cofactors[2], 1e-2)
    a, b, c, d, e, f = cofactors / determinant  # now of its inverse
    to_y, to_u, to_v = a * y + b * u + c * v, b * y + d * u + e * v, c * y + e * u + f * v
    constant = -0.5 * (y * to_y + u * to_u + v * to_v + np.log(determinant))
    log_density = np.stack([constant, to_y, to_u, to_v, -0.5 * a, -b, -c, -0.5 * d, -e, -0.5 * f])
    return np.where((share > _MIN_SAMPLES).all(0), log_density[:, 0] - log_density[:, 1], np.float32(0))


def _evidence(
    colors: Float[np.ndarray, "3 *batch n"], models: Float[np.ndarray, "10 *batch n"]
) -> Float[np.ndarray, "*batch n"]:
    """Logits of colours by the models, above 0 for the hand."""
    y, u, v = colors
    one, to_y, to_u, to_v, yy, yu, yv, uu, uv, vv = models
    ratio = one + y * (to_y + yy * y + yu * u + yv * v) + u * (to_u + uu * u + uv * v) + v * (to_v + vv * v)
    return np.clip(ratio, -_EVIDENCE, _EVIDENCE)


def _at(models: Models, pixels: np.ndarray, shape: tuple[int, ...]) -> Float[np.ndarray, "10 n"]:
    """The nearest models of pixels of a larger picture, which are numbered row by row."""
    rows, columns = models.shape[1:]
    row = (np.arange(shape[0]) * rows // shape[0]) * columns
    column = np.arange(shape[1]) * columns // shape[1]
    place = (row[:, None] + column).reshape(-1)[pixels]
    return models.reshape(len(models), -1)[:, place]
