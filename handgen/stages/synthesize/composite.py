"""Hands laid into a background: shadow, light, grain, blending, and what stands before what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from handgen.media.arrays import Image, Mask
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.stages.synthesize.light import light_table, throw_shadow
from handgen.stages.synthesize.noise_matching import match_grain
from handgen.stages.synthesize.warping import Placed, PlacedHand, above

_SOFT_FROM = 1.3  # from this magnification of the hand on, the background is softened as the hand is
_POISSON_PAD_PX = 2
_SEEN = 5  # of 255: less of a layer is not seen
_STEP_PX = 3  # between the pixels that a hand's mean colour is taken of
_SEAM_PX = 5  # width of the filter that closes seams: edges are soft for about 2 px on either side


@dataclass(frozen=True)
class Composite:
    """A sample's picture. masks: of each hand, 255 where at least half of a pixel's colour is that hand's.

    covered: for each hand, how much of each pixel (0 to 255) is of things in front of it; None where nothing is.
    """

    image: Image
    masks: tuple[Mask, ...]
    covered: tuple[Mask | None, ...]


def composite(
    hands: Sequence[PlacedHand],
    occluder: Placed | None,
    background: Image,
    magnification: float,
    config: SynthesizeConfig,
    rng: np.random.Generator,
) -> Composite:
    """Lay hands, the farthest first, and something in front of them into `background`, which is used up.

    magnification: sample pixels per pixel of the capture, at the hands.
    """
    if magnification > _SOFT_FROM:
        background = cv2.GaussianBlur(background, (0, 0), 0.4 * magnification)
    if config.light_matching > 0:
        hands = _lit(hands, background, config.light_matching, rng)
    if config.grain:
        for hand in hands:
            match_grain(hand.layer.colors, hand.layer.solid, background, rng)
    if rng.random() < config.shadow_probability:
        throw_shadow(background, [hand.layer for hand in hands], rng)
    covers: list[Mask | None] = [None] * len(hands)
    for i, hand in enumerate(hands):
        nearer = hands[i + 1].layer if i + 1 < len(hands) else None
        layer = hand.layer if nearer is None else _behind(hand.layer, nearer)
        if config.blend == "poisson":
            layer = _gradients_kept(layer, background)
        _lay(background, layer)
        for farther in range(i):
            covers[farther] = _add_cover(covers[farther], hand.layer, background.shape)
    if occluder is not None:
        _lay(background, occluder)
        covers = [_add_cover(cover, occluder, background.shape) for cover in covers]
    masks = tuple(
        hand.mask if cover is None else cv2.bitwise_and(hand.mask, cv2.bitwise_not(above(cover, 127)))
        for hand, cover in zip(hands, covers, strict=True)
    )
    return Composite(background, masks, tuple(covers))


def _lit(
    hands: Sequence[PlacedHand], background: np.ndarray, strength: float, rng: np.random.Generator
) -> list[PlacedHand]:
    """All hands under one light: they were under one."""
    largest = max(hands, key=lambda hand: hand.layer.alpha.size).layer
    some = slice(None, None, _STEP_PX)
    mean = cv2.mean(np.ascontiguousarray(largest.colors[some, some]), largest.solid[some, some].copy())[:3]
    table = light_table(np.array(mean), background, largest.box, strength, rng)
    lit = (replace(hand.layer, colors=cv2.LUT(hand.layer.colors, table)) for hand in hands)
    return [replace(hand, layer=layer) for hand, layer in zip(hands, lit, strict=True)]


def _lay(image: np.ndarray, layer: Placed) -> None:
    target = image[layer.box]
    alpha = cv2.merge((layer.alpha,) * 3)
    ours = cv2.multiply(layer.colors, alpha, scale=1 / 255)
    cv2.add(ours, cv2.multiply(target, cv2.bitwise_not(alpha), scale=1 / 255), dst=target)


def _add_cover(cover: Mask | None, layer: Placed, shape: tuple[int, ...]) -> Mask:
    """Add what the layer covers to what was covered before."""
    if cover is None:
        cover = np.zeros(shape[:2], np.uint8)
    target = cover[layer.box]
    cv2.max(target, layer.alpha, dst=target)
    return cover


def _behind(layer: Placed, nearer: Placed) -> Placed:
    """A farther hand goes on behind the soft edge of a nearer one, where no background may shine through.

    Its colours beyond its own edge are the capture's pixels: the nearer hand's.
    """
    common = layer.overlap(nearer)
    if common is None:
        return layer
    mine, its = common
    wider = cv2.dilate(layer.alpha, np.ones((_SEAM_PX, _SEAM_PX), np.uint8))[mine]
    alpha = layer.alpha.copy()
    alpha[mine] = np.where(nearer.alpha[its] > _SEEN, wider, alpha[mine])
    return replace(layer, alpha=alpha)


def _gradients_kept(layer: Placed, background: np.ndarray) -> Placed:
    """The layer with the background's colours at its edge and its own gradients inside.

    Source: Perez, Gangnet, Blake, "Poisson Image Editing", SIGGRAPH 2003, as in OpenCV's seamlessClone.
    """
    mask = above(layer.alpha, _SEEN)
    x, y, width, height = cv2.boundingRect(mask)
    if width < 3 or height < 3:
        return layer
    pad = (_POISSON_PAD_PX,) * 4
    there = cv2.copyMakeBorder(np.ascontiguousarray(background[layer.box]), *pad, cv2.BORDER_REPLICATE)
    mine = cv2.copyMakeBorder(layer.colors, *pad, cv2.BORDER_REPLICATE)
    mask = cv2.copyMakeBorder(mask, *pad, cv2.BORDER_CONSTANT)
    center = (x + _POISSON_PAD_PX + width // 2, y + _POISSON_PAD_PX + height // 2)
    cloned = cv2.seamlessClone(mine, there, mask, center, cv2.NORMAL_CLONE)
    inner = cloned[_POISSON_PAD_PX:-_POISSON_PAD_PX, _POISSON_PAD_PX:-_POISSON_PAD_PX]
    return replace(layer, colors=np.ascontiguousarray(inner))
