"""Pair annotated hands with true ones: frames that both cover, then the nearest hands of each frame and side."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from handgen.errors import HandgenError
from handgen.geometry.rigid import Rigid
from handgen.io.annotations import Annotations
from handgen.records.annotation import HandRecord


@dataclass(frozen=True)
class Span:
    """The unit of work: frames that one chunk of annotations and some chunks of the truth have in common."""

    annotated_chunk: int
    truth_chunks: tuple[int, ...]
    frames: tuple[int, ...]


@dataclass(frozen=True)
class Pair:
    """An annotated hand and the true hand that it is. The chunks are where their cutouts lie.

    keypoints_truth_world_m: of the annotated hand, in the truth's world (its own, unless worlds are aligned).
    """

    annotated: HandRecord
    truth: HandRecord
    annotated_chunk: int
    truth_chunk: int
    keypoints_truth_world_m: Float[np.ndarray, "21 3"]


@dataclass(frozen=True)
class FrameMatch:
    """One frame. pairs: with true hands that count. missed: true hands that count and have no annotation.

    unjudged: annotations of true hands that no camera shows (the truth rejects them). false: annotations of no hand.
    wrong_side: those of the false that lie on a hand of the other side.
    """

    pairs: tuple[Pair, ...]
    missed: tuple[HandRecord, ...]
    unjudged: tuple[HandRecord, ...]
    false: tuple[HandRecord, ...]
    wrong_side: tuple[HandRecord, ...]


@dataclass(frozen=True)
class Located:
    """A record and the chunk that it comes from."""

    record: HandRecord
    chunk: int


def covered_frames(annotations: Annotations) -> list[range]:
    """The frames of each chunk, as the manifest says. Raises HandgenError when two chunks share a frame."""
    chunks = annotations.manifest["chunks"]
    covered = [range(chunk["first_frame"], chunk["first_frame"] + chunk["frames"]) for chunk in chunks]
    ordered = sorted(covered, key=lambda frames: frames.start)
    for before, after in zip(ordered, ordered[1:], strict=False):
        if len(before) and len(after) and after.start < before.stop:
            raise HandgenError(
                f"{annotations.root}: two chunks of the manifest hold frame {after.start}; "
                "correct first_frame and frames of its chunks"
            )
    return covered


def common_spans(annotated: Annotations, truth: Annotations) -> list[Span]:
    """The frames that both cover, chunk by chunk of the annotations. Raises HandgenError when there are none."""
    covered, truly = covered_frames(annotated), covered_frames(truth)
    order = sorted((i for i, frames in enumerate(truly) if len(frames)), key=lambda i: truly[i].start)
    stops = [truly[i].stop for i in order]
    spans = []
    for index, frames in enumerate(covered):
        shared: list[int] = []
        common: list[int] = []
        for i in order[bisect_right(stops, frames.start) :]:
            if truly[i].start >= frames.stop:
                break
            shared.append(i)
            common += range(max(frames.start, truly[i].start), min(frames.stop, truly[i].stop))
        if common:
            spans.append(Span(index, tuple(shared), tuple(common)))
    if not spans:
        raise HandgenError(
            f"{annotated.root} covers {_extent(covered)} and {truth.root} {_extent(truly)}: no frame in common; "
            "give the truth of the capture that was annotated"
        )
    return spans


def _extent(covered: Sequence[range]) -> str:
    present = [frames for frames in covered if len(frames)]
    if not present:
        return "no frames"
    return f"frames {min(f.start for f in present)} to {max(f.stop for f in present) - 1}"


def records_by_frame(
    annotations: Annotations, chunks: Sequence[int], include_rejected: bool
) -> dict[int, list[Located]]:
    """The records of some chunks by frame. HandgenError for a record outside the frames that its chunk has."""
    found: dict[int, list[Located]] = {}
    for chunk in chunks:
        described = annotations.manifest["chunks"][chunk]
        first, last = described["first_frame"], described["first_frame"] + described["frames"] - 1
        for record in annotations.records(chunk):
            if not first <= record.frame <= last:
                raise HandgenError(
                    f"{annotations.root}: chunk {chunk} has a record of frame {record.frame}, outside its frames "
                    f"{first} to {last}; correct first_frame and frames of the manifest's chunks"
                )
            if record.accepted or include_rejected:
                found.setdefault(record.frame, []).append(Located(record, chunk))
    return found


def matches(
    annotated: Annotations,
    truth: Annotations,
    span: Span,
    match_distance_mm: float,
    include_rejected: bool,
    truth_from_annotated: Rigid | None = None,
) -> Iterator[FrameMatch]:
    """The hands of every frame of a span that has any, matched."""
    mine = records_by_frame(annotated, (span.annotated_chunk,), include_rejected)
    true = records_by_frame(truth, span.truth_chunks, include_rejected=True)
    for frame in span.frames:
        if frame in mine or frame in true:
            yield match_frame(mine.get(frame, []), true.get(frame, []), match_distance_mm, truth_from_annotated)


def match_frame(
    annotated: Sequence[Located],
    truth: Sequence[Located],
    match_distance_mm: float,
    truth_from_annotated: Rigid | None = None,
) -> FrameMatch:
    """Match the hands of one frame by side, the nearest first, none farther than `match_distance_mm`.

    The distance of two hands is the mean distance of their keypoints.
    """
    placed = [located.record.keypoints_world_m for located in annotated]
    if truth_from_annotated is not None:
        placed = [truth_from_annotated.apply(points) for points in placed]
    true = [located.record for located in truth]
    shape = (len(annotated), len(truth))
    distance_mm = np.array([[mean_distance_mm(points, t.keypoints_world_m) for t in true] for points in placed])
    same_side = np.array([[a.record.side == t.side for t in true] for a in annotated], dtype=bool).reshape(shape)
    distance_mm = distance_mm.reshape(shape)
    partners = _nearest_first(np.where(same_side, distance_mm, np.inf), match_distance_mm)
    pairs, unjudged, false, wrong_side = [], [], [], []
    for i, located in enumerate(annotated):
        other = truth[partners[i]] if i in partners else None
        if other is None:
            false.append(located.record)
            if (distance_mm[i][~same_side[i]] <= match_distance_mm).any():
                wrong_side.append(located.record)
        elif other.record.accepted:
            pairs.append(Pair(located.record, other.record, located.chunk, other.chunk, placed[i]))
        else:
            unjudged.append(located.record)
    found = set(partners.values())
    missed = [record for k, record in enumerate(true) if k not in found and record.accepted]
    return FrameMatch(tuple(pairs), tuple(missed), tuple(unjudged), tuple(false), tuple(wrong_side))


def mean_distance_mm(points_m: Float[np.ndarray, "21 3"], truth_m: Float[np.ndarray, "21 3"]) -> float:
    """Mean distance of corresponding keypoints, mm."""
    return float(np.linalg.norm(points_m - truth_m, axis=1).mean() * 1e3)


def _nearest_first(distance: Float[np.ndarray, "n m"], limit: float) -> dict[int, int]:
    """Row to column, each used once, taking the smallest distance first and none above `limit`."""
    chosen: dict[int, int] = {}
    for flat in np.argsort(distance, axis=None, kind="stable").tolist():
        row, column = divmod(flat, distance.shape[1])
        if distance[row, column] > limit:
            break
        if row not in chosen and column not in chosen.values():
            chosen[row] = column
    return chosen
