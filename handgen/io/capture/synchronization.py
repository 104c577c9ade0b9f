"""Decide which frame of each camera belongs to a moment: by offsets, timestamps, numbers, times, or the order.

A schedule is an integer array (frames, views): the frame number in each camera's own video, -1 where it has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from handgen.errors import HandgenError
from handgen.io.capture import camera_files, matching_notes, timestamp_files
from handgen.io.capture.frame_matching import nearest, rates_differ
from handgen.io.capture.matching_notes import Source

BESIDE = "timestamps.csv"  # is used without capture.json's asking for it


def schedule_frames(
    path: Path, settings: dict[str, Any], names: list[str], sources: Sequence[Source], notes: list[str]
) -> tuple[Int[np.ndarray, "frames views"], float | None]:
    """Return the schedule of a capture, and frames per second where times decided.

    settings: capture.json's; its frame offsets or timestamps come first, then a timestamps.csv beside the videos, the
    numbers in pictures' names, the videos' own times, at last the order. notes: gets what a user should know. Raises
    HandgenError where no frame is left, or they contradict.
    """
    counts = [source.frame_count for source in sources]
    entries = [settings.get("cameras", {}).get(name, {}) for name in names]
    offsets = [entry.get("frame_offset", 0) for entry in entries]
    has_offsets, timestamps = any("frame_offset" in entry for entry in entries), settings.get("timestamps")
    if timestamps is not None and any(offsets):
        raise HandgenError(f"{path / 'capture.json'}: has frame_offset and timestamps; keep one of them")
    if timestamps is not None:
        file = camera_files.inside(path, timestamps["file"], "timestamps")
        return _by_timestamps(file, timestamps.get("tolerance_s"), names, sources, notes), None
    beside = next((f for f in (path / BESIDE, sources[0].path.parent / BESIDE) if f.is_file()), None)
    if beside is not None and has_offsets:
        notes.append(f"{BESIDE} is not used: capture.json has frame_offset")
    elif beside is not None and (column := timestamp_files.missing_column(beside)):
        notes.append(f"{BESIDE} is not used: it has no column {column!r}")
    elif beside is not None:
        notes.append(f"frames are matched by the times in {BESIDE}")
        return _by_timestamps(beside, None, names, sources, notes), None
    if not has_offsets:
        found = matching_notes.by_number(names, sources, notes) or matching_notes.by_time(names, sources, notes)
        if found is not None:
            return found
    rates = [source.fps for source in sources if source.fps]
    if rates and rates_differ(rates):
        told = ", ".join(f"{rate:.4g}" for rate in rates)
        why = "capture.json has frame_offset" if has_offsets else "nothing else says which frames belong together"
        notes.append(f"the videos' frame rates differ ({told} frames/s): frames are matched by order, since {why}")
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
    return frames, None


def _by_timestamps(
    file: Path, tolerance_s: float | None, names: list[str], sources: Sequence[Source], notes: list[str]
) -> Int[np.ndarray, "frames views"]:
    """The schedule by a file of timestamps."""
    spellings = camera_files.camera_spellings(names, [source.path for source in sources])
    counts = {name: source.frame_count for name, source in zip(names, sources, strict=True)}
    times = timestamp_files.read_timestamps(file, spellings, counts)
    frames = schedule_by_time([times[name] for name in names], tolerance_s)
    for name, column in zip(names, frames.T, strict=True):
        absent = int((column < 0).sum())
        if absent:
            first = frames[int((column < 0).argmax()), 0]
            near = f"{absent} of {len(frames)} moments of {names[0]}, the first is its frame {first}"
            notes.append(f"camera {name} has no frame near {near}")
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
        at = nearest(times, reference)
        columns.append(np.where(np.abs(times[at] - reference) <= tolerance_s, frames[at], -1))
    return np.stack(columns, 1).astype(np.int32)
