"""Read files of timestamps: camera, frame, time; handgen's columns or caliscope's."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from handgen.errors import HandgenError, explain_unreadable
from handgen.records.detection import MAX_FRAME
from handgen.storage import filesystem, limits

_ROW_BYTES = 160  # of memory
# Names of the columns camera, frame, time (seconds); the second row is what caliscope writes.
_COLUMNS = (
    (("camera", "cam", "cam_id", "port"), "camera"),
    (("frame", "frame_index"), "frame"),
    (("time_s", "frame_time"), "time_s"),
)


def missing_column(path: Path) -> str | None:
    """Return the name of a column that a file of timestamps must have and this one has not, else None."""
    with explain_unreadable(path, "check the file's permissions"), filesystem.open_read(path) as file:
        line = file.readline(limits.CSV_LINE.allowed).decode("utf-8-sig", "replace")
    header = {column.strip().strip('"') for column in line.split(",")}
    return next((shown for accepted, shown in _COLUMNS if header.isdisjoint(accepted)), None)


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
        limits.TIMESTAMPS.check(path.stat().st_size, path)
        most = limits.TIMES.allowed // _ROW_BYTES
        with open(path, newline="", encoding="utf-8-sig", opener=filesystem.regular_file) as file:
            reader = csv.reader(file)
            header = [column.strip() for column in next(reader, [])]
            at = _column_indices(path, header)
            for count, row in enumerate(filter(None, reader), 1):
                if count > most:
                    limits.TIMES.check(count * _ROW_BYTES, path)
                where = f"{path}: line {reader.line_num}"
                try:
                    camera, frame, time_s = row[at[0]].strip(), int(row[at[1]]), float(row[at[2]])
                    if not (math.isfinite(time_s) and 0 <= frame <= MAX_FRAME):
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
