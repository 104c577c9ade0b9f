"""A picture with the hands in it and all that is known of them: what exporters write, importers read, `validate` asks.

handgen's conventions, whatever file it came from: metres, radians, pixels with (0, 0) in the centre of the first one;
camera frame x right, y down, z forward; 21 keypoints in the order of `handgen.hand.skeleton`; poses full (mean added).
Nothing here is decoded: pictures and masks are the bytes of their files.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from handgen.geometry.camera import inside_image
from handgen.geometry.rigid import Rigid

MIN_KEYPOINTS = 5  # in the picture, of a hand that is named there: HaMeR's loader drops those with fewer
Box = tuple[float, float, float, float]  # left, top, width, height; from edge to edge of pixels, the first one at 0


@dataclass(frozen=True)
class HandParameters:
    """Parameters of one hand of a hand model; its name and the SHA-256 of its file for this side where they are known.

    pose: (48,), axis-angle, full rotations, the orientation in the camera's frame first. translation_m: (3,), smplx's
    `transl` in the camera's frame, or None where only the shape and the bend are known.
    """

    pose: Float[np.ndarray, " 48"]
    betas: Float[np.ndarray, " 10"]
    translation_m: Float[np.ndarray, " 3"] | None
    model: str | None = None
    model_sha256: str | None = None


@dataclass(frozen=True)
class LabelledHand:
    """One hand of a picture.

    keypoints_px: (21, 2). labelled: which of them are known; others have values that mean nothing. visible: which are
    seen: in the picture, nothing in front as far as is known. keypoints_cam_m: (21, 3) or None. box_px: of its mask, or
    None.
    """

    side: str
    keypoints_px: Float[np.ndarray, "21 2"]
    visible: Bool[np.ndarray, " 21"]
    labelled: Bool[np.ndarray, " 21"] = field(default_factory=lambda: np.ones(21, bool))
    keypoints_cam_m: Float[np.ndarray, "21 3"] | None = None
    box_px: Box | None = None
    parameters: HandParameters | None = None


@dataclass(frozen=True)
class LabelledImage:
    """One picture. name: unique in its data set, for messages.

    image, mask: bytes of the files, or None where there is none; suffix: of the picture's file ("jpg", "png"). The mask
    is of the first hand. intrinsics: (3, 3) or None. cam_from_world: metres, or None. capture, subject, camera, frame:
    where it comes from, as far as that is known. mirrored: whether world and picture are the mirror image of the
    capture's.
    """

    name: str
    size_px: tuple[int, int]
    hands: tuple[LabelledHand, ...]
    image: bytes | None
    suffix: str = "jpg"
    mask: bytes | None = None
    intrinsics: Float[np.ndarray, "3 3"] | None = None
    cam_from_world: Rigid | None = None
    capture: str = ""
    subject: str = ""
    camera: str = ""
    frame: int = 0
    mirrored: bool = False


def in_picture(hand: LabelledHand, picture: LabelledImage) -> Bool[np.ndarray, " 21"]:
    """Mark keypoints that are known and lie in the picture, hidden or not."""
    return hand.labelled & inside_image(hand.keypoints_px, picture.size_px)
