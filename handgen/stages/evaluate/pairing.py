"""Pair annotated hands with true ones: frames that both cover, then the nearest hands of each frame and side."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from handgen.errors import HandgenError
from handgen.geometry.rigid import Rigid
from handgen.io.annotations import Annotations
from handgen.records.annotation import HandRecord
from handgen.stages.evaluate.config import EvaluateConfig
from handgen.stages.evaluate.results import MissingHand


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


@dataclass
class Matches:
    """The hands of some frames. pairs: with true hands that count. missed: true hands that count without annotation.

    frames_with_truth: in which there are such hands. unjudged: annotations of true hands that no camera shows (the
    truth rejects them). false: annotations of no hand. wrong_side: those of them that lie on a hand of the other side.
    """

    frames_with_truth: int = 0
    pairs: list[Pair] = field(default_factory=list)
    missed: list[MissingHand] = field(default_factory=list)
    false: list[MissingHand] = field(default_factory=list)
    unjudged: int = 0
    wrong_side: int = 0


class Located(NamedTuple):
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


def match_span(
    annotated: Annotations, truth: Annotations, span: Span, config: EvaluateConfig, truth_from_annotated: Rigid | None
) -> Matches:
    """Match the hands of every frame of a span."""
    mine = records_by_frame(annotated, (span.annotated_chunk,), config.include_rejected)
    true = records_by_frame(truth, span.truth_chunks, include_rejected=True)
    found = Matches()
    for frame in span.frames:
        if frame in mine or frame in true:
            hands = mine.get(frame, []), true.get(frame, [])
            _match_frame(found, *hands, config.match_distance_mm, truth_from_annotated)
    return found


def _match_frame(
    found: Matches, annotated: list[Located], truth: list[Located], limit_mm: float, truth_from_annotated: Rigid | None
) -> None:
    """Match hands of one side, those with the least mean distance of keypoints first, none farther than `limit_mm`."""
    placed = [located.record.keypoints_world_m for located in annotated]
    if truth_from_annotated is not None:
        placed = [truth_from_annotated.apply(points) for points in placed]
    true = [located.record for located in truth]
    shape = (len(annotated), len(truth))
    distance_mm = np.array([[mean_distance_mm(points, t.keypoints_world_m) for t in true] for points in placed])
    same_side = np.array([[a.record.side == t.side for t in true] for a in annotated], dtype=bool).reshape(shape)
    distance_mm = distance_mm.reshape(shape)
    partners = _nearest_first(np.where(same_side, distance_mm, np.inf), limit_mm)
    for i, (record, chunk) in enumerate(annotated):
        other = truth[partners[i]] if i in partners else None
        if other is None:
            found.false.append(MissingHand(record.frame, record.side))
            found.wrong_side += bool((distance_mm[i][~same_side[i]] <= limit_mm).any())
        elif other.record.accepted:
            found.pairs.append(Pair(record, other.record, chunk, other.chunk, placed[i]))
        else:
            found.unjudged += 1
    counting = {k: record for k, record in enumerate(true) if record.accepted}
    missed = [record for k, record in counting.items() if k not in partners.values()]
    found.missed += [MissingHand(record.frame, record.side) for record in missed]
    found.frames_with_truth += bool(counting)


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
