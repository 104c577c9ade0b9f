"""Match the frames of cameras by what the files say of them: numbers in the names of pictures, or times in videos.

A schedule is an integer array (moments, views): the frame number in each camera's own source, -1 where it has none.
It ends where the first camera ends.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

Schedule = Int[np.ndarray, "moments views"]
Times = Float[np.ndarray, " frames"]

_SHARED = 0.5  # of a camera's numbers that another one must have, too; below it they count different things
_GAP = 1.5  # median intervals; a longer one lacks frames
_APART = 0.75  # of an interval between frames of the same index; beyond it the index is not the moment
_RATES_APART = 1.01
_SAME_COUNT_RATES = 1.1  # videos of as many frames whose rates differ less: a header's rate was measured or rounded


def match_by_number(numbers: Sequence[Int[np.ndarray, " frames"]]) -> Schedule | None:
    """Return the schedule by each frame's number, rising per camera; None if the cameras do not share a numbering.

    A moment is a number that any camera has, from where the second camera begins to where the first one ends.
    """
    first = sorted(int(own[0]) for own in numbers)[min(1, len(numbers) - 1)]
    last = min(int(own[-1]) for own in numbers)
    moments, owners = np.unique(np.concatenate([np.unique(own) for own in numbers]), return_counts=True)
    inside = (moments >= first) & (moments <= last)
    moments, shared = moments[inside], moments[inside & (owners > 1)]
    columns = []
    for own in numbers:
        mine = own[(own >= first) & (own <= last)]
        if len(numbers) > 1 and np.isin(mine, shared).sum() < max(1.0, _SHARED * len(mine)):
            return None
        at = np.searchsorted(own, moments).clip(0, len(own) - 1)
        columns.append(np.where(own[at] == moments, at, -1))
    return np.stack(columns, 1).astype(np.int32)


def missing_numbers(numbers: Int[np.ndarray, " frames"]) -> Int[np.ndarray, " missing"]:
    """Return the numbers that are left out of a series that otherwise rises in equal steps; none if it does not."""
    steps = np.diff(numbers)
    if len(steps) < 2 or (step := int(np.median(steps))) < 1 or (steps % step).any():
        return numbers[:0]
    count = int((numbers[-1] - numbers[0]) // step) + 1
    if count > 2 * len(numbers):  # jumps, and no holes
        return numbers[:0]
    return np.setdiff1d(numbers[0] + step * np.arange(count), numbers)


def interval(times: Times) -> float:
    """Return the time from frame to frame, gaps left out; 0 for fewer than two frames or times that do not rise."""
    steps = np.diff(times)
    if not len(steps) or not np.isfinite(steps).all() or (steps <= 0).any():
        return 0.0
    return float(steps[steps < _GAP * np.median(steps)].mean())


def gaps(times: Times) -> tuple[int, int]:
    """Return how many frames are missing between a camera's own, and the number of the first of them (0 if none)."""
    steps = np.round(np.diff(times) / interval(times)).astype(int)
    steps[np.diff(times) < _GAP * np.median(np.diff(times))] = 1
    missing = int((steps - 1).sum())
    return missing, int((steps > 1).argmax()) + 1 if missing else 0


def index_is_moment(times: Sequence[Times]) -> bool:
    """Tell whether frames of the same index belong together by their times, counted from each camera's first frame.

    So it is taken to be, too, where nothing is missing, counts are equal and the rates alone differ by a little: then
    the rate was measured by whoever wrote the files.
    """
    count = min(map(len, times))
    steps = [interval(own) for own in times]
    if count < 2 or not all(steps):
        return True
    aligned = np.stack([own[:count] - own[0] for own in times])
    if (aligned.max(0) - aligned.min(0)).max() <= _APART * min(steps):
        return True
    complete = len(set(map(len, times))) == 1 and not any(gaps(own)[0] for own in times)
    return complete and max(steps) < _SAME_COUNT_RATES * min(steps) and rates_differ(steps)


def rates_differ(values: Sequence[float]) -> bool:
    """Tell whether rates, or intervals, are more than 1 % apart."""
    return max(values) > _RATES_APART * min(values)


def match_by_time(times: Sequence[Times], from_start: bool = True) -> tuple[Schedule, float]:
    """Return the schedule by time, and the interval of its moments.

    times: per camera, rising. from_start: they are counted from each camera's first frame. Moments are those of the
    second fastest camera (of several the one with most frames), so that two cameras at least have most of them; where
    it has a gap, those of the others. A frame belongs to the nearest moment within half the interval.
    """
    aligned = [own - own[0] * from_start for own in times]
    steps = [interval(own) for own in aligned]
    pace = sorted(steps)[min(1, len(steps) - 1)]
    alike = [i for i, step in enumerate(steps) if not rates_differ((step, pace))]
    reference = max(alike, key=lambda i: len(times[i]))
    step, moments = steps[reference], aligned[reference]
    for own in aligned:
        between = own[np.abs(moments[nearest(moments, own)] - own) > _APART * step]
        moments = np.sort(np.concatenate([moments, _spaced(between, _APART * step)]))
    first = max(own[0] for own in aligned)
    last = min(own[-1] + pause for own, pause in zip(aligned, steps, strict=True))  # a frame lasts until the next
    moments = moments[(moments >= first - step / 2) & (moments < last - step / 2)]
    columns = []
    for own in aligned:
        at = nearest(own, moments)
        columns.append(np.where(np.abs(own[at] - moments) <= step / 2 * (1 + 1e-6), at, -1))
    schedule = np.stack(columns, 1).astype(np.int32)
    return schedule[(schedule >= 0).any(1)], step


def nearest(times: Times, moments: Times) -> Int[np.ndarray, " moments"]:
    """Return the index of the frame nearest to each moment, the earlier one of two as near."""
    after = np.searchsorted(times, moments).clip(0, len(times) - 1)
    before = np.maximum(after - 1, 0)
    return np.where(np.abs(moments - times[before]) <= np.abs(times[after] - moments), before, after)


def _spaced(times: Times, least: float) -> Times:
    """Thin out rising times so that each is farther than `least` from the one before."""
    kept: list[float] = []
    for time in times.tolist():
        if not kept or time - kept[-1] > least:
            kept.append(time)
    return np.array(kept)
