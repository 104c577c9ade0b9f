"""Read FreiHAND (`handgen.datasets.freihand.layout`).

FreiHAND's own code places a hand by uv_root and scale. If uv_root is the keypoint's true projection, this is off by
x |fx - fy| / 2 f: 0.02 mm with the data set's cameras. `xyz` says the same without that error, for all keypoints; so
the translation is the one that brings the model's 16 joints nearest to it (fingertips are left out: they are other
vertices than ours). Without `xyz` there is no reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from handgen.datasets import reader as base
from handgen.datasets.freihand import layout
from handgen.datasets.freihand.layout import BETAS, POSE, SHAPES, SPLITS
from handgen.datasets.reader import Models, Moment, Reader
from handgen.errors import HandgenError
from handgen.hand.conversions import full_from_relative
from handgen.hand.model import HandModel
from handgen.hand.skeleton import FINGER_KEYPOINTS, KEYPOINT_COUNT
from handgen.media.images import picture_size
from handgen.records.labelled_image import HandParameters, LabelledImage
from handgen.storage import filesystem
from handgen.storage.json_stream import list_entries, read_value

_JOINTS = sorted(set(range(KEYPOINT_COUNT)) - {keypoints[-1] for keypoints in FINGER_KEYPOINTS.values()})


@dataclass(frozen=True)
class _Column:
    """One of the JSON files: a list with an entry per picture. places: first byte and number of bytes of each."""

    path: Path
    shape: tuple[int, ...]
    places: Int[np.ndarray, "n 2"]

    @classmethod
    def of(cls, path: Path, shape: tuple[int, ...]) -> _Column:
        """Find the entries of a file, which is read once."""
        places = [(entry.first, entry.length) for entry in list_entries(path)]
        return cls(path, shape, np.array(places, np.int64).reshape(-1, 2))

    def read(self, first: int, last: int) -> Float[np.ndarray, "..."]:
        """Read entries `first` to `last` - 1 as one array."""
        values = np.empty((last - first, *self.shape))
        with filesystem.open_read(self.path) as file:
            for i, (byte, length) in enumerate(self.places[first:last].tolist()):
                where = f"{self.path}, entry {first + i}"
                values[i] = base.numbers(read_value(file, byte, length, where), self.shape, where)
        return values


class FreihandReader(Reader):
    """Reads FreiHAND; holds the places of all labels in their files, 48 bytes per picture. A picture is a moment."""

    format = "freihand"

    def __init__(self, root: Path, split: str | None = None, models: Models | None = None) -> None:
        """Raises HandgenError when the files are missing, damaged, or of different lengths."""
        self.root = root
        self.models: Models = dict(models or {})
        looked_for = " or ".join(layout.labels_file(name, "K") for name in SPLITS)
        self.split = base.choose_split(root, split, layout.splits_in(root), SPLITS, looked_for)
        names = ("K", "xyz", "mano") if self._path("mano").is_file() else ("K", "xyz")
        self._columns = {name: _Column.of(self._path(name), SHAPES[name]) for name in names}
        counts = {name: len(column.places) for name, column in self._columns.items()}
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{self._path(name).name} has {count} entries" for name, count in counts.items())
            raise HandgenError(f"{root}: {told}; they must have the same number: unpack the data set again")
        first = next((path for path in map(self._picture, range(self.count)) if path.is_file()), None)
        if first is None:
            raise HandgenError(f"{self._picture(0).parent}: has none of the {self.count} pictures; unpack them there")
        self.size_px = picture_size(first)

    @property
    def count(self) -> int:
        """The number of pictures."""
        return len(self._columns["K"].places)

    @property
    def notes(self) -> list[str]:
        """Remarks for the user on missing people and parameters."""
        notes = ["FreiHAND does not say who is who: all of an import goes into one split of `synthesize`"]
        if "mano" not in self._columns:
            notes.append(f"{self._path('mano').name} is not there: no hand parameters")
        return notes

    def moments(self, first: int, last: int, pictures: bool = True) -> Iterator[Moment]:
        """Read moments `first` to `last` - 1; pictures: their files and masks, too."""
        intrinsics, xyz = (self._columns[name].read(first, last) for name in ("K", "xyz"))
        parameters = self._parameters(first, last, xyz)
        for i in range(first, last):
            path = self._picture(i)
            name = path.relative_to(self.root).as_posix()
            files = (path, self._picture(i, layout.mask_folder))
            image, mask = map(base.read_bytes, files) if pictures else (None, None)
            if image is not None and (size := picture_size(path)) != self.size_px:
                raise HandgenError(
                    f"{path}: is {size[0]}x{size[1]} px, but the others are {self.size_px[0]}x{self.size_px[1]}; "
                    "unpack the data set again"
                )
            where = f"{self._path('K')}, entry {i}"
            camera = base.make_camera("camera", self.size_px, intrinsics[i - first], np.eye(3), np.zeros(3), where)
            labelled = LabelledImage(
                name=name,
                size_px=self.size_px,
                hands=(base.seen_hand("right", xyz[i - first], camera, parameters=parameters[i - first]),),
                image=image,
                mask=mask,
                intrinsics=camera.intrinsics,
                cam_from_world=camera.cam_from_world,
                capture=f"freihand-{self.split}",
                camera=camera.name,
                frame=i,
            )
            yield Moment(name, (labelled,))

    def fingerprint(self) -> dict[str, Any]:
        """Sizes and digests of the JSON files."""
        return {column.path.name: base.file_fingerprint(column.path) for column in self._columns.values()}

    def _parameters(self, first: int, last: int, xyz: Float[np.ndarray, "n 21 3"]) -> list[HandParameters | None]:
        if "mano" not in self._columns or "right" not in self.models:
            return [None] * (last - first)
        arrays = self.models["right"]
        values = self._columns["mano"].read(first, last)[:, 0]
        poses, betas = full_from_relative(values[:, POSE], arrays), values[:, BETAS]
        said = (np.zeros(3), arrays.name, arrays.sha256)
        at_origin = [HandParameters(pose, shape, *said) for pose, shape in zip(poses, betas, strict=True)]
        keypoints = HandModel(arrays)(base.stack_parameters(at_origin)).keypoints.numpy()
        translations = (xyz - keypoints)[:, _JOINTS].mean(1)
        return [replace(one, translation_m=moved) for one, moved in zip(at_origin, translations, strict=True)]

    def _path(self, name: str) -> Path:
        return self.root / layout.labels_file(self.split, name)

    def _picture(self, index: int, folder: Callable[[str], str] = layout.picture_folder) -> Path:
        return self.root / folder(self.split) / layout.picture_file(index)
