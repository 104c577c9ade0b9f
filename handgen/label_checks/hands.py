"""The hands of many pictures as arrays, so that a check looks at all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from handgen.records.labelled_image import LabelledHand, LabelledImage

HUGE = 1e6  # metres, pixels or radians: no label is as large, also in millimetres or degrees


@dataclass(frozen=True)
class Hands:
    """`n` hands in the order of the pictures, by the conventions of `labelled_image`; NaN where something is not known.

    image_of: the picture of each. number: which hand of it, from 0.
    """

    images: tuple[LabelledImage, ...]
    image_of: Int[np.ndarray, " n"]
    number: Int[np.ndarray, " n"]
    is_right: Bool[np.ndarray, " n"]
    px: Float[np.ndarray, "n 21 2"]
    visible: Bool[np.ndarray, "n 21"]
    labelled: Bool[np.ndarray, "n 21"]
    cam_m: Float[np.ndarray, "n 21 3"]
    intrinsics: Float[np.ndarray, "n 3 3"]
    size_px: Float[np.ndarray, "n 2"]
    box_px: Float[np.ndarray, "n 4"]
    pose: Float[np.ndarray, "n 48"]
    betas: Float[np.ndarray, "n 10"]
    translation_m: Float[np.ndarray, "n 3"]

    @classmethod
    def of(cls, images: Sequence[LabelledImage]) -> Hands:
        """Gather all hands of some pictures."""
        flat = [(i, k, hand) for i, image in enumerate(images) for k, hand in enumerate(image.hands)]
        hands = [hand for _, _, hand in flat]
        of_image = [images[i] for i, _, _ in flat]
        parameters = [hand.parameters for hand in hands]
        return cls(
            images=tuple(images),
            image_of=np.array([i for i, _, _ in flat], int),
            number=np.array([k for _, k, _ in flat], int),
            is_right=np.array([hand.side == "right" for hand in hands], bool),
            px=_stack([hand.keypoints_px for hand in hands], 21, 2),
            visible=np.array([hand.visible for hand in hands], bool).reshape(-1, 21),
            labelled=np.array([hand.labelled for hand in hands], bool).reshape(-1, 21),
            cam_m=_stack([hand.keypoints_cam_m for hand in hands], 21, 3),
            intrinsics=_stack([image.intrinsics for image in of_image], 3, 3),
            size_px=_stack([image.size_px for image in of_image], 2),
            box_px=_stack([hand.box_px for hand in hands], 4),
            pose=_stack([None if p is None else p.pose for p in parameters], 48),
            betas=_stack([None if p is None else p.betas for p in parameters], 10),
            translation_m=_stack([None if p is None else p.translation_m for p in parameters], 3),
        )

    def __len__(self) -> int:
        return len(self.image_of)

    @cached_property
    def has_points(self) -> Bool[np.ndarray, " n"]:
        """Find the hands with all 3D keypoints, at places that can be reckoned with."""
        return (np.abs(self.cam_m) < HUGE).all((1, 2)) & self.labelled.all(1)

    @cached_property
    def has_camera(self) -> Bool[np.ndarray, " n"]:
        """Find the hands that are seen by a camera whose intrinsics are known and can be used."""
        return (np.abs(self.intrinsics) < HUGE).all((1, 2))

    @cached_property
    def has_pose(self) -> Bool[np.ndarray, " n"]:
        """Find the hands with the parameters of a model."""
        placed = ~(np.abs(self.translation_m) >= HUGE).any(1)  # or not told
        return (np.abs(self.pose) < HUGE).all(1) & (np.abs(self.betas) < 100).all(1) & placed

    def image(self, hand: int) -> LabelledImage:
        """The picture of a hand."""
        return self.images[self.image_of[hand]]

    def labels(self, hand: int) -> LabelledHand:
        """The labels of a hand as they came."""
        return self.image(hand).hands[self.number[hand]]

    def name(self, hand: int) -> str:
        """Name of the picture and, where it shows several hands, of the hand."""
        image = self.image(hand)
        side = f", {self.labels(hand).side} hand" if len(image.hands) > 1 else ""
        return f"{image.name}{side}"


def _stack(arrays: Sequence[ArrayLike | None], *shape: int) -> np.ndarray:
    """Stack arrays; NaN in place of None."""
    stacked = np.full((len(arrays), *shape), np.nan)
    for row, array in zip(stacked, arrays, strict=True):
        if array is not None:
            row[...] = array
    return stacked
