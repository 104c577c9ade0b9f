"""MMPose: a JSON file per camera, or a folder with one per image.

- Its demos (`--save-predictions`) and its inferencer (`--pred-out-dir`) write for a video `instance_info`, a list of
  `frame_id` and `instances`, with the `meta_info` of the network's data set; older inferencers write that list alone.
- For an image the inferencer writes the list of its instances, in a file named after it (`frame_files`).
- Sapiens writes a file per image, too, and the list stands under `instance_info`.

An instance has `keypoints` (x, y) and `keypoint_scores`: 21 of a hand, 133 of COCO-WholeBody, or Sapiens's 308.
`frame_id` counts from 1 in the demos (`demo/topdown_demo_with_mmdet.py`) and from 0 in the inferencer
(`mmpose/apis/inferencers/base_mmpose_inferencer.py`). Both write every frame, so the first one tells which it is.

The order of 21 keypoints is that of `meta_info`'s names (without them OneHand10K's, which is ours); RHD's are called
`thumb1` and so on from the tip, so they are known by the data set's name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from handgen.detect.base import CameraFrames
from handgen.detect.keypoint_files.frame_files import file_frames
from handgen.detect.keypoint_files.hands import (
    SMALLER,
    CameraHands,
    HandList,
    check_file,
    check_frame,
)
from handgen.detect.keypoint_files.names import WHOLE_BODIES, places_of, side_of
from handgen.errors import HandgenError, explain_unreadable
from handgen.hand.skeleton import KEYPOINT_COUNT, KEYPOINT_ORDERS
from handgen.storage import filesystem, limits
from handgen.storage.json_stream import list_items

PREFIX = "results_"  # of the demos' files
SUFFIX = ".json"
KEYS = (b'"instance_info"', b'"instances"', b'"keypoint_scores"', b'"meta_info"')  # by which a file is known
_SIDE_KEYS = ("hand_type", "handedness", "side", "label")
_HEAD_BYTES = 2**16


def read(path: Path, side: str | None, frames: CameraFrames | None = None) -> CameraHands:
    """The hands of a camera's file or folder; HandgenError for what does not fit. side: of hands that do not say it."""
    hands = _Hands(str(path), side)
    if path.is_dir():
        for frame, file in file_frames(path, SUFFIX, frames):
            with explain_unreadable(file), filesystem.open_read(file) as stream:
                has_info = KEYS[0] in stream.read(_HEAD_BYTES)
            for name, instance in _parts(file, "instance_info" if has_info else "instances"):
                if name and not has_info:
                    raise HandgenError(f"{file}: no list of instances; is it MMPose's file of one image?")
                if not name:
                    hands.add_instance(frame, instance, str(file))
    else:
        for frame, instances in _from_zero(_frames(path, hands), path):
            for instance in instances:
                hands.add_instance(frame, instance, f"{path}: frame {frame}")
    return hands.packed_scored()


class _Hands(HandList):
    """Hands of instances. side: of those that do not say it."""

    def __init__(self, where: str, side: str | None) -> None:
        super().__init__(where)
        self.side = side
        self.places = list(range(KEYPOINT_COUNT))  # of our keypoints among the file's 21

    def add_instance(self, frame: int, instance: Any, where: str) -> None:
        """The hand or hands of an instance."""
        rows = _rows(instance, where)
        if len(rows) in WHOLE_BODIES:
            for side, places in WHOLE_BODIES[len(rows)].items():
                self.add(frame, rows[places], float(side == "right"))
        elif len(rows) == KEYPOINT_COUNT:
            texts = (value for key in _SIDE_KEYS if isinstance(value := instance.get(key), str))
            said = next(filter(None, map(side_of, texts)), self.side)
            if said is None:
                raise HandgenError(
                    f"{where}: an instance of {KEYPOINT_COUNT} keypoints does not say which hand it is; "
                    "give --hands left or --hands right, or use a whole-body network"
                )
            self.add(frame, rows[self.places], float(said == "right"))
        else:
            raise HandgenError(
                f"{where}: an instance of {len(rows)} keypoints, expected {KEYPOINT_COUNT} (a hand), "
                "133 (COCO-WholeBody) or 308 (Sapiens); choose such a network"
            )

    def learn(self, meta: Any) -> None:
        """The order of 21 keypoints, of `meta_info`."""
        names = meta.get("keypoint_id2name") if isinstance(meta, dict) else None
        if not isinstance(names, dict) or len(names) != KEYPOINT_COUNT:
            return
        try:
            listed = [str(name) for _, name in sorted((int(number), name) for number, name in names.items())]
        except (TypeError, ValueError):
            raise HandgenError(f"{self.where}: meta_info: keypoint_id2name has keys that are no numbers") from None
        if "rhd" in str(meta.get("dataset_name", "")).lower():
            self.places = [int(place) for place in np.argsort(KEYPOINT_ORDERS["rhd"])]
        else:
            (places,) = places_of(listed, f"{self.where}: meta_info").values()  # 21 names are of one hand
            self.places = list(places)
        self.values = [values[self.places] for values in self.values]  # taken as they stood, if this comes last


def _parts(file: Path, key: str) -> Iterator[tuple[str, Any]]:
    """The items of a file, which must not be too large: see `list_items`."""
    with explain_unreadable(file):
        check_file(file, limits.KEYPOINT_FILE, SMALLER)
    return list_items(file, key)


def _frames(file: Path, hands: _Hands) -> Iterator[tuple[int, list[Any]]]:
    """`frame_id` and instances of every entry, as they stand in the file."""
    for name, entry in _parts(file, "instance_info"):
        if name == "meta_info":
            hands.learn(entry)
        if name:
            continue
        number, instances = (entry.get("frame_id"), entry.get("instances")) if isinstance(entry, dict) else (None, None)
        if type(number) is not int or not isinstance(instances, list):
            raise HandgenError(
                f"{file}: an entry has no frame_id and instances; is it MMPose's file of a video? Those of images "
                "belong in a folder"
            )
        limits.PEOPLE.check(len(instances), f"{file}: frame_id {number}", "is it MMPose's file of a video?")
        yield check_frame(number, str(file)), instances


def _from_zero(frames: Iterator[tuple[int, list[Any]]], file: Path) -> Iterator[tuple[int, list[Any]]]:
    """Frames counted from 0."""
    first, seen = None, set()
    for number, instances in frames:
        first = number if first is None else first
        if first not in (0, 1):
            raise HandgenError(
                f"{file}: the first frame_id is {first}; MMPose counts from 1 or 0, and without the first frame it "
                "cannot be told which: keep it, or write the keypoints as handgen's JSONL"
            )
        if number < first or number in seen:
            raise HandgenError(
                f"{file}: frame_id {number} is there twice, or before the first; is it two videos' file?"
            )
        seen.add(number)
        yield number - first, instances


def _rows(instance: Any, where: str) -> Float[np.ndarray, "n 3"]:
    """x, y, score per keypoint."""
    known = instance if isinstance(instance, dict) else {}
    try:
        places = np.array(known.get("keypoints"), float)
        scores = np.array(known.get("keypoint_scores"), float)
    except (TypeError, ValueError, OverflowError):
        places = scores = np.zeros(0)
    if places.ndim != 2 or places.shape[1] < 2 or scores.shape != places.shape[:1]:
        raise HandgenError(
            f"{where}: an instance without keypoints (x, y) and as many keypoint_scores; is it MMPose's?"
        )
    return np.concatenate([places[:, :2], scores[:, None]], 1)
