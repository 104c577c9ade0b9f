"""FreiHAND: 224 x 224 px crops of right hands, each with a camera of its own.

Sources: github.com/lmb-freiburg/freihand, `utils/fh_utils.py` (files, versions, `recover_root`), `utils/model.py` and
`utils/mano_utils.py` (hand parameters); Zimmermann et al., "FreiHAND", ICCV 2019.

    {split}/rgb/%08d.jpg, {split}/mask/%08d.jpg
    {split}_K.json      n x 3 x 3
    {split}_xyz.json    n x 21 x 3, metres, camera frame, handgen's order; ring and pinky tips at vertices 555 and 672
    {split}_mano.json   n x 1 x 61: 48 pose, 10 betas, 2 uv_root, 1 scale; may be missing
    {split}_verts.json  n x 778 x 3, metres, camera frame
    {split}_scale.json  n: length of the bone from keypoint 9 to 10, metres

The pose is axis-angle, the fingers relative to MANO's mean pose, the orientation in the camera's frame. `uv_root` and
`scale` place keypoint 9 by a scaled orthographic camera, whose focal length f is the mean of the two of K and whose
centre c is K's: xyz_root = (uv_root - c, f) / scale; so scale is f / z. `training/rgb` of the authors' has the n
pictures in four versions (n, green screen, then three with other backgrounds): the first n are read.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float

from handgen.hand.skeleton import KEYPOINT_COUNT, MIDDLE_MCP

SPLITS = ("training", "evaluation")
OWNED = (SPLITS[0], f"{SPLITS[0]}_*.json")  # by an export
SIZE_PX = 224
ROOT = MIDDLE_MCP  # the keypoint that uv_root and scale place
# What each JSON file has of a picture.
SHAPES: dict[str, tuple[int, ...]] = {
    "K": (3, 3),
    "xyz": (KEYPOINT_COUNT, 3),
    "mano": (1, 61),
    "verts": (778, 3),
    "scale": (),
}
# Places in a row of `mano`.
POSE, BETAS, UV_ROOT, SCALE = slice(0, 48), slice(48, 58), slice(58, 60), 60


def labels_file(split: str, name: str) -> str:
    """The path of one of `SHAPES` below the data set."""
    return f"{split}_{name}.json"


def picture_folder(split: str) -> str:
    """The folder of the pictures below the data set."""
    return f"{split}/rgb"


def mask_folder(split: str) -> str:
    """The folder of the masks below the data set."""
    return f"{split}/mask"


def picture_file(index: int) -> str:
    """The name of a picture, and of its mask, in its folder."""
    return f"{index:08d}.jpg"


def splits_in(root: Path) -> list[str]:
    """The splits that are there, by their files of cameras."""
    return [split for split in SPLITS if (root / labels_file(split, "K")).is_file()]


def is_freihand(root: Path) -> bool:
    """Tell whether a folder holds FreiHAND."""
    return bool(splits_in(root))


def focal_px(intrinsics: Float[np.ndarray, "3 3"]) -> float:
    """The focal length of the scaled orthographic camera."""
    return float((intrinsics[0, 0] + intrinsics[1, 1]) / 2)


def orthographic_from_root(
    intrinsics: Float[np.ndarray, "3 3"], root_m: Float[np.ndarray, " 3"]
) -> tuple[Float[np.ndarray, " 2"], float]:
    """uv_root (pixels) and scale (pixels per metre) of keypoint 9 in the camera's frame."""
    scale = focal_px(intrinsics) / root_m[2]
    return intrinsics[:2, 2] + scale * root_m[:2], scale


def root_from_orthographic(
    intrinsics: Float[np.ndarray, "3 3"], uv_root: Float[np.ndarray, " 2"], scale: float
) -> Float[np.ndarray, " 3"]:
    """Keypoint 9 in the camera's frame, metres."""
    return np.array([*(uv_root - intrinsics[:2, 2]), focal_px(intrinsics)]) / scale
