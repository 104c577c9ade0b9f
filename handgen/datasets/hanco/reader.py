"""Read HanCo (`handgen.datasets.hanco.layout`)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from handgen.datasets import reader as base
from handgen.datasets.hanco import layout
from handgen.datasets.hanco.layout import CALIBRATION, KEYPOINTS, MASKS, META, PARAMETERS, PICTURES, SPLITS
from handgen.datasets.parameters import move_parameters
from handgen.datasets.reader import Models, Moment, Reader
from handgen.errors import HandgenError
from handgen.hand.conversions import full_from_relative
from handgen.hand.skeleton import KEYPOINT_COUNT
from handgen.media.images import picture_size
from handgen.records.labelled_image import HandParameters, LabelledImage
from handgen.storage import limits
from handgen.storage.documents import read_json

_KEYS = ("is_train", "subject_id", "has_fit")


class HancoReader(Reader):
    """Reads HanCo. `meta.json` is held, a few numbers per frame; all else is read when asked for.

    Moments are the frames whose fit was checked (`is_valid`), of sequences whose pictures are there.
    """

    format = "hanco"

    def __init__(self, root: Path, split: str | None = None, models: Models | None = None) -> None:
        """Raises HandgenError when files are missing or damaged."""
        self.root = root
        self.models: Models = dict(models or {})
        there = list(SPLITS) if (root / META).is_file() and (root / PICTURES).is_dir() else []
        self.split = base.choose_split(root, split, there, SPLITS, f"{META} beside a folder {PICTURES}")
        meta = self._meta()
        wanted = self.split == "train"
        fitted = meta.get("is_valid", meta["has_fit"])
        sequences = sorted(int(p.name) for p in (root / PICTURES).iterdir() if re.fullmatch(r"\d{4,6}", p.name))
        self._moments: list[tuple[int, int, str]] = []
        self._unchecked = 0
        for sequence in sequences:
            if sequence >= len(meta["is_train"]):
                raise HandgenError(
                    f"{root / PICTURES / layout.sequence_name(sequence)}: {META} has {len(meta['is_train'])} "
                    "sequences; are the pictures of another data set?"
                )
            for frame, is_train in enumerate(meta["is_train"][sequence]):
                if bool(is_train) != wanted:
                    continue
                if not fitted[sequence][frame]:
                    self._unchecked += 1
                    continue
                subject = meta["subject_id"][sequence][frame]
                if subject is not None and not isinstance(subject, int):
                    raise HandgenError(f"{root}/{META}: subject_id of sequence {sequence} must be whole numbers")
                self._moments.append((sequence, frame, "" if subject is None else f"hanco-{subject}"))
        self._sequences = (len(sequences), len(meta["is_train"]))
        if not self._moments:
            raise HandgenError(f"{root}: no frame of split {self.split} has a checked fit and pictures in {PICTURES}/")

    @property
    def count(self) -> int:
        """The number of pictures, if all frames have as many as the first."""
        return self.moment_count * len(next(self.moments(0, 1, pictures=False)).images)

    @property
    def moment_count(self) -> int:
        """The number of frames."""
        return len(self._moments)

    @property
    def notes(self) -> list[str]:
        """Remarks for the user on sequences and frames that are left out."""
        notes = []
        if self._sequences[0] < self._sequences[1]:
            notes.append(f"pictures of {self._sequences[0]} of {self._sequences[1]} sequences are there")
        if self._unchecked:
            notes.append(f"{self._unchecked} frames without a checked fit are left out")
        return notes

    def moments(self, first: int, last: int, pictures: bool = True) -> Iterator[Moment]:
        """Read moments `first` to `last` - 1; pictures: their files and masks, too."""
        for sequence, frame, subject in self._moments[first:last]:
            yield self._moment(sequence, frame, subject, pictures)

    def fingerprint(self) -> dict[str, Any]:
        """Size and digest of `meta.json`, and the number of sequences."""
        return {META: base.file_fingerprint(self.root / META), "sequences": self._sequences[0]}

    def _moment(self, sequence: int, frame: int, subject: str, pictures: bool) -> Moment:
        place = layout.frame_file(sequence, frame)
        calibration = self._document(CALIBRATION, place, "K", "M")
        where = str(self.root / CALIBRATION / place)
        intrinsics = base.numbers(calibration["K"], (-1, 3, 3), f"{where}: K")
        cam_from_world = base.numbers(calibration["M"], (-1, 4, 4), f"{where}: M")
        limits.CAMERAS.check(len(intrinsics), where)
        if len(intrinsics) != len(cam_from_world) or not len(intrinsics):
            raise HandgenError(f"{where}: has {len(intrinsics)} K and {len(cam_from_world)} M; one each per camera")
        xyz = base.numbers(self._document(KEYPOINTS, place), (KEYPOINT_COUNT, 3), f"{self.root / KEYPOINTS / place}")
        parameters = self._parameters(place)
        images = []
        for number in range(len(intrinsics)):
            name = layout.picture_file(sequence, number, frame)
            path = self.root / PICTURES / name
            size_px = picture_size(path) if path.is_file() else (224, 224)
            rotation, translation = cam_from_world[number, :3, :3], cam_from_world[number, :3, 3]
            said = f"{where}, camera {number}"
            camera = base.make_camera(f"cam{number}", size_px, intrinsics[number], rotation, translation, said)
            there = None
            if parameters is not None:
                there = move_parameters(parameters, camera.cam_from_world, self.models["right"])
            points = camera.cam_from_world.apply(xyz)
            images.append(
                LabelledImage(
                    name=f"{PICTURES}/{name}",
                    size_px=size_px,
                    hands=(base.seen_hand("right", points, camera, parameters=there),),
                    image=base.read_bytes(path) if pictures else None,
                    mask=base.read_bytes(self.root / MASKS / name) if pictures else None,
                    intrinsics=camera.intrinsics,
                    cam_from_world=camera.cam_from_world,
                    capture=layout.sequence_name(sequence),
                    subject=subject,
                    camera=camera.name,
                    frame=frame,
                )
            )
        return Moment(place.removesuffix(".json"), tuple(images))

    def _parameters(self, place: str) -> HandParameters | None:
        if "right" not in self.models or not (self.root / PARAMETERS / place).is_file():
            return None
        where = self.root / PARAMETERS / place
        document, arrays = self._document(PARAMETERS, place, "poses", "shapes", "global_t"), self.models["right"]
        found = []
        for key, count in (("poses", 48), ("shapes", 10), ("global_t", 3)):
            value = document[key]
            while isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
                value = value[0]  # numbers may lie in lists of one
            found.append(base.numbers(value, (count,), f"{where}: {key}"))
        pose, betas, translation = found
        return HandParameters(full_from_relative(pose, arrays), betas, translation, arrays.name, arrays.sha256)

    def _document(self, kind: str, place: str, *keys: str) -> Any:
        document = read_json(self.root / kind / place)
        for key in keys:
            if not isinstance(document, dict) or key not in document:
                raise HandgenError(f"{self.root / kind / place}: has no {key!r}; unpack the data set again")
        return document

    def _meta(self) -> dict[str, list[list[Any]]]:
        path = self.root / META
        meta = read_json(path)
        keys = (*_KEYS, "is_valid") if isinstance(meta, dict) and "is_valid" in meta else _KEYS
        for key in keys:
            rows = meta.get(key) if isinstance(meta, dict) else None
            if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
                raise HandgenError(f"{path}: has no lists of lists {key!r}; is it HanCo's?")
        lengths = {key: [len(row) for row in meta[key]] for key in keys}
        for key, counts in lengths.items():
            if counts != lengths["is_train"]:
                raise HandgenError(f"{path}: {key} has other sequences or frames than is_train; unpack it again")
        return meta
