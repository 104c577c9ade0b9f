"""The files of FreiHAND's training set: right hands, one per picture of 224 x 224 pixels.

    training/rgb/00000000.jpg    training/mask/00000000.jpg
    training_K.json              N x 3 x 3
    training_xyz.json            N x 21 x 3, metres, camera axes
    training_mano.json           N x 1 x 61: 48 of the pose, 10 betas, 2 uv_root, 1 scale
    training_verts.json          N x 778 x 3, metres, camera axes
    training_scale.json          N: length of the bone from keypoint 9 to 10, metres

Source of the format: github.com/lmb-freiburg/freihand, `utils/fh_utils.py`, `utils/model.py`. The pose is relative to
MANO's mean pose, its first three numbers the orientation in the camera's frame. `uv_root` and `scale` place keypoint 9
by a scaled orthographic camera, whose focal length f is the mean of the two of K and whose centre c is K's:
xyz_root = (uv_root - c, f) / scale; so scale is f / z. Its fingertips are vertices of MANO's mesh that differ from
smplx's for ring and pinky, and are taken here where the hand model is MANO.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from handgen.datasets.square_crops import squared
from handgen.datasets.writer import ExportJob, File, Written, encoded, joined, write_joined, write_part
from handgen.errors import HandgenError
from handgen.hand.conversions import relative_from_full, sides_mirror, with_fingertips
from handgen.hand.model import HandModel, HandPose
from handgen.hand.model_files import HandArrays
from handgen.hand.skeleton import MIDDLE_MCP, SIDES
from handgen.media import images
from handgen.records.labelled_image import HandParameters, LabelledImage
from handgen.storage import filesystem
from handgen.storage.filesystem import Location

SIZE_PX = 224
FIELDS = ("K", "xyz", "mano", "verts", "scale")
_BATCH = 256  # hands that are posed at once
_MASK_QUALITY = 100  # of a picture of two values: less leaves specks beside the edge
_RGB, _MASK = "training/rgb", "training/mask"


@dataclass(frozen=True)
class _Hand:
    """What is written of one hand. sha256: of the file of its hand model, of whatever side it was."""

    intrinsics: Float[np.ndarray, "3 3"]
    keypoints: Float[np.ndarray, "21 3"]
    parameters: HandParameters
    sha256: str


class FreihandWriter:
    """See the module."""

    def __init__(self, job: ExportJob) -> None:
        self._job = job

    @property
    def sides(self) -> tuple[str, ...]:
        """See `handgen.datasets.writer.Writer`."""
        return SIDES if self._job.config.mirror_left else ("right",)

    def write(self, unit: int, first: int, pictures: Iterable[LabelledImage]) -> Written:
        """See `handgen.datasets.writer.Writer`."""
        written, hands = Written(), list[_Hand]()
        for folder in (_RGB, _MASK):
            filesystem.make_folder(self._job.out / folder)
        filesystem.put_many(self._pictures(first, pictures, written, hands))
        columns = self._columns(hands)
        for name in FIELDS:
            write_part(self._job, unit, name, map(encoded, columns[name]), written)
        return written

    def _pictures(
        self, first: int, pictures: Iterable[LabelledImage], written: Written, hands: list[_Hand]
    ) -> Iterator[tuple[Location, bytes]]:
        for number, picture in enumerate(pictures, first):
            written.leave_out("the other hand: one hand per picture", len(picture.hands) - 1)
            made = squared(picture, SIZE_PX, mirror=picture.hands[0].side == "left")
            parameters, points = made.hand.parameters, made.hand.keypoints_cam_m
            original = picture.hands[0].parameters
            if parameters is None or points is None or original is None or original.model_sha256 is None:
                raise HandgenError(f"{picture.name}: has no 3D keypoints or no parameters; choose the format coco")
            hands.append(_Hand(made.intrinsics, points, parameters, original.model_sha256))
            written.hands += 1
            mask = np.repeat(made.mask[..., None], 3, axis=2)
            yield self._job.out / _RGB / f"{number:08d}.jpg", made.jpeg
            yield self._job.out / _MASK / f"{number:08d}.jpg", images.encode_jpeg(mask, _MASK_QUALITY)
        written.pictures = {_RGB: len(hands), _MASK: len(hands)}

    def _columns(self, hands: Sequence[_Hand]) -> dict[str, list[np.ndarray]]:
        """Of every field an entry per hand."""
        columns: dict[str, list[np.ndarray]] = {name: [np.empty(0)] * len(hands) for name in FIELDS}
        for sha256 in sorted({hand.sha256 for hand in hands}):
            mine = [i for i, hand in enumerate(hands) if hand.sha256 == sha256]
            arrays = self._right_model(sha256)
            for i, mesh in zip(mine, _vertices(arrays, [hands[i].parameters for i in mine]), strict=True):
                points = hands[i].keypoints
                if self._job.is_mano(arrays.name):
                    points = with_fingertips(points, mesh, "freihand")
                fields = _fields(hands[i].intrinsics, points, mesh, hands[i].parameters, arrays)
                for name, value in fields.items():
                    columns[name][i] = value
        return columns

    def _right_model(self, sha256: str) -> HandArrays:
        source = self._job.source
        right = source.arrays(sha256, "right")
        if self._job.config.mirror_left and not sides_mirror(right, source.arrays(sha256, "left")):
            raise HandgenError(
                f"{source.root}: the left hand of {right.name!r} is not the mirror image of its right, so its "
                "parameters mean another hand there; leave --mirror-left out"
            )
        return right

    def finish(self, units: Sequence[Written]) -> list[File]:
        """See `handgen.datasets.writer.Writer`."""
        return [
            write_joined(self._job, f"training_{name}.json", _list_of(joined(self._job, name, units)))
            for name in FIELDS
        ]

    def place(self, manifest: dict[str, Any]) -> None:
        """See `handgen.datasets.writer.Writer`: paths are relative."""

    def notes(self) -> list[str]:
        """See `handgen.datasets.writer.Writer`."""
        notes = []
        if not self._job.all_mano:
            notes.append(
                "training_mano.json and training_verts.json are of a hand model other than MANO: a loader that puts "
                "them into MANO gets another hand; training_xyz.json holds for every model"
            )
        return notes


def _list_of(blocks: Iterable[bytes]) -> Iterator[bytes]:
    yield b"["
    yield from blocks
    yield b"]\n"


def _vertices(arrays: HandArrays, parameters: Sequence[HandParameters]) -> Iterator[Float[np.ndarray, "778 3"]]:
    """Meshes, so many at a time that memory does not depend on how many there are."""
    model = HandModel(arrays)
    for first in range(0, len(parameters), _BATCH):
        some = parameters[first : first + _BATCH]
        pose = HandPose(
            torch.tensor(np.stack([p.pose for p in some])).reshape(-1, 16, 3),
            torch.tensor(np.stack([_placed(p) for p in some])),
            torch.tensor(np.stack([p.betas for p in some])),
        )
        yield from model(pose).vertices.numpy()


def _placed(parameters: HandParameters) -> Float[np.ndarray, " 3"]:
    assert parameters.translation_m is not None  # handgen's own have one
    return parameters.translation_m


def _fields(
    intrinsics: Float[np.ndarray, "3 3"],
    points: Float[np.ndarray, "21 3"],
    mesh: Float[np.ndarray, "778 3"],
    parameters: HandParameters,
    arrays: HandArrays,
) -> dict[str, np.ndarray]:
    root = points[MIDDLE_MCP]
    scale = (intrinsics[0, 0] + intrinsics[1, 1]) / 2 / root[2]
    uv_root = intrinsics[:2, 2] + scale * root[:2]
    theta = np.concatenate([relative_from_full(parameters.pose, arrays), parameters.betas, uv_root, [scale]])
    return {
        "K": np.round(intrinsics, 6),
        "xyz": np.round(points, 7),
        "mano": np.round(theta, 7)[None],
        "verts": np.round(mesh, 6),
        "scale": np.round(np.linalg.norm(points[MIDDLE_MCP + 1] - root), 7),
    }
