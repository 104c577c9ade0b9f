"""Find the frame of each camera that belongs to a moment: by index, by per-camera offsets, or by timestamps.

A schedule is an integer array (frames, views): the frame number in each camera's own video, -1 where it has none.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from handgen.errors import HandgenError
from handgen.io.capture import camera_files
from handgen.media.image_folder import ImageFolder
from handgen.media.video import VideoFile

MAX_TIMESTAMP_BYTES = 256 * 2**20
# Names of the columns camera, frame, time (seconds); the second row is what caliscope writes.
_COLUMNS = (
    (("camera", "cam", "cam_id", "port"), "camera"),
    (("frame", "frame_index"), "frame"),
    (("time_s", "frame_time"), "time_s"),
)


def schedule_frames(
    path: Path, settings: dict[str, Any], names: list[str], sources: list[VideoFile | ImageFolder], notes: list[str]
) -> Int[np.ndarray, "frames views"]:
    """The schedule that `settings` (capture.json) ask for; HandgenError where no frame is left, or they contradict."""
    counts = [source.frame_count for source in sources]
    offsets = [settings.get("cameras", {}).get(name, {}).get("frame_offset", 0) for name in names]
    timestamps = settings.get("timestamps")
    if timestamps is not None:
        if any(offsets):
            raise HandgenError(f"{path / 'capture.json'}: has frame_offset and timestamps; keep one of them")
        file = camera_files.inside(path, timestamps["file"], "timestamps")
        spellings = camera_files.camera_spellings(names, [source.path for source in sources])
        times = read_timestamps(file, spellings, dict(zip(names, counts, strict=True)))
        frames = schedule_by_time([times[name] for name in names], timestamps.get("tolerance_s"))
        for name, column in zip(names, frames.T, strict=True):
            absent = int((column < 0).sum())
            if absent:
                notes.append(f"camera {name} has no frame near {absent} of {len(frames)} moments of {names[0]}")
        return frames
    frames = schedule_by_index(counts, offsets)
    if not len(frames):
        raise HandgenError(
            f"{path}: the cameras have no frame in common (frames: {counts}, offsets: {offsets}); "
            "correct frame_offset in capture.json"
        )
    lengths = np.subtract(counts, offsets)
    longest, shortest = int(lengths.argmax()), int(lengths.argmin())
    if lengths[longest] > lengths[shortest]:
        notes.append(
            f"camera {names[shortest]} has {counts[shortest]} frames, {names[longest]} {counts[longest]}: "
            f"using {'the first ' if not any(offsets) else ''}{len(frames)}"
        )
    if min(offsets) < 0:
        notes.append(f"negative frame_offset: capture frame 0 is frame {-min(offsets)} of a camera with offset 0")
    return frames


def schedule_by_index(frame_counts: Sequence[int], offsets: Sequence[int]) -> Int[np.ndarray, "frames views"]:
    """Frame `f` is each camera's `f + offset`, as far as all have it; negative offsets raise all, so that none is."""
    first = np.asarray(offsets, dtype=np.int64) - min(0, *offsets)
    length = max(0, int((np.asarray(frame_counts) - first).min()))
    return (np.arange(length)[:, None] + first).astype(np.int32)


def schedule_by_time(
    times_s: Sequence[Float[np.ndarray, " frames"]], tolerance_s: float | None = None
) -> Int[np.ndarray, "frames views"]:
    """For each frame of the first camera the nearest of every other, or -1 if it is too far.

    times_s: per camera, not decreasing, NaN for a frame of unknown time (at least one is known). tolerance_s:
    default half the first camera's median interval.
    """
    known = [np.flatnonzero(np.isfinite(times)) for times in times_s]
    reference = times_s[0][known[0]]
    if tolerance_s is None:
        tolerance_s = float(np.median(np.diff(reference))) / 2 if len(reference) > 1 else 0.0
    columns = [known[0]]
    for frames, all_times in zip(known[1:], times_s[1:], strict=True):
        times = all_times[frames]
        after = np.searchsorted(times, reference).clip(0, len(times) - 1)
        before = np.maximum(after - 1, 0)
        nearest = np.where(np.abs(reference - times[before]) <= np.abs(times[after] - reference), before, after)
        columns.append(np.where(np.abs(times[nearest] - reference) <= tolerance_s, frames[nearest], -1))
    return np.stack(columns, 1).astype(np.int32)


def read_timestamps(
    path: Path, cameras: Mapping[str, str], frame_counts: Mapping[str, int]
) -> dict[str, Float[np.ndarray, " frames"]]:
    """Seconds of every frame of each camera, NaN where the file has none.

    The CSV has the columns camera, frame (from 0, in the camera's video) and time_s. caliscope's own (cam_id or port,
    frame_index, frame_time) is read too: there the numbers count from the start of the camera and not of the video, so
    its n-th row is the n-th frame if there are as many rows as frames, else the lowest number is the first frame.

    cameras: every spelling that may stand in the file -> camera name. frame_counts: by camera name.
    """
    rows: dict[str, dict[int, float]] = {name: {} for name in frame_counts}
    try:
        if path.stat().st_size > MAX_TIMESTAMP_BYTES:
            raise HandgenError(f"{path}: larger than 256 MiB; is this the right file?")
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [column.strip() for column in next(reader, [])]
            at = _column_indices(path, header)
            for row in filter(None, reader):
                where = f"{path}: line {reader.line_num}"
                try:
                    camera, frame, time_s = row[at[0]].strip(), int(row[at[1]]), float(row[at[2]])
                    if not math.isfinite(time_s) or frame < 0:
                        raise ValueError
                except (IndexError, ValueError):
                    raise HandgenError(f"{where}: not a camera, a frame number and a time; correct it") from None
                if (name := cameras.get(camera)) is None:
                    continue  # a camera that is not used
                if frame in rows[name]:
                    raise HandgenError(f"{where}: camera {camera} has frame {frame} twice; remove one line")
                rows[name][frame] = time_s
    except OSError as error:
        raise HandgenError(f"{path}: cannot be read ({error.strerror}); correct timestamps in capture.json") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise HandgenError(f"{path}: not a CSV file ({error}); export it again") from None
    counted_from_camera = header[at[1]] == "frame_index"
    return {
        name: _frame_times(path, name, times, frame_counts[name], counted_from_camera) for name, times in rows.items()
    }


def _column_indices(path: Path, header: Sequence[str]) -> tuple[int, int, int]:
    indices = []
    for accepted, shown in _COLUMNS:
        found = [header.index(name) for name in accepted if name in header]
        if not found:
            raise HandgenError(f"{path}: no column {shown!r} in {header}; it must have camera, frame and time_s")
        indices.append(found[0])
    return indices[0], indices[1], indices[2]


def _frame_times(
    path: Path, name: str, times: dict[int, float], frame_count: int, counted_from_camera: bool
) -> Float[np.ndarray, " frames"]:
    if not times:
        raise HandgenError(f"{path}: no line for camera {name}; add them or take the camera out of capture.json")
    frames = np.array(sorted(times))
    seconds = np.array([times[frame] for frame in frames.tolist()])
    if (np.diff(seconds) < 0).any():
        back = int(frames[1:][np.diff(seconds) < 0][0])
        raise HandgenError(f"{path}: camera {name}: time runs backwards at frame {back}; correct the file")
    if counted_from_camera:
        frames = np.arange(len(frames)) if len(frames) == frame_count else frames - frames[0]
    if frames[-1] >= frame_count:
        raise HandgenError(
            f"{path}: camera {name}: has frame {frames[-1]}, but the video only {frame_count} frames; "
            "is this the right video?"
        )
    result = np.full(frame_count, np.nan)
    result[frames] = seconds
    return result
