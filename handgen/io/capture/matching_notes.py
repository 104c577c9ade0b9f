"""Match a capture's frames by the numbers of pictures or the times of videos, and tell the user what that showed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from handgen.io.capture import frame_matching
from handgen.io.capture.frame_matching import Schedule, gaps, interval, rates_differ
from handgen.media.image_folder import ImageFolder, frame_numbers
from handgen.media.video import VideoFile
from handgen.wording import count_of

Source = VideoFile | ImageFolder
_TIME_DIGITS = 12  # of a number in a picture's name that is a time: microseconds since 1970 have 16
_BY_ORDER = "by order (frame_offset in capture.json says it otherwise)"


def by_number(names: Sequence[str], sources: Sequence[Source], notes: list[str]) -> tuple[Schedule, None] | None:
    """Return the schedule by the numbers of pictures; None where there are none, or they cannot be matched so.

    The frames of a video among folders that lack pictures are numbered from the first picture on.
    notes: gets the pictures that are missing, per camera, and why the order decides if it does.
    """
    folders = [source for source in sources if isinstance(source, ImageFolder)]
    numbers = [found for source in folders if (found := frame_numbers(source.stems)) is not None]
    if not folders or len(numbers) < len(folders):
        if len({source.stems for source in folders}) > 1:
            notes.append(f"the pictures' names hold no number of the frame: matched {_BY_ORDER}")
        return None
    if len(folders) < len(sources):
        if not any(len(frame_matching.missing_numbers(own)) for own in numbers):
            return None
        first, pictures = min(int(own[0]) for own in numbers), iter(numbers)  # the number of a video's first frame
        numbers = [
            next(pictures) if isinstance(source, ImageFolder) else first + np.arange(source.frame_count)
            for source in sources
        ]
    schedule = frame_matching.match_by_number(numbers)
    if schedule is None:
        if min(len(str(own[0])) for own in numbers) >= _TIME_DIGITS:
            start = min(int(own[0]) for own in numbers)
            times = [(own - start).astype(float) for own in numbers]
            schedule, _ = frame_matching.match_by_time(times, from_start=False)
            if (schedule >= 0).all(1).any():
                notes.append("the pictures' names are taken for times: matched to the nearest")
                return schedule, None
        said = ", ".join(f"{name} {own[0]} to {own[-1]}" for name, own in zip(names, numbers, strict=True))
        notes.append(f"the numbers in the pictures' names have too little in common ({said}): matched {_BY_ORDER}")
        return None
    moments = np.max([np.where(c >= 0, own[c], -1) for c, own in zip(schedule.T, numbers, strict=True)], axis=0)
    first, last = int(moments[0]), int(moments[-1])
    outside = [int(((own < first) | (own > last)).sum()) for own in numbers]
    if any(outside):
        said = ", ".join(f"{name} {own[0]} to {own[-1]}" for name, own in zip(names, numbers, strict=True))
        notes.append(f"using the pictures numbered {first} to {last}: the cameras have {said}")
    for name, own, column in zip(names, numbers, schedule.T, strict=True):
        absent = np.union1d(moments[column < 0], frame_matching.missing_numbers(own))
        absent = absent[(absent >= first) & (absent <= last)]
        if len(absent):
            notes.append(f"camera {name}: {count_of(len(absent), 'picture')} missing, the first is number {absent[0]}")
    return schedule, None


def by_time(names: Sequence[str], sources: Sequence[Source], notes: list[str]) -> tuple[Schedule, float] | None:
    """Return the schedule by the videos' own times and its frames per second; None where the index says the same.

    notes: gets the frames that are missing in each video's times, and rates that differ.
    """
    times = [source.times_ms / 1e3 for source in sources if isinstance(source, VideoFile)]
    if len(times) < len(sources) or frame_matching.index_is_moment(times):
        return None
    schedule, step = frame_matching.match_by_time(times)
    if not len(schedule):
        return None
    for name, own in zip(names, times, strict=True):
        missing, first = gaps(own)
        if missing:
            at = own[first - 1] - own[0] + interval(own)
            notes.append(
                f"camera {name}: {count_of(missing, 'frame')} missing by the times in its video, the first is "
                f"frame {first}, at {at:.3f} s"
            )
    steps = [interval(own) for own in times]
    why = "the times in the videos"
    if rates_differ(steps):
        told = ", ".join(f"{name} {1 / one:.4g}" for name, one in zip(names, steps, strict=True))
        why = f"the videos' frame rates differ ({told} frames/s)"
    absent = ", ".join(f"{name} {n}" for name, n in zip(names, (schedule < 0).sum(0).tolist(), strict=True) if n)
    told = f"; of {len(schedule)} moments without a frame: {absent}" if absent else ""
    notes.append(f"{why}: frames are matched by time from each video's start, not by number{told}")
    return schedule, 1 / step
