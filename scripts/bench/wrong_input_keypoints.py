"""Write keypoint files for `wrong_input.py`: what a detector that is off by 0.5 px says of each picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from wrong_input_captures import CHIRAL, KEYPOINT_NOISE_PX, LEAST_KEYPOINTS, Draft

CONFIDENCE = 0.9
OTHER = {"left": "right", "right": "left"}
Hand = tuple[str, int, str, np.ndarray]  # camera, own frame, side that it looks like, x y confidence (21, 3)


def seen_hands(draft: Draft) -> Iterator[Hand]:
    """Yield every hand that the pictures of the draft show; pictures that were painted over keep theirs."""
    rng = draft.rng()
    for camera in draft.names:
        view = draft.views[draft.keypoint_source.get(camera, camera)]
        for index in range(len(view.frames)):
            for side in draft.base.sides:
                found = draft.base.pixels(view, index, side)
                if found is None or found[1].sum() < LEAST_KEYPOINTS:
                    continue
                pixels = found[0] + rng.normal(0, KEYPOINT_NOISE_PX, (21, 2))
                values = np.column_stack([pixels, np.where(found[1], CONFIDENCE, 0.0)])
                yield camera, index, OTHER[side] if view.turn in CHIRAL else side, draft.spoil(camera, values)


def write_jsonl(draft: Draft, path: Path) -> Path:
    """Write handgen's own format, all cameras in one file."""
    lines = []
    for camera, frame, side, values in seen_hands(draft):
        record = {"camera": camera, "frame": frame, "keypoints_px": values[:, :2].round(3).tolist()}
        lines.append(json.dumps(record | {"confidence": values[:, 2].tolist(), "right": float(side == "right")}))
    file = path.with_suffix(".jsonl")
    file.write_text("\n".join(lines) + "\n")
    return file


def write_array(draft: Draft, path: Path) -> Path:
    """Write views x frames x 21 x 3 of the right hand, NaN where it is not seen."""
    values = array_of(draft, np.nan)
    np.savez(path.with_suffix(".npz"), keypoints=values)
    return path.with_suffix(".npz")


def write_plain_array(draft: Draft, path: Path) -> Path:
    """Write views x frames x 21 x 2 without confidences; keypoints that are not seen are -1."""
    values = array_of(draft, -1.0)
    values[..., :2][values[..., 2] <= 0] = -1.0
    np.save(path.with_suffix(".npy"), values[..., :2])
    return path.with_suffix(".npy")


def array_of(draft: Draft, missing: float) -> np.ndarray:
    """Collect the right hand as an array of views x frames x 21 x 3."""
    frames = max(len(view.frames) for view in draft.views.values())
    values = np.full((len(draft.names), frames, 21, 3), missing)
    for camera, frame, side, hand in seen_hands(draft):
        if side == "right":
            values[draft.names.index(camera), frame] = hand
    return values


def write_openpose(draft: Draft, path: Path, folder_name: str = "{}", file_name: str = "{}_{:012d}_keypoints") -> Path:
    """Write OpenPose's folders, a file per picture, numbered as pictures in folders are."""
    people: dict[tuple[str, int], dict[str, list[float]]] = {}
    for camera, frame, side, values in seen_hands(draft):
        hands = people.setdefault((camera, frame), {})
        hands[f"hand_{side}_keypoints_2d"] = values.round(3).ravel().tolist()
    for camera in draft.names:
        view = draft.views[camera]
        folder = path / folder_name.format(camera)
        folder.mkdir(parents=True)
        for frame in range(len(view.frames)):
            hands = people.get((camera, frame), {})
            person = {f"hand_{side}_keypoints_2d": hands.get(f"hand_{side}_keypoints_2d", []) for side in OTHER}
            number = view.numbers[frame] if view.numbers else frame
            document = {"version": 1.3, "people": [person] if hands else []}
            (folder / f"{file_name.format(camera, number)}.json").write_text(json.dumps(document))
    return path


def write_renamed_openpose(draft: Draft, path: Path) -> Path:
    """Write OpenPose's content as Pose2Sim names it: `cam_0_json/cam_0_000012.json`."""
    return write_openpose(draft, path, "{}_json", "{}_{:06d}")


WRITERS: dict[str, Callable[[Draft, Path], Path]] = {
    "jsonl": write_jsonl,
    "array": write_array,
    "plain array": write_plain_array,
    "openpose": write_openpose,
    "renamed openpose": write_renamed_openpose,
}
