"""OpenPose: a folder per camera, a file per frame (`openpose --hand --write_json FOLDER`).

`NAME_000000000012_keypoints.json` is frame 12: the last number before `_keypoints`, from 0; frames may be missing. Each
holds `people`, each person `hand_left_keypoints_2d` and `hand_right_keypoints_2d`: x, y, score of 21 keypoints, in the
order of `handgen.hand.skeleton`; an empty list or zeros where nothing was seen. Format:
https://github.com/CMU-Perceptual-Computing-Lab/openpose/blob/master/doc/02_output.md
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from handgen.detect.keypoint_files.hands import CameraHands, HandList, check_file, file_frames
from handgen.errors import HandgenError, explain_unreadable
from handgen.hand.skeleton import KEYPOINT_COUNT, SIDES
from handgen.storage.documents import loads

SUFFIX = "_keypoints.json"
_MAX_FILE_BYTES = 4 * 2**20  # a person with body, face, hands in two and three dimensions has 15 KB
_MAX_PEOPLE = 200
_NORMALISED = 1.5  # where no coordinate is larger, pixels were divided by the image's size


def read(folder: Path) -> CameraHands:
    """The hands of all people in a camera's files. Raises HandgenError naming the file that does not fit."""
    hands = HandList(str(folder))
    people_seen, hands_looked_for = 0, False
    for frame, file in file_frames(folder, SUFFIX):
        for number, person in enumerate(_people(file)):
            people_seen += 1
            for side in SIDES:
                rows = _hand(person, side, f"{file}: person {number}")
                if rows is None:
                    continue
                hands_looked_for = True
                if rows[:, 2].any():
                    hands.add(frame, rows, float(side == "right"))
    if people_seen and not hands_looked_for:
        raise HandgenError(f"{folder}: {people_seen} people and not one hand; run OpenPose with --hand")
    found = hands.packed_scored()
    if len(found.frames) and found.values[..., :2].max() <= _NORMALISED:
        raise HandgenError(f"{folder}: coordinates are not in pixels; run OpenPose with --keypoint_scale 0")
    return found


def _people(file: Path) -> list[Any]:
    with explain_unreadable(file):
        check_file(file, _MAX_FILE_BYTES, "is it OpenPose's file of one frame?")
        document = loads(file.read_bytes(), str(file))
    people = document.get("people") if isinstance(document, dict) else None
    if not isinstance(people, list) or len(people) > _MAX_PEOPLE:
        raise HandgenError(f"{file}: no list `people` of up to {_MAX_PEOPLE}; is it a file of OpenPose?")
    return people


def _hand(person: Any, side: str, where: str) -> Float[np.ndarray, "21 3"] | None:
    """The numbers of a hand; None where the list is empty or not there."""
    key = f"hand_{side}_keypoints_2d"
    numbers = person.get(key) if isinstance(person, dict) else ()
    if numbers is None or numbers == []:
        return None
    try:
        return np.array(numbers, float).reshape(KEYPOINT_COUNT, 3)
    except (TypeError, ValueError, OverflowError):
        raise HandgenError(f"{where}: {key}: expected {3 * KEYPOINT_COUNT} numbers (x, y, score)") from None
