"""OpenPose: a folder per camera, a file per frame (`openpose --hand --write_json FOLDER`), and who writes like it.

`NAME_000000000012_keypoints.json` is frame 12, or of the picture of that name (`frame_files`); frames may be missing.
Each holds `people`, each person `hand_left_keypoints_2d` and `hand_right_keypoints_2d`: x, y, score of 21 keypoints, in
the order of `handgen.hand.skeleton`; an empty list or zeros where nothing was seen. Format:
https://github.com/CMU-Perceptual-Computing-Lab/openpose/blob/master/doc/02_output.md

Pose2Sim (rtmlib) calls the files `NAME_000012.json`, writes NaN, leaves the hands' lists empty and puts a whole body's
133 keypoints into `pose_keypoints_2d`. DWPose divides by `canvas_width` and `canvas_height`, which stand beside.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from handgen.detect.base import CameraFrames
from handgen.detect.keypoint_files.frame_files import file_frames
from handgen.detect.keypoint_files.hands import MAX_PX, NORMALISED, CameraHands, HandList, check_file
from handgen.detect.keypoint_files.names import WHOLE_BODIES
from handgen.errors import HandgenError, explain_unreadable
from handgen.hand.skeleton import KEYPOINT_COUNT, SIDES
from handgen.storage import filesystem, limits
from handgen.storage.documents import loads

SUFFIX = "_keypoints.json"
KEY = b'"people"'  # by which a file is known


def read(folder: Path, suffix: str = SUFFIX, frames: CameraFrames | None = None) -> CameraHands:
    """The hands of all people in a camera's files. Raises HandgenError naming the file that does not fit."""
    hands = HandList(str(folder))
    people_seen, hands_looked_for = 0, False
    for frame, file in file_frames(folder, suffix, frames):
        document = _document(file)
        found = []
        for number, person in enumerate(document["people"]):
            people_seen += 1
            for side in SIDES:
                rows = _hand(person, side, f"{file}: person {number}")
                if rows is None:
                    continue
                hands_looked_for = True
                if np.nan_to_num(rows[:, 2]).any():
                    found.append((rows, float(side == "right")))
        scale = _canvas(document, [rows for rows, _ in found])
        for rows, right in found:
            hands.add(frame, rows * (*scale, 1), right)
    if people_seen and not hands_looked_for:
        raise HandgenError(
            f"{folder}: {people_seen} people and not one hand; run OpenPose with --hand, or Pose2Sim with a whole-body "
            "model"
        )
    return hands.packed_scored()


def _document(file: Path) -> dict[str, Any]:
    with explain_unreadable(file):
        check_file(file, limits.OPENPOSE_FILE, "is it OpenPose's file of one frame?")
        text = filesystem.read(file)
    document = loads(text, str(file), with_nan=True)
    if isinstance(document, list) and len(document) == 1:  # as DWPose in a web service writes a picture's
        document = document[0]
    people = document.get("people") if isinstance(document, dict) else None
    if not isinstance(people, list):
        raise HandgenError(f"{file}: no list `people`; is it a file of OpenPose?")
    limits.PEOPLE.check(len(people), file, "is it a file of OpenPose?")
    return document


def _hand(person: Any, side: str, where: str) -> Float[np.ndarray, "21 3"] | None:
    """The numbers of a hand; None where the list is empty or not there."""
    key = f"hand_{side}_keypoints_2d"
    numbers = person.get(key) if isinstance(person, dict) else ()
    if numbers is None or numbers == []:
        body = person.get("pose_keypoints_2d")
        places = WHOLE_BODIES.get(len(body) // 3 if isinstance(body, list) else 0)
        if places is None or len(body) % 3:
            return None
        key, numbers = "pose_keypoints_2d", [body[3 * place : 3 * place + 3] for place in places[side]]
    try:
        return np.array(numbers, float).reshape(KEYPOINT_COUNT, 3)
    except (TypeError, ValueError, OverflowError):
        raise HandgenError(f"{where}: {key}: expected {3 * KEYPOINT_COUNT} numbers (x, y, score)") from None


def _canvas(document: dict[str, Any], hands: list[Float[np.ndarray, "21 3"]]) -> tuple[float, float]:
    """Pixels of one unit, across and down: the canvas's size where coordinates were divided by it."""
    size = (document.get("canvas_width"), document.get("canvas_height"))
    width, height = (float(side) if isinstance(side, int | float) and 0 < side <= MAX_PX else 0.0 for side in size)
    if not hands or not width or not height or np.abs(np.nan_to_num(np.stack(hands)[..., :2])).max() > NORMALISED:
        return 1.0, 1.0
    return width, height
