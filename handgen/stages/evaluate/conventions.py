"""Check that annotations and truth mean the same by their numbers: unit, order of keypoints, world.

Hands spread over the frames that both have are looked at; what means something else is refused, never compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from handgen.errors import HandgenError
from handgen.geometry.rigid import Rigid
from handgen.hand.conversions import mirror_points, reorder_keypoints
from handgen.hand.skeleton import KEYPOINT_ORDERS
from handgen.io.annotations import Annotations
from handgen.records.annotation import HandRecord
from handgen.stages.evaluate.alignment import errors_mm, similarity_between
from handgen.stages.evaluate.config import EvaluateConfig
from handgen.stages.evaluate.pairing import Span, mean_distance_mm, records_by_frame

_Records = dict[int, list[HandRecord]]  # by frame
_LOOKED_AT_SPANS = 8
_LOOKED_AT_PAIRS = 64
_SIZE_RATIO_LIMITS = (0.5, 2.0)  # no two hands differ by more
_THOUSANDFOLD = (300.0, 3000.0)  # metres and millimetres, give or take a hand's size
_SCALE_NOTE = 0.03  # a difference in size that is worth a note
_POOR_MM, _MUCH_BETTER = 8.0, 0.5  # after Procrustes: a shape this far off that another reading halves is misread
_OF_ONE_MOTION = 0.2  # of the match distance: what is left of hands that one motion of the world brings together
_FRAMES_OF_A_WORLD = 3  # one frame's hand can be anywhere; the same shift in three is another world


@dataclass(frozen=True)
class _Sample:
    """Keypoints of `n` annotated hands and the true hand of the same frame and side, metres."""

    frames: tuple[int, ...]
    annotated_m: Float[np.ndarray, "n 21 3"]
    truth_m: Float[np.ndarray, "n 21 3"]
    nearest_mm: Float[np.ndarray, " n"]  # of the annotated hand from any true hand of its frame


def check_conventions(
    annotated: Annotations, truth: Annotations, spans: Sequence[Span], config: EvaluateConfig
) -> tuple[Rigid | None, list[str]]:
    """Find `truth_from_annotated` (None: one world) and notes by some hands; HandgenError naming what does not fit."""
    chosen = np.unique(np.linspace(0, len(spans) - 1, min(len(spans), _LOOKED_AT_SPANS)).round().astype(int))
    mine, true = _Records(), _Records()
    for span in (spans[i] for i in chosen.tolist()):
        of_mine = records_by_frame(annotated, (span.annotated_chunk,), config.include_rejected)
        of_truth = records_by_frame(truth, span.truth_chunks, include_rejected=True)
        for records, found in ((mine, of_mine), (true, of_truth)):
            records |= {frame: [x.record for x in found[frame]] for frame in span.frames if frame in found}
    notes = _check_size(annotated, truth, mine, true)
    sample = _sample(mine, true)
    if sample is None:
        return None, notes
    _check_order(annotated, sample)
    motion = _world(annotated, truth, sample, config)
    if motion is not None:
        moved_mm = float(np.linalg.norm(motion.translation) * 1e3)
        notes.append(
            f"the annotations were moved into the truth's world ({moved_mm:.0f} mm and a rotation, from "
            f"{len(sample.frames)} hands); absolute errors are what is left after that"
        )
    return motion, notes


def _check_size(annotated: Annotations, truth: Annotations, mine: _Records, true: _Records) -> list[str]:
    """Compare the hands' sizes, in whatever order their keypoints are."""
    if not any(mine.values()) or not any(true.values()):
        return []
    sizes = [
        float(np.median([_size_m(record.keypoints_world_m) for found in records.values() for record in found]))
        for records in (mine, true)
    ]
    ratio = sizes[0] / max(sizes[1], 1e-12)
    told = f"{annotated.root}: its hands are {ratio:.3g} times as large as those of {truth.root}"
    for name, times in ((annotated.root, ratio), (truth.root, 1 / max(ratio, 1e-12))):
        if _THOUSANDFOLD[0] < times < _THOUSANDFOLD[1]:
            look = f"the numbers of {name} look like millimetres, they must be metres"
            raise HandgenError(f"{told}; {look}: divide by 1000")
    if not _SIZE_RATIO_LIMITS[0] <= ratio <= _SIZE_RATIO_LIMITS[1]:
        unit = "check the calibration's unit (--metres-per-unit of `handgen annotate`)"
        raise HandgenError(f"{told}; they must be in metres: {unit}")
    if abs(ratio - 1) <= _SCALE_NOTE:
        return []
    larger = f"{100 * (ratio - 1):+.1f} % larger than the true ones"
    return [f"the annotated hands are {larger} (scale of the capture: {annotated.manifest['capture']['scale']})"]


def _size_m(points: Float[np.ndarray, "21 3"]) -> float:
    """Root mean square distance of the keypoints from their middle; the same for any order of them."""
    return float(np.sqrt(((points - points.mean(0)) ** 2).sum(1).mean()))


def _sample(mine: _Records, true: _Records) -> _Sample | None:
    """At most so many pairs of the same frame and side, spread over the frames."""
    pairs = []
    for frame in sorted(mine.keys() & true.keys()):
        for record in mine[frame]:
            rivals = [other.keypoints_world_m for other in true[frame] if other.side == record.side]
            if rivals:
                points = record.keypoints_world_m
                best = min(rivals, key=lambda other: mean_distance_mm(points, other))
                nearest = min(mean_distance_mm(points, other.keypoints_world_m) for other in true[frame])
                pairs.append((frame, points, best, nearest))
    if not pairs:
        return None
    kept = np.unique(np.linspace(0, len(pairs) - 1, min(len(pairs), _LOOKED_AT_PAIRS)).round().astype(int))
    chosen = [pairs[i] for i in kept.tolist()]
    return _Sample(
        frames=tuple(frame for frame, *_ in chosen),
        annotated_m=np.stack([points for _, points, *_ in chosen]),
        truth_m=np.stack([other for *_, other, _ in chosen]),
        nearest_mm=np.array([nearest for *_, nearest in chosen]),
    )


def _check_order(annotated: Annotations, sample: _Sample) -> None:
    """Raise a HandgenError if another order of the keypoints, or the mirror image, fits much better."""
    given_mm = _shape_error_mm(sample.annotated_m, sample.truth_m)
    if given_mm < _POOR_MM:
        return
    readings = {
        f"the keypoints look like they are in the order `{order}`: write them in handgen's (wrist, thumb, index, "
        "middle, ring, pinky, palm to tip; `handgen.hand.conversions.reorder_keypoints`)": reorder_keypoints(
            sample.annotated_m, order, "handgen"
        )
        for order in KEYPOINT_ORDERS
        if order != "handgen"
    }
    readings["its hands are mirror images of the true ones: check the world's handedness, and left and right"] = (
        mirror_points(sample.annotated_m)
    )
    best = min(readings, key=lambda name: _shape_error_mm(readings[name], sample.truth_m))
    best_mm = _shape_error_mm(readings[best], sample.truth_m)
    if best_mm < _MUCH_BETTER * given_mm:
        differ = f"shapes differ by {given_mm:.1f} mm as given, {best_mm:.1f} mm read so"
        raise HandgenError(f"{annotated.root}: {best} ({differ})")


def _shape_error_mm(points: np.ndarray, truth: np.ndarray) -> float:
    return float(np.median(errors_mm("procrustes", points, truth).mean(1)))


def _world(annotated: Annotations, truth: Annotations, sample: _Sample, config: EvaluateConfig) -> Rigid | None:
    """The motion between the worlds if they differ, or if it is asked for."""
    flat = sample.annotated_m.reshape(1, -1, 3), sample.truth_m.reshape(1, -1, 3)
    found = similarity_between(*flat, with_scale=False)
    motion = Rigid(found.rotation[0], found.translation[0])
    if config.align_world:
        return motion
    apart_mm = float(np.median(sample.nearest_mm))
    left = np.linalg.norm(motion.apply(sample.annotated_m) - sample.truth_m, axis=-1).mean(1) * 1e3
    left_mm = float(np.median(left))
    few = len(set(sample.frames)) < _FRAMES_OF_A_WORLD
    limit_mm = config.match_distance_mm
    if apart_mm <= limit_mm or left_mm > _OF_ONE_MOTION * limit_mm or few:
        return None
    raise HandgenError(
        f"{annotated.root}: its hands are {apart_mm:.0f} mm from the true ones, but {left_mm:.0f} mm after one motion "
        f"of the whole world, so its world is not that of {truth.root}; annotate with the truth's calibration, or give "
        "--align-world to find that motion and measure what is left"
    )
