"""Square pictures of one size, and pictures of left hands mirrored into right ones."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from handgen.hand.conversions import mirror_points, mirror_pose
from handgen.hand.skeleton import other_side
from handgen.media import images
from handgen.records.labelled_image import LabelledHand, LabelledImage

JPEG_QUALITY = 95  # of pictures that must be encoded anew


@dataclass(frozen=True)
class SquarePicture:
    """Pixels, mask (0 or 255) and intrinsics of one square size, and the first hand. jpeg: the file, old or new."""

    jpeg: bytes
    mask: UInt8[np.ndarray, "size size"]
    intrinsics: Float[np.ndarray, "3 3"]
    hand: LabelledHand


def crop_square(picture: LabelledImage, size: int, mirror: bool) -> SquarePicture:
    """Fit a picture into `size` x `size`, its longer side filling the square and the rest black.

    mirror: make the other hand of it. A picture that is of the size already, and not mirrored, keeps its bytes.
    """
    assert picture.image is not None and picture.mask is not None and picture.intrinsics is not None
    mask = images.decode_mask(picture.mask, f"{picture.name}, mask", picture.size_px)
    mask = np.where(mask > 127, np.uint8(255), np.uint8(0))
    jpeg, hand, intrinsics = picture.image, picture.hands[0], picture.intrinsics
    if picture.size_px != (size, size) or mirror:
        pixels = images.decode_rgb(picture.image, picture.name)
        pixels, to_square = fit_square(pixels, size)
        mask, _ = fit_square(mask, size)
        mask = np.where(mask > 127, np.uint8(255), np.uint8(0))
        intrinsics = to_square @ intrinsics
        if mirror:
            pixels, mask = np.ascontiguousarray(pixels[:, ::-1]), np.ascontiguousarray(mask[:, ::-1])
            intrinsics = mirror_intrinsics(intrinsics, size)
            hand = mirror_hand(hand)
        jpeg = images.encode_jpeg(pixels, JPEG_QUALITY)
    return SquarePicture(jpeg, mask, intrinsics, hand)


def fit_square(
    pixels: UInt8[np.ndarray, "height width *channels"], size: int
) -> tuple[UInt8[np.ndarray, "size size *channels"], Float[np.ndarray, "3 3"]]:
    """Fit pixels into a square of `size`; also give `square_from_px`, which takes their places there.

    The centre of pixel x lies x + 1/2 from the edge, before and after.
    """
    height, width = pixels.shape[:2]
    if (width, height) == (size, size):
        return pixels, np.eye(3)
    share = size / max(width, height)
    new = tuple(max(1, round(n * share)) for n in (width, height))
    way = cv2.INTER_AREA if share < 1 else cv2.INTER_LINEAR
    made = cv2.resize(pixels, new, interpolation=way)
    left, top = (size - new[0]) // 2, (size - new[1]) // 2
    made = cv2.copyMakeBorder(made, top, size - new[1] - top, left, size - new[0] - left, cv2.BORDER_CONSTANT)
    by_x, by_y = new[0] / width, new[1] / height
    square_from_px = np.array([[by_x, 0, by_x / 2 - 0.5 + left], [0, by_y, by_y / 2 - 0.5 + top], [0, 0, 1]])
    return made, square_from_px


def mirror_intrinsics(intrinsics: Float[np.ndarray, "3 3"], width: int) -> Float[np.ndarray, "3 3"]:
    """Mirror intrinsics for points with x negated: pixel x becomes width - 1 - x."""
    mirrored = intrinsics.copy()
    mirrored[0, 1] = -intrinsics[0, 1]
    mirrored[0, 2] = width - 1 - intrinsics[0, 2]
    return mirrored


def mirror_hand(hand: LabelledHand) -> LabelledHand:
    """Mirror a hand in x, which makes the other hand of it. Its pixels are not mirrored: project the 3D keypoints."""
    points, parameters = hand.keypoints_cam_m, hand.parameters
    if parameters is not None:
        moved = parameters.translation_m
        parameters = replace(
            parameters,
            pose=mirror_pose(parameters.pose),
            translation_m=None if moved is None else mirror_points(moved),
            model_sha256=None,
        )
    return replace(
        hand,
        side=other_side(hand.side),
        keypoints_cam_m=None if points is None else mirror_points(points),
        box_px=None,
        parameters=parameters,
    )
