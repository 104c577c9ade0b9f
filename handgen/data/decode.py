"""Decode a sample of a shard into tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from handgen.errors import HandgenError
from handgen.hand.skeleton import SIDES
from handgen.io import shards
from handgen.media import images
from handgen.storage.filesystem import Location

Group = tuple[Location, str, dict[str, bytes]]  # of a shard: where, key, members by suffix


class HandSample(TypedDict):
    """One hand in one picture; batches have one axis more in front, and a list of keys. Floats are float32.

    image: RGB. mask: of the hand. keypoints_2d: pixels; the centre of the first pixel is 0, 0. keypoints_3d: metres,
    frame of the sample's camera: x right, y down, z forward. camera: its intrinsics, pixels. pose: axis-angle, full
    rotations, global orientation first; betas: shape; translation: metres; of the hand model of this side, in the
    camera's frame. side: 0 left, 1 right.
    """

    key: str
    image: UInt8[Tensor, "3 height width"]
    mask: Bool[Tensor, "height width"]
    keypoints_2d: Float[Tensor, "21 2"]
    keypoints_3d: Float[Tensor, "21 3"]
    visible: Bool[Tensor, " 21"]
    camera: Float[Tensor, "3 3"]
    pose: Float[Tensor, " 48"]
    betas: Float[Tensor, " 10"]
    translation: Float[Tensor, " 3"]
    side: Int[Tensor, ""]


def decode_sample(group: Group) -> HandSample:
    """Decode one sample into tensors. Raises HandgenError when a member is missing or damaged."""
    path, key, members = group
    where = f"{path}, sample {key}"
    document = shards.read_document(path, key, members)
    image = images.decode_rgb(members[shards.IMAGE], f"{where}.{shards.IMAGE}")
    width, height = document["camera"]["size_px"]
    if image.shape[:2] != (height, width):
        raise HandgenError(f"{where}: the image is not {width}x{height}, as its labels say; write it again")
    mask = images.decode_mask(members[shards.MASK], f"{where}.{shards.MASK}", (width, height))
    hand = document["hand"]
    return {
        "key": key,
        "image": torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
        "mask": torch.from_numpy(mask > 127),
        "keypoints_2d": _floats(document["keypoints_2d"]),
        "keypoints_3d": _floats(document["keypoints_3d"]),
        "visible": torch.from_numpy(np.array(document["visible"], dtype=bool)),
        "camera": _floats(document["camera"]["intrinsics"]),
        "pose": _floats(hand["pose"]),
        "betas": _floats(hand["betas"]),
        "translation": _floats(hand["translation_m"]),
        "side": torch.tensor(SIDES.index(document["side"])),
    }


def _floats(values: Any) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float32))


def collate(samples: Sequence[HandSample]) -> dict[str, Any]:
    """Make a batch: stacked tensors, and lists of everything else."""
    return {
        name: torch.stack([sample[name] for sample in samples])  # type: ignore[literal-required]
        if isinstance(value, Tensor)
        else [sample[name] for sample in samples]  # type: ignore[literal-required]
        for name, value in samples[0].items()
    }
