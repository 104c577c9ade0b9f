"""Change drafts of captures in the ways in which inputs are wrong; a case names one such change."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from wrong_input_captures import QUARTERS, Draft, View

KEYPOINTS_ONLY = ("--refine", "none")
Edit = Callable[[Draft], None]


@dataclass(frozen=True)
class Case:
    """Describes one input. words: keys of `WORDS`, any of which names the cause; of right inputs none.

    keypoints: how keypoint files are written (`wrong_input_keypoints.WRITERS`); None is the default detector. options:
    of `annotate`. skip: says why the case cannot be made here, or returns None.
    """

    name: str
    kind: str
    base: str
    edit: Edit
    words: tuple[str, ...] = ()
    keypoints: str | None = "jsonl"
    options: tuple[str, ...] = ()
    skip: Callable[[], str | None] = lambda: None


def turn(how: str, *cameras: str) -> Edit:
    """Turn the pictures of these cameras, without a word in the calibration."""

    def edit(draft: Draft) -> None:
        draft.change(*cameras, turn=how)
        if how in QUARTERS:  # as if the calibration had been made with the camera held so
            for name in cameras or draft.names:
                draft.camera(name)["size_px"].reverse()

    return edit


def exchange_calibrations(first: str, second: str) -> Edit:
    """Exchange the calibrations of two cameras."""

    def edit(draft: Draft) -> None:
        one, other = draft.camera(first), draft.camera(second)
        one["name"], other["name"] = second, first

    return edit


def exchange_videos(first: str, second: str) -> Edit:
    """Exchange the files of two cameras."""

    def edit(draft: Draft) -> None:
        one, other = draft.views[first], draft.views[second]
        draft.views[first], draft.views[second] = replace(other, file=one.file), replace(one, file=other.file)

    return edit


def late(frames: int, *cameras: str) -> Edit:
    """Let cameras start late by some frames (early, if negative); all have equally many frames."""

    def edit(draft: Draft) -> None:
        count = len(draft.views[draft.names[0]].frames) - abs(frames)
        first, others = max(frames, 0), max(-frames, 0)
        for name, view in draft.views.items():
            start = first if name in cameras else others
            draft.views[name] = replace(view, frames=view.frames[start : start + count])

    return edit


def half_rate(camera: str, fps: float) -> Edit:
    """Keep every second frame of a camera; all cameras have equally many frames."""

    def edit(draft: Draft) -> None:
        frames = draft.views[camera].frames[::2]
        for name, view in draft.views.items():
            draft.views[name] = replace(view, frames=view.frames[: len(frames)])
        draft.change(camera, frames=frames, fps=fps)

    return edit


def gap(camera: str, first: int, missing: int, keep_times: bool) -> Edit:
    """Leave frames of one camera out, with or without a gap in its timestamps."""

    def edit(draft: Draft) -> None:
        all_frames = draft.views[camera].frames
        frames = all_frames[:first] + all_frames[first + missing :]
        draft.change(camera, frames=frames, ticks=frames if keep_times else None)

    return edit


def folders(draft: Draft, suffix: str = ".jpg") -> None:
    """Store all cameras as folders of pictures."""
    for name, view in draft.views.items():
        draft.views[name] = replace(view, file=name, images=suffix)


def holes(missing: dict[str, tuple[int, ...]], suffix: str = ".jpg") -> Edit:
    """Leave pictures out of folders whose names keep the numbers; all folders are cut to equal counts."""

    def edit(draft: Draft) -> None:
        folders(draft, suffix)
        for name, view in draft.views.items():
            kept = tuple(frame for frame in view.frames if frame not in missing.get(name, ()))
            draft.views[name] = replace(view, frames=kept)
        count = min(len(view.frames) for view in draft.views.values())
        for name, view in draft.views.items():
            draft.views[name] = replace(view, frames=view.frames[:count], numbers=view.frames[:count])

    return edit


def duplicates(draft: Draft) -> None:
    """Store every picture as JPEG and as PNG, which lie next to each other in natural order."""
    folders(draft)
    twice = tuple(np.repeat(np.arange(10), 2).tolist())
    draft.change(frames=twice, numbers=twice)

    def add_png(folder: Path) -> None:
        for file in sorted(folder.glob("*/*.jpg")):
            cv2.imwrite(str(file.with_suffix(".png")), cv2.imread(str(file)))

    draft.after.append(add_png)


def off_by_one(draft: Draft) -> None:
    """Number one folder from 1 and the others from 0, so that equal numbers are the same moment."""
    folders(draft)
    count = len(draft.views[draft.names[0]].frames) - 1
    for i, (name, view) in enumerate(draft.views.items()):
        frames = view.frames[i == 1 :][:count]
        draft.views[name] = replace(view, frames=frames, numbers=frames)


def scaled(factor: float, metres_per_unit: float | None = None) -> Edit:
    """Multiply the translations of all cameras, and say another unit or none."""

    def edit(draft: Draft) -> None:
        for camera in draft.calibration["cameras"]:
            for row in camera["cam_from_world"][:3]:
                row[3] *= factor
        if metres_per_unit is not None:
            draft.calibration["metres_per_unit"] = metres_per_unit

    return edit


def invert_extrinsics(*cameras: str) -> Edit:
    """Write world_from_cam instead of cam_from_world."""

    def edit(draft: Draft) -> None:
        for name in cameras or draft.names:
            entry = draft.camera(name)
            entry["cam_from_world"] = np.linalg.inv(np.array(entry["cam_from_world"])).tolist()

    return edit


def bump(camera: str, degrees: float, axis: int) -> Edit:
    """Turn a camera about one of its axes, as if it had been bumped after the calibration."""

    def edit(draft: Draft) -> None:
        entry = draft.camera(camera)
        turned = np.eye(4)
        turned[:3, :3] = cv2.Rodrigues(np.eye(3)[axis] * np.radians(degrees))[0]
        entry["cam_from_world"] = (turned @ np.array(entry["cam_from_world"])).tolist()

    return edit


def shift(camera: str, metres: float) -> Edit:
    """Shift a camera along its own x axis."""

    def edit(draft: Draft) -> None:
        draft.camera(camera)["cam_from_world"][0][3] += metres

    return edit


def zoom(factor: float, camera: str) -> Edit:
    """Multiply the focal lengths: the intrinsics of another camera or zoom."""

    def edit(draft: Draft) -> None:
        intrinsics = draft.camera(camera)["intrinsics"]
        intrinsics[0][0] *= factor
        intrinsics[1][1] *= factor

    return edit


def other_size(width: int, height: int, *cameras: str) -> Edit:
    """Say that the calibration was made at another size, without changing the matrices."""

    def edit(draft: Draft) -> None:
        for name in cameras or draft.names:
            draft.camera(name)["size_px"] = [width, height]

    return edit


def setting(camera: str | None, **values: Any) -> Edit:
    """Set values in capture.json, of a camera or of all."""

    def edit(draft: Draft) -> None:
        assert draft.settings is not None
        (draft.settings["cameras"][camera] if camera else draft.settings).update(values)

    return edit


def painted(grey: int, *cameras: str) -> Edit:
    """Show pictures of one grey."""
    return lambda draft: draft.change(*cameras, paint=grey)


def keypoints_of(**cameras: str) -> Edit:
    """Give cameras the keypoint files of others."""
    return lambda draft: draft.keypoint_source.update(cameras)


def spoil(change: Callable[[Draft, str, np.ndarray], np.ndarray]) -> Edit:
    """Change the values of all keypoint files."""

    def edit(draft: Draft) -> None:
        draft.spoil = lambda camera, values: change(draft, camera, values)

    return edit


def normalised(draft: Draft, camera: str, values: np.ndarray) -> np.ndarray:
    """Divide pixels by the size of the picture."""
    return np.column_stack([values[:, :2] / draft.base.truth.rig[camera].size_px, values[:, 2]])


def hidden_tips(draft: Draft, camera: str, values: np.ndarray) -> np.ndarray:
    """Mark the tips of ring and little finger as not seen."""
    values = values.copy()
    values[[16, 20], 2] = 0
    return values


def truncate(camera: str, share: float) -> Edit:
    """Cut off the end of a video file."""

    def edit(draft: Draft) -> None:
        def cut(folder: Path) -> None:
            file = folder / draft.views[camera].file
            data = file.read_bytes()
            file.write_bytes(data[: int(len(data) * share)])

        draft.after.append(cut)

    return edit


def shorten(camera: str, frames: int, first: int = 0) -> Edit:
    """Give a camera fewer frames than the others have."""

    def edit(draft: Draft) -> None:
        draft.change(camera, frames=draft.views[camera].frames[first : first + frames])

    return edit


def same_video(camera: str, other: str) -> Edit:
    """Copy one camera's video over another's."""

    def edit(draft: Draft) -> None:
        draft.views[camera] = replace(draft.views[other], file=draft.views[camera].file)

    return edit


def named_by_order(draft: Draft) -> None:
    """Name videos `...camA.MOV` and list the calibration in the order C, A, B, D; there is no capture.json."""
    letters = dict(zip(draft.names, "ABCD", strict=True))
    cameras = [draft.camera(name) for name in draft.names]
    for camera in cameras:
        camera["name"] = f"cam{letters[camera['name']]}"
    draft.calibration["cameras"] = [cameras[i] for i in (2, 0, 1, 3)]
    views: dict[str, View] = {
        f"cam{letters[name]}": replace(view, file=f"2026-05-01_take3_view{letters[name]}.MOV")
        for name, view in draft.views.items()
    }
    draft.views = {f"cam{letter}": views[f"cam{letter}"] for letter in "CABD"}
    draft.settings = None


def with_extra_video(draft: Draft) -> None:
    """Add a video of a camera that is not calibrated, without capture.json."""
    draft.settings = None
    source = draft.base.folder / draft.base.views[draft.names[0]].file
    draft.after.append(lambda folder: shutil.copyfile(source, folder / "cam_9.mp4"))
