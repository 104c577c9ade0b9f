"""Read InterHand2.6M (`handgen.datasets.interhand.layout`).

`data.json` and `joint_3d.json` have gigabytes: they are read once, from end to end, and of each picture 52 bytes are
held, of each frame the places of its joints and parameters in their files. A value is read when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from handgen.datasets import reader as base
from handgen.datasets.interhand import layout
from handgen.datasets.interhand.layout import CAMERA_SHAPES, JOINT_COUNT, M_PER_MM, SIDE_ORDER, SPLITS
from handgen.datasets.parameters import move_parameters
from handgen.datasets.reader import Models, Moment, Reader
from handgen.errors import HandgenError
from handgen.hand.conversions import full_from_relative, reorder_keypoints
from handgen.hand.skeleton import KEYPOINT_COUNT
from handgen.media.images import picture_size
from handgen.records.labelled_image import HandParameters, LabelledHand, LabelledImage
from handgen.storage import filesystem
from handgen.storage.documents import read_json
from handgen.storage.json_stream import list_entries, nested_entries, read_value

_PICTURE = np.dtype(
    [
        *((name, "i4") for name in ("capture", "camera", "subject", "width", "height")),
        *((name, "i8") for name in ("frame", "first", "length", "id")),
    ]
)
_KEYS = ("capture", "subject", "width", "height", "frame_idx", "id")  # whole numbers of a picture's entry


_Labels = tuple[np.ndarray, np.ndarray, dict[str, HandParameters]]  # joints in the world, valid ones, parameters


class InterhandReader(Reader):
    """Reads InterHand2.6M. A moment is a frame of a capture, seen by its cameras."""

    format = "interhand"

    def __init__(self, root: Path, split: str | None = None, models: Models | None = None) -> None:
        """Raises HandgenError when the files are missing or damaged."""
        self.root = root
        self.models: Models = dict(models or {})
        folders = layout.folders_of(root)
        first, *others = SPLITS
        looked_for = f"{layout.labels_folder(first)}/{layout.labels_file(first, layout.DATA)} (or {', '.join(others)})"
        self.split = base.choose_split(root, split, list(folders), (*SPLITS, *folders), looked_for)
        self._folder = folders[self.split]
        self._cameras = read_json(self._path(layout.CAMERA))
        self._joints = {entry.keys: (entry.first, entry.length) for entry in nested_entries(self._path(layout.JOINTS))}
        paths = map(self._path, (layout.PARAMETERS, layout.OLD_PARAMETERS))
        self._mano_path = next((path for path in paths if path.is_file()), None)
        self._mano: dict[tuple[str, ...], tuple[int, int]] = {}
        if self._mano_path is not None:
            self._mano = {entry.keys: (entry.first, entry.length) for entry in nested_entries(self._mano_path)}
        self._camera_names: list[str] = []
        self._pictures = self._index()
        order = np.lexsort([self._pictures[name] for name in ("id", "camera", "frame", "capture")])
        self._pictures = self._pictures[order]
        moment = np.stack([self._pictures["capture"].astype(np.int64), self._pictures["frame"]], 1)
        starts = np.flatnonzero(np.r_[True, (np.diff(moment, axis=0) != 0).any(1)])
        self._starts = np.r_[starts, len(self._pictures)]

    @property
    def count(self) -> int:
        """The number of pictures."""
        return len(self._pictures)

    @property
    def moment_count(self) -> int:
        """The number of frames."""
        return len(self._starts) - 1

    @property
    def notes(self) -> list[str]:
        """Remarks for the user on missing parameters."""
        missing = self._mano_path is None
        return [f"{self._path(layout.PARAMETERS).name} is not there: no hand parameters"] if missing else []

    def moments(self, first: int, last: int, pictures: bool = True) -> Iterator[Moment]:
        """Read moments `first` to `last` - 1; pictures: their files, too."""
        with (
            filesystem.open_read(self._path(layout.DATA)) as data,
            filesystem.open_read(self._path(layout.JOINTS)) as joints,
        ):
            for number in range(first, last):
                rows = self._pictures[self._starts[number] : self._starts[number + 1]]
                keys = (str(rows["capture"][0]), str(rows["frame"][0]))
                if keys not in self._joints:
                    raise HandgenError(
                        f"{self._path(layout.JOINTS)}: has no frame {keys[1]} of capture {keys[0]}, which "
                        f"{self._path(layout.DATA).name} names; are both of the same release?"
                    )
                where = f"{self._path(layout.JOINTS)}: capture {keys[0]}, frame {keys[1]}"
                known = read_value(joints, *self._joints[keys], where)
                world = _member(known, "world_coord", where, (JOINT_COUNT, 3)) * M_PER_MM
                valid = valid_joints(known, f"{where}: joint_valid")
                labels = (world, valid, self._parameters(keys))
                images = tuple(self._image(row, data, labels, pictures) for row in rows)
                yield Moment(f"capture {keys[0]}, frame {keys[1]}", images)

    def fingerprint(self) -> dict[str, Any]:
        """Sizes and digests of the JSON files."""
        paths = [self._path(layout.DATA), self._path(layout.CAMERA), self._path(layout.JOINTS), self._mano_path]
        return {path.name: base.file_fingerprint(path) for path in paths if path is not None}

    def _image(self, row: np.void, data: Any, labels: _Labels, pictures: bool) -> LabelledImage:
        world, valid, parameters = labels
        where = f"{self._path(layout.DATA)}: picture {row['id']}"
        entry = read_value(data, int(row["first"]), int(row["length"]), where)
        path = base.inside(self.root / layout.picture_folder(self.split), entry.get("file_name"), where)
        size_px = (int(row["width"]), int(row["height"]))
        image = base.read_bytes(path) if pictures else None
        if image is not None and (size := picture_size(path)) != size_px:
            raise HandgenError(f"{path}: is {size[0]}x{size[1]} px, but {where} says {size_px[0]}x{size_px[1]}")
        camera = self._camera(str(row["capture"]), self._camera_names[row["camera"]], size_px)
        points = camera.cam_from_world.apply(world)
        hands: list[LabelledHand] = []
        for place, side in enumerate(SIDE_ORDER):
            mine = slice(place * KEYPOINT_COUNT, (place + 1) * KEYPOINT_COUNT)
            if not valid[mine].any():
                continue
            there = parameters.get(side)
            if there is not None:
                there = move_parameters(there, camera.cam_from_world, self.models[side])
            ours = reorder_keypoints(points[mine], "interhand", "handgen")
            known = reorder_keypoints(valid[mine, None].astype(float), "interhand", "handgen")[:, 0] > 0
            hands.append(base.seen_hand(side, ours, camera, known, there))
        return LabelledImage(
            name=f"{layout.picture_folder(self.split)}/{entry['file_name']}",
            size_px=size_px,
            hands=tuple(hands),
            image=image,
            suffix=path.suffix.removeprefix(".").lower() or "jpg",
            intrinsics=camera.intrinsics,
            cam_from_world=camera.cam_from_world,
            capture=f"capture{row['capture']}",
            subject=f"interhand-{row['subject']}",
            camera=camera.name,
            frame=int(row["frame"]),
        )

    def _camera(self, capture: str, name: str, size_px: tuple[int, int]) -> Any:
        where = f"{self._path(layout.CAMERA)}: capture {capture}, camera {name}"
        values = {}
        for key, shape in CAMERA_SHAPES.items():
            try:
                values[key] = base.numbers(self._cameras[capture][key][name], shape, f"{where}, {key}")
            except (KeyError, TypeError):
                raise HandgenError(f"{where}: has no {key}; are both files of the same release?") from None
        intrinsics = np.diag([*values["focal"], 1.0])
        intrinsics[:2, 2] = values["princpt"]
        translation = -values["camrot"] @ values["campos"] * M_PER_MM
        return base.make_camera(name, size_px, intrinsics, values["camrot"], translation, where)

    def _parameters(self, keys: tuple[str, str]) -> dict[str, HandParameters]:
        """The hand parameters by side, in the world; sides without any are left out."""
        if self._mano_path is None or not self.models or keys not in self._mano:
            return {}
        where = f"{self._mano_path}: capture {keys[0]}, frame {keys[1]}"
        with filesystem.open_read(self._mano_path) as file:
            known = read_value(file, *self._mano[keys], where)
        found = {}
        for side in SIDE_ORDER:
            entry = known.get(side) if isinstance(known, dict) else None
            if entry is None or side not in self.models:
                continue
            arrays, shapes = self.models[side], {"pose": (48,), "shape": (10,), "trans": (3,)}
            pose, betas, translation = (_member(entry, key, f"{where}, {side}", shape) for key, shape in shapes.items())
            pose = full_from_relative(pose, arrays)
            found[side] = HandParameters(pose, betas, translation, arrays.name, arrays.sha256)
        return found

    def _index(self) -> np.ndarray:
        """Read rows of `_PICTURE`, in the order of the file."""
        where, numbers = self._path(layout.DATA), dict[str, int]()

        def rows() -> Iterator[tuple[int, ...]]:
            for entry in list_entries(where, "images"):
                try:
                    value = entry.value
                    camera = numbers.setdefault(str(value["camera"]), len(numbers))
                    capture, subject, width, height, frame, number = (int(value[key]) for key in _KEYS)
                    place = (entry.first, entry.length)
                    row: tuple[int, ...] = (capture, camera, subject, width, height, frame, *place, number)
                    np.array(row, _PICTURE)  # raises OverflowError for a number that does not fit
                except (KeyError, TypeError, ValueError, OverflowError) as error:
                    what = f"{error!r}: a key is missing, or no whole number"
                    raise HandgenError(f"{where}: picture at byte {entry.first}: {what}") from None
                yield row

        found = np.fromiter(rows(), _PICTURE)
        self._camera_names = list(numbers)
        if not len(found):
            raise HandgenError(f"{where}: names no pictures")
        ids, counts = np.unique(found["id"], return_counts=True)
        if counts.max() > 1:
            raise HandgenError(f"{where}: has picture {ids[counts.argmax()]} {counts.max()} times; get it again")
        return found

    def _path(self, name: str) -> Path:
        return self._folder / layout.labels_file(self.split, name)


def valid_joints(document: Any, where: str) -> Bool[np.ndarray, " 42"]:
    """Read the joints that `joint_valid` calls valid: 42 numbers, or lists of one. HandgenError for anything else."""
    flags = document.get("joint_valid") if isinstance(document, dict) else None
    if isinstance(flags, list):
        flags = [flag[0] if isinstance(flag, list) and len(flag) == 1 else flag for flag in flags]
    return base.numbers(flags, (JOINT_COUNT,), where) > 0


def _member(document: Any, key: str, where: str, shape: tuple[int, ...]) -> np.ndarray:
    if not isinstance(document, dict) or key not in document:
        raise HandgenError(f"{where}: has no {key!r}; is the file of this data set?")
    return base.numbers(document[key], shape, f"{where}: {key}")
