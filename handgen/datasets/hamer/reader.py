"""Read HaMeR's training tars (`handgen.datasets.hamer.layout`); nothing of their pickles is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool

from handgen.datasets.hamer.layout import FIELDS, MASKS, PICTURES, SURE
from handgen.errors import HandgenError
from handgen.media import images
from handgen.records.labelled_image import HandParameters, LabelledHand, LabelledImage
from handgen.storage import limits
from handgen.storage.numpy_files import read_arrays, read_header

_ARRAY = "masks"  # in the npz


def label_picture(
    key: str,
    members: Mapping[str, bytes],
    entries: list[dict[str, Any]],
    where: str,
    model: str | None = None,
    with_mask: bool = True,
) -> LabelledImage:
    """Make a picture with its hands. with_mask: with the first hand's mask. HandgenError where anything is missing."""
    suffix, size_px = picture_in(members, where)
    return LabelledImage(
        name=key,
        size_px=size_px,
        hands=tuple(_hand(entry, where, model) for entry in entries),
        image=members[suffix],
        suffix=suffix,
        mask=_mask(members, entries[0], where) if with_mask and entries else None,
    )


def picture_in(members: Mapping[str, bytes], where: str) -> tuple[str, tuple[int, int]]:
    """Find the suffix and size of the picture. Raises HandgenError when there is none, or it is damaged."""
    suffix = next((name for name in PICTURES if name in members), None)
    if suffix is None:
        raise HandgenError(f"{where}: has no picture ({', '.join(PICTURES)})")
    return suffix, images.encoded_size(members[suffix], f"{where}.{suffix}")


def _hand(entry: dict[str, Any], where: str, model: str | None) -> LabelledHand:
    arrays = {name: array_of(entry, name, where) for name in FIELDS}
    pixels, points = arrays["keypoints_2d"], arrays["keypoints_3d"]
    in_3d = points[:, 3] > 0
    parameters = None
    if np.abs(arrays["hand_pose"]).any() and (number_of(entry.get("has_hand_pose")) or model is not None):
        parameters = HandParameters(arrays["hand_pose"], arrays["betas"], None, model)
    return LabelledHand(
        side="left" if number_of(entry.get("right")) == 0 else "right",
        keypoints_px=pixels[:, :2],
        visible=pixels[:, 2] >= SURE,
        labelled=in_3d if in_3d.any() else pixels[:, 2] >= SURE,
        keypoints_cam_m=points[:, :3] if in_3d.any() else None,
        parameters=parameters,
    )


def number_of(value: Any) -> float | None:
    """Convert a number, numpy's or Python's, or an array of one; None for anything else."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    return float(value) if isinstance(value, int | float | np.number | np.bool_) else None


def array_of(entry: dict[str, Any], name: str, where: str) -> np.ndarray:
    """Get an array of a hand's dictionary, as doubles. HandgenError when it is missing or of another shape."""
    value = entry.get(name)
    if not isinstance(value, np.ndarray) or value.shape != FIELDS[name]:
        got = f"shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise HandgenError(f"{where}: {name} must be an array of shape {FIELDS[name]}, got {got}")
    return value.astype(np.float64)


def _mask(members: Mapping[str, bytes], entry: dict[str, Any], where: str) -> bytes | None:
    info = entry.get("extra_info")
    number = info.get("detection_npz_idx") if isinstance(info, dict) else None
    if MASKS not in members or not isinstance(number, int | np.integer):
        return None
    masks = masks_of(members[MASKS], f"{where}.{MASKS}")
    if not 0 <= number < len(masks):
        raise HandgenError(f"{where}: detection_npz_idx is {number}, but there are {len(masks)} masks")
    return images.encode_mask_png(np.where(masks[number], 255, 0).astype(np.uint8))


def mask_shape(data: bytes, where: str) -> tuple[int, ...]:
    """Read number, height and width of the masks of an npz, from its header alone. HandgenError when it is damaged."""
    shape, _, _ = read_header(data, where, _ARRAY)
    return shape


def masks_of(data: bytes, where: str) -> Bool[np.ndarray, "n height width"]:
    """Read the masks of an npz, never unpickled. HandgenError when there are none, or they are damaged or too large."""
    found = read_arrays(data, where, limits.MASKS, lambda names: [_ARRAY] if _ARRAY in names else [])
    masks = found.get(_ARRAY, np.zeros(()))
    if masks.ndim != 3 or masks.dtype.kind not in "biuf":
        raise HandgenError(f"{where}: must hold the array {_ARRAY}, n x height x width, got {masks.shape}")
    return masks.astype(bool)
