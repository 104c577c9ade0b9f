"""Write FreiHAND's training set (`handgen.datasets.freihand.layout`): right hands, one per picture.

The fingertips of `xyz` are vertices of MANO's mesh that differ from smplx's for ring and pinky; they are taken here
where the hand model is MANO.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from jaxtyping import Float

from handgen.datasets.freihand import layout
from handgen.datasets.freihand.layout import ROOT, SHAPES, SIZE_PX
from handgen.datasets.freihand.square_crops import crop_square
from handgen.datasets.options import FreihandOptions
from handgen.datasets.reader import stack_parameters
from handgen.datasets.writer import ExportJob, File, Writer, Written, encode_entry, join_parts, write_file, write_part
from handgen.errors import HandgenError
from handgen.hand.conversions import relative_from_full, sides_mirror, with_fingertips
from handgen.hand.model import HandModel
from handgen.hand.model_files import HandArrays
from handgen.hand.skeleton import SIDES
from handgen.media import images
from handgen.records.labelled_image import HandParameters, LabelledImage
from handgen.storage import filesystem
from handgen.storage.filesystem import Location

_SPLIT = layout.SPLITS[0]  # whatever the source's is called: loaders know this one
_BATCH = 256  # hands that are posed at once
_MASK_QUALITY = 100  # of a picture of two values: less leaves specks beside the edge
_RGB, _MASK = layout.picture_folder(_SPLIT), layout.mask_folder(_SPLIT)


@dataclass(frozen=True)
class _Hand:
    """The labels of one picture. sha256: of the file of the hand model, of the side that the hand was of."""

    intrinsics: Float[np.ndarray, "3 3"]
    keypoints: Float[np.ndarray, "21 3"]
    parameters: HandParameters
    sha256: str


class FreihandWriter(Writer):
    """Writes FreiHAND's files."""

    other_sides_option = "--mirror-left"

    def __init__(self, job: ExportJob) -> None:
        self._job = job
        self._options: FreihandOptions = job.options

    @property
    def sides(self) -> tuple[str, ...]:
        """The sides of first hands that are taken: right ones, and left ones where these are mirrored."""
        return SIDES if self._options.mirror_left else ("right",)

    def write(self, unit: int, first: int, pictures: Iterable[LabelledImage]) -> Written:
        """Write the pictures and masks of a unit, and its pieces of the JSON files."""
        written, hands = Written(), list[_Hand]()
        for folder in (_RGB, _MASK):
            filesystem.make_folder(self._job.out / folder)
        filesystem.put_many(self._pictures(first, pictures, written, hands))
        columns = self._columns(hands)
        for name in SHAPES:
            write_part(self._job, unit, name, map(encode_entry, columns[name]), written)
        return written

    def _pictures(
        self, first: int, pictures: Iterable[LabelledImage], written: Written, hands: list[_Hand]
    ) -> Iterator[tuple[Location, bytes]]:
        for number, picture in enumerate(pictures, first):
            written.leave_out("the other hand: one hand per picture", len(picture.hands) - 1)
            made = crop_square(picture, SIZE_PX, mirror=picture.hands[0].side == "left")
            parameters, points = made.hand.parameters, made.hand.keypoints_cam_m
            original = picture.hands[0].parameters
            if parameters is None or points is None or original is None or original.model_sha256 is None:
                raise HandgenError(f"{picture.name}: has no 3D keypoints or no parameters; choose the format coco")
            hands.append(_Hand(made.intrinsics, points, parameters, original.model_sha256))
            written.hands += 1
            mask = np.repeat(made.mask[..., None], 3, axis=2)
            yield self._job.out / _RGB / layout.picture_file(number), made.jpeg
            yield self._job.out / _MASK / layout.picture_file(number), images.encode_jpeg(mask, _MASK_QUALITY)
        written.pictures = {_RGB: len(hands), _MASK: len(hands)}

    def _columns(self, hands: Sequence[_Hand]) -> dict[str, list[np.ndarray]]:
        """Compute an entry per hand of each of `SHAPES`."""
        columns: dict[str, list[np.ndarray]] = {name: [np.empty(0)] * len(hands) for name in SHAPES}
        for sha256 in sorted({hand.sha256 for hand in hands}):
            mine = [i for i, hand in enumerate(hands) if hand.sha256 == sha256]
            arrays = self._right_model(sha256)
            for i, mesh in zip(mine, _vertices(arrays, [hands[i].parameters for i in mine]), strict=True):
                points = hands[i].keypoints
                if self._job.is_mano(arrays.name):
                    points = with_fingertips(points, mesh, "freihand")
                for name, value in _labels(hands[i], points, mesh, arrays).items():
                    columns[name][i] = value
        return columns

    def _right_model(self, sha256: str) -> HandArrays:
        source = self._job.source
        right = source.arrays(sha256, "right")
        if self._options.mirror_left and not sides_mirror(right, source.arrays(sha256, "left")):
            raise HandgenError(
                f"{source.root}: the left hand of {right.name!r} is not the mirror image of its right, so its "
                "parameters mean another hand there; leave --mirror-left out"
            )
        return right

    def finish(self, units: Sequence[Written]) -> list[File]:
        """Write the JSON files."""
        blocks = {name: chain([b"["], join_parts(self._job, name, units), [b"]\n"]) for name in SHAPES}
        return [write_file(self._job, layout.labels_file(_SPLIT, name), blocks[name]) for name in SHAPES]

    def notes(self) -> list[str]:
        """Remarks on another hand model than MANO."""
        if self._job.all_mano:
            return []
        return [
            "training_mano.json and training_verts.json are of a hand model other than MANO: a loader that puts them "
            "into MANO gets another hand; training_xyz.json holds for every model"
        ]


def _vertices(arrays: HandArrays, parameters: Sequence[HandParameters]) -> Iterator[Float[np.ndarray, "778 3"]]:
    """Compute meshes, `_BATCH` at a time, so that memory does not depend on how many there are."""
    model = HandModel(arrays)
    for first in range(0, len(parameters), _BATCH):
        yield from model(stack_parameters(parameters[first : first + _BATCH])).vertices.numpy()


def _labels(
    hand: _Hand, points: Float[np.ndarray, "21 3"], mesh: Float[np.ndarray, "778 3"], arrays: HandArrays
) -> dict[str, np.ndarray]:
    root, given = points[ROOT], hand.parameters
    uv_root, scale = layout.orthographic_from_root(hand.intrinsics, root)
    theta = np.concatenate([relative_from_full(given.pose, arrays), given.betas, uv_root, [scale]])
    return {
        "K": np.round(hand.intrinsics, 6),
        "xyz": np.round(points, 7),
        "mano": np.round(theta, 7)[None],
        "verts": np.round(mesh, 6),
        "scale": np.round(np.linalg.norm(points[ROOT + 1] - root), 7),
    }
