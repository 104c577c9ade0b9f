"""HanCo: the videos that FreiHAND was taken from. Right hands, eight cameras, 224 x 224 px crops.

Source: github.com/lmb-freiburg/contra-hand, `show_dataset.py` (files), `manopth/manolayer.py` and
`utils/mano_utils.py` (hand parameters), `DatasetUnsupervisedMV.py` (masks); Zimmermann et al., "Contrastive
Representation Learning for Hand Shape Estimation", GCPR 2021.

    meta.json                        is_train (green screen), subject_id, is_valid (the fit was checked), has_fit,
                                     object_id: lists per sequence of lists per frame
    rgb/SEQ/camN/FRAME.jpg           SEQ of four digits, FRAME of eight
    mask_hand/SEQ/camN/FRAME.jpg     of the hand, where there is a green screen
    calib/SEQ/FRAME.json             K and M per camera; M is world -> camera, metres
    xyz/SEQ/FRAME.json               21 x 3, world, metres; manopth's fingertips
    shape/SEQ/FRAME.json             poses 48 (fingers relative to the mean pose), shapes 10, global_t 3: world, metres

manopth there turns the hand about its wrist and adds global_t at the end, as smplx does with `transl`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from handgen.datasets import reader as base
from handgen.datasets.reader import Models, Moment
from handgen.errors import HandgenError
from handgen.hand.conversions import full_from_relative
from handgen.hand.skeleton import KEYPOINT_COUNT
from handgen.media.images import picture_size
from handgen.records.labelled_image import HandParameters, LabelledImage
from handgen.storage.documents import read_json

SPLITS = ("train", "test")
_KEYS = ("is_train", "subject_id", "has_fit")
_MAX_CAMERAS = 64


class HancoReader:
    """Reads HanCo. `meta.json` is held, a few numbers per frame; all else is read when asked for.

    Only frames whose fit was checked (`is_valid`) are moments, of sequences whose pictures are there.
    """

    format = "hanco"

    def __init__(self, root: Path, split: str | None = None, models: Models | None = None) -> None:
        """Raises HandgenError when files are missing or damaged."""
        self.root = root
        self.models: Models = dict(models or {})
        there = list(SPLITS) if (root / "meta.json").is_file() and (root / "rgb").is_dir() else []
        self.split = base.the_split(root, split, there, SPLITS, "meta.json beside a folder rgb")
        meta = self._meta()
        wanted = self.split == "train"
        fitted = meta.get("is_valid", meta["has_fit"])
        sequences = sorted(int(p.name) for p in (root / "rgb").iterdir() if re.fullmatch(r"\d{4,6}", p.name))
        self._moments: list[tuple[int, int, str]] = []
        self._unchecked = 0
        for sequence in sequences:
            if sequence >= len(meta["is_train"]):
                raise HandgenError(
                    f"{root}/rgb/{sequence:04d}: meta.json has {len(meta['is_train'])} sequences; are the pictures of "
                    "another data set?"
                )
            for frame, is_train in enumerate(meta["is_train"][sequence]):
                if bool(is_train) != wanted:
                    continue
                if not fitted[sequence][frame]:
                    self._unchecked += 1
                    continue
                subject = meta["subject_id"][sequence][frame]
                if subject is not None and not isinstance(subject, int):
                    raise HandgenError(f"{root}/meta.json: subject_id of sequence {sequence} must be whole numbers")
                self._moments.append((sequence, frame, "" if subject is None else f"hanco-{subject}"))
        self._sequences = (len(sequences), len(meta["is_train"]))
        if not self._moments:
            raise HandgenError(f"{root}: no frame of split {self.split} has a checked fit and pictures in rgb/")

    @property
    def count(self) -> int:
        """How many pictures there are, if all frames have as many as the first."""
        return self.moment_count * len(next(self.moments(0, 1, pictures=False)).images)

    @property
    def moment_count(self) -> int:
        """How many frames there are."""
        return len(self._moments)

    @property
    def notes(self) -> list[str]:
        """See `Reader`."""
        notes = []
        if self._sequences[0] < self._sequences[1]:
            notes.append(f"pictures of {self._sequences[0]} of {self._sequences[1]} sequences are there")
        if self._unchecked:
            notes.append(f"{self._unchecked} frames without a checked fit are left out")
        return notes

    def moments(self, first: int, last: int, pictures: bool = True) -> Iterator[Moment]:
        """See `Reader`."""
        for sequence, frame, subject in self._moments[first:last]:
            yield self._moment(sequence, frame, subject, pictures)

    def __iter__(self) -> Iterator[LabelledImage]:
        """All pictures."""
        return base.images_of(self)

    def fingerprint(self) -> dict[str, Any]:
        """See `Reader`."""
        return {"meta.json": base.file_fingerprint(self.root / "meta.json"), "sequences": self._sequences[0]}

    def _moment(self, sequence: int, frame: int, subject: str, pictures: bool) -> Moment:
        place = f"{sequence:04d}/{frame:08d}.json"
        calibration = self._document("calib", place, "K", "M")
        where = str(self.root / "calib" / place)
        intrinsics = base.numbers(calibration["K"], (-1, 3, 3), f"{where}: K")
        cam_from_world = base.numbers(calibration["M"], (-1, 4, 4), f"{where}: M")
        if len(intrinsics) != len(cam_from_world) or not 0 < len(intrinsics) <= _MAX_CAMERAS:
            raise HandgenError(f"{where}: has {len(intrinsics)} K and {len(cam_from_world)} M; one each per camera")
        xyz = base.numbers(self._document("xyz", place), (KEYPOINT_COUNT, 3), str(self.root / "xyz" / place))
        parameters = self._parameters(place)
        images = []
        for number in range(len(intrinsics)):
            name = f"{sequence:04d}/cam{number}/{frame:08d}.jpg"
            path = self.root / "rgb" / name
            size_px = picture_size(path) if path.is_file() else (224, 224)
            camera = base.camera_of(
                f"cam{number}",
                size_px,
                intrinsics[number],
                cam_from_world[number, :3, :3],
                cam_from_world[number, :3, 3],
                f"{where}, camera {number}",
            )
            there = None
            if parameters is not None:
                there = base.in_camera(parameters, camera.cam_from_world, self.models, "right")
            points = camera.cam_from_world.apply(xyz)
            images.append(
                LabelledImage(
                    name=f"rgb/{name}",
                    size_px=size_px,
                    hands=(base.seen_hand("right", points, camera, parameters=there),),
                    image=base.read_bytes(path) if pictures else None,
                    mask=base.read_bytes(self.root / "mask_hand" / name) if pictures else None,
                    intrinsics=camera.intrinsics,
                    cam_from_world=camera.cam_from_world,
                    capture=f"{sequence:04d}",
                    subject=subject,
                    camera=camera.name,
                    frame=frame,
                )
            )
        return Moment(place.removesuffix(".json"), tuple(images))

    def _parameters(self, place: str) -> HandParameters | None:
        """In the world."""
        if "right" not in self.models or not (self.root / "shape" / place).is_file():
            return None
        document, where = self._document("shape", place, "poses", "shapes", "global_t"), self.root / "shape" / place
        arrays = self.models["right"]
        pose = self._flat(document["poses"], 48, f"{where}: poses")
        return HandParameters(
            full_from_relative(pose, arrays),
            self._flat(document["shapes"], 10, f"{where}: shapes"),
            self._flat(document["global_t"], 3, f"{where}: global_t"),
            arrays.name,
            arrays.sha256,
        )

    @staticmethod
    def _flat(value: Any, count: int, where: str) -> Float[np.ndarray, " n"]:
        """Numbers that may lie in lists of one."""
        while isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
            value = value[0]
        return base.numbers(value, (count,), where)

    def _document(self, kind: str, place: str, *keys: str) -> Any:
        document = read_json(self.root / kind / place)
        for key in keys:
            if not isinstance(document, dict) or key not in document:
                raise HandgenError(f"{self.root / kind / place}: has no {key!r}; unpack the data set again")
        return document

    def _meta(self) -> dict[str, list[list[Any]]]:
        path = self.root / "meta.json"
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
