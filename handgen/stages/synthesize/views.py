"""Choose which views of an annotations directory become samples, and in which order.

All that a sample needs of a view but its pixels is one row of a table. The table is made once per run and lies in a
temporary file, so that neither memory nor the workers' time grows with the length of the annotations; a shard is sent
its own rows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int

from handgen.errors import HandgenError
from handgen.geometry.camera import Camera
from handgen.geometry.rigid import Rigid
from handgen.hand.skeleton import KEYPOINT_COUNT, SIDES
from handgen.records.annotation import HandRecord, ViewRecord
from handgen.segmentation.matting import Edge
from handgen.stages.synthesize.sources import OpenSource, Source, check_model
from handgen.stages.synthesize.virtual_camera import are_in_front
from handgen.storage.tar import Span

_ORDER = 0x71  # sets this generator's seeds apart from those of samples
REUSES = 8  # of a view in a row
_BLOCK = REUSES**2  # samples: as many views on as many backgrounds
_SCREENS = (None, "green", "blue")
NO_ROW = -1
ROW = np.dtype(
    [
        ("source", "i4"),  # index in the run's sources; what follows is of it
        ("chunk", "i4"),
        ("cutout", "S128"),
        ("span", "i8", (2,)),  # where it lies in the chunk's tar; 0 bytes where that is not known
        ("frame", "i8"),
        ("side", "u1"),  # index in SIDES
        ("subject", "i4"),  # index in its subjects
        ("camera", "i4"),  # index in the rig
        ("size_px", "i4", (2,)),  # of the cutout, as all that follows on cameras
        ("intrinsics", "f8", (3, 3)),
        ("cam_rotation", "f8", (3, 3)),
        ("cam_translation", "f8", (3,)),
        ("longer_side_px", "f4"),
        ("pose", "f8", (48,)),
        ("translation_m", "f8", (3,)),
        ("keypoints_world_m", "f8", (KEYPOINT_COUNT, 3)),
        ("shown", "?", (KEYPOINT_COUNT,)),
        ("reprojection_px", "f8"),  # NaN where not known, as below
        ("mask_iou", "f8"),
        ("edge_blur_px", "f4"),
        ("screen", "u1"),  # index in _SCREENS
        ("other", "i8"),  # row of the other hand in the same view, or NO_ROW
    ]
)


@dataclass(frozen=True)
class SourceView:
    """One hand in one view of the annotations.

    camera: the ideal camera of the cutout. longer_side_px: longer side of the box around the keypoints in it. pose,
    translation_m, keypoints_world_m: of the hand in the world. shown: keypoints whose place picture and cutout show.
    """

    source: int
    chunk: int
    cutout: str
    span: Span | None
    frame: int
    side: str
    subject: str
    betas: Float[np.ndarray, " 10"]
    camera: Camera
    longer_side_px: float
    pose: Float[np.ndarray, " 48"]
    translation_m: Float[np.ndarray, " 3"]
    keypoints_world_m: Float[np.ndarray, "21 3"]
    shown: Bool[np.ndarray, " 21"]
    reprojection_px: float | None
    mask_iou: float | None
    edge: Edge


@dataclass(frozen=True)
class ViewTable:
    """The usable views: rows of `ROW`. runs: of each source the number of its first row and how many they are."""

    rows: np.ndarray
    runs: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.rows)


def source_view(row: np.void, source: Source, betas: Mapping[str, Float[np.ndarray, " 10"]]) -> SourceView:
    """Parse a row of the table. betas: of the source's subjects."""
    blur = float(row["edge_blur_px"])
    return SourceView(
        source=int(row["source"]),
        chunk=int(row["chunk"]),
        cutout=row["cutout"].decode(),
        span=span_of(row),
        frame=int(row["frame"]),
        side=SIDES[row["side"]],
        subject=source.subject_names[row["subject"]],
        betas=betas[source.subjects[row["subject"]]],
        camera=Camera(
            source.cameras[row["camera"]],
            (int(row["size_px"][0]), int(row["size_px"][1])),
            row["intrinsics"],
            cam_from_world=Rigid(row["cam_rotation"], row["cam_translation"]),
        ),
        longer_side_px=float(row["longer_side_px"]),
        pose=row["pose"],
        translation_m=row["translation_m"],
        keypoints_world_m=row["keypoints_world_m"],
        shown=row["shown"],
        reprojection_px=_known(row["reprojection_px"]),
        mask_iou=_known(row["mask_iou"]),
        edge=Edge(screen=_SCREENS[row["screen"]]) if np.isnan(blur) else Edge(blur, _SCREENS[row["screen"]]),
    )


def span_of(row: np.void) -> Span | None:
    """Return where the cutout of a row lies in its chunk's tar, as the records say."""
    first, length = row["span"].tolist()
    return (first, length) if length else None


def usable_views(
    opened: Sequence[OpenSource], include_rejected: bool, progress: Callable[[int, int], None] | None = None
) -> ViewTable:
    """Every view that may become a sample.

    Accepted views of accepted records; with `include_rejected` all that have a mask. No hand that is not in front of
    the view's camera.

    Raises HandgenError when a record does not fit the hand model or the cameras, or no view is left.
    """
    records_seen = rows_found = chunks_read = 0
    runs = []
    chunk_count = sum(entry.annotations.chunk_count for entry in opened)
    with tempfile.TemporaryFile() as file:
        for number, entry in enumerate(opened):
            first = rows_found
            for chunk in range(entry.annotations.chunk_count):
                records = entry.annotations.records(chunk)
                records_seen += len(records)
                check_model(entry.annotations, entry.models, chunk, records)
                rows = [
                    _row(entry, number, chunk, record, view)
                    for record in records
                    for view in record.views
                    if _is_usable(record, view, include_rejected)
                ]
                if rows:
                    table = np.stack(rows)
                    _pair(table, rows_found)
                    file.write(table.tobytes())
                    rows_found += len(table)
                chunks_read += 1
                if progress:
                    progress(chunks_read, chunk_count)
            runs.append((first, rows_found - first))
        if not rows_found:
            hint = "look at the reasons in its records, or use --include-rejected"
            hint = hint if records_seen else "is a hand in view?"
            where = ", ".join(str(entry.annotations.root) for entry in opened)
            raise HandgenError(f"{where}: no accepted view among {records_seen} records; {hint}")
        file.flush()
        return ViewTable(np.memmap(file, ROW, "r", shape=(rows_found,)), tuple(runs))


def order_views(count: int, samples: int, seed: int, first: int, last: int) -> Int[np.ndarray, " samples"]:
    """Choose which of `count` views the samples `first` to `last` - 1 of `samples` show.

    Every round over the views has its own seeded order. In most rounds a view comes `REUSES` times in a row, for it is
    read once then; the last rounds make up the rest, so that all views are used equally often (to within one).
    """
    every, rest = divmod(samples, count)
    many, few = divmod(every, REUSES)
    found, start, turn = [], 0, 0
    for uses, turns, used in ((REUSES, many, count), (few, 1, count), (1, 1, rest)):
        length = uses * used
        if length == 0:
            continue
        low, high = max(first - start, 0), min(last - start, turns * length)
        for round_ in range(low // length, -(-high // length)) if high > low else ():
            order = _order_of_round(seed, turn + round_, count)
            places = np.arange(max(low, round_ * length), min(high, (round_ + 1) * length)) - round_ * length
            found.append(order[places // uses])
        start, turn = start + turns * length, turn + turns
    return np.concatenate(found)


@lru_cache(maxsize=4)
def _order_of_round(seed: int, turn: int, count: int) -> Int[np.ndarray, " views"]:
    """All views in the order of one round, which many shards in a row ask for: shuffling millions takes a second."""
    order = np.random.default_rng([seed, _ORDER, turn]).permutation(count)
    order.flags.writeable = False
    return order


def spread(views: Int[np.ndarray, " samples"], picks: Int[np.ndarray, " samples"]) -> Int[np.ndarray, " samples"]:
    """Views of a shard in the order of `order_views`, given to its samples, whose backgrounds are `picks`.

    Samples are made background by background. The uses of a view fall a few samples apart in that order: on different
    backgrounds, but near enough that its pixels are still in memory.
    """
    whole = max(1, len(views) // _BLOCK) * _BLOCK  # what is over goes with the last block
    starts = [*range(0, whole, _BLOCK), len(views)]
    blocks = [views[a:b] for a, b in zip(starts, starts[1:], strict=False)]
    work = [block[np.argsort(np.arange(len(block)) % REUSES, kind="stable")] for block in blocks]
    placed = np.empty_like(views)
    placed[np.argsort(picks, kind="stable")] = np.concatenate(work)
    return placed


def _is_usable(record: HandRecord, view: ViewRecord, include_rejected: bool) -> bool:
    accepted = (record.accepted and view.accepted) or (include_rejected and bool(view.mask_iou))
    return accepted and are_in_front(view.camera.cam_from_world.apply(record.keypoints_world_m))


def _row(entry: OpenSource, number: int, chunk: int, record: HandRecord, view: ViewRecord) -> np.ndarray:
    """number: of the source."""
    annotations = entry.annotations
    if view.camera.name not in annotations.rig.numbers:
        raise HandgenError(
            f"{annotations.root}: {view.cutout} is of camera {view.camera.name!r}, "
            "which the manifest does not list; run `handgen annotate` again"
        )
    name = view.cutout.encode()
    if len(name) > ROW["cutout"].itemsize:
        raise HandgenError(
            f"{annotations.root}: the name of cutout {view.cutout[:40]}... is longer than "
            f"{ROW['cutout'].itemsize} characters; shorten it"
        )
    pixels, in_cutout = view.camera.project(record.keypoints_world_m)
    # A cutout may reach outside the picture.
    _, in_capture = annotations.rig[view.camera.name].project(record.keypoints_world_m)
    row = np.zeros((), ROW)
    row["source"], row["chunk"], row["cutout"], row["frame"] = number, chunk, name, record.frame
    row["span"] = view.cutout_span or (0, 0)
    row["side"], row["subject"] = SIDES.index(record.side), entry.subject_numbers[record.subject]
    row["camera"], row["size_px"] = annotations.rig.numbers[view.camera.name], view.camera.size_px
    row["intrinsics"] = view.camera.intrinsics
    row["cam_rotation"] = view.camera.cam_from_world.rotation
    row["cam_translation"] = view.camera.cam_from_world.translation
    row["longer_side_px"] = np.ptp(pixels, axis=0).max()
    row["pose"], row["translation_m"] = record.pose, record.translation_m
    row["keypoints_world_m"] = record.keypoints_world_m
    row["shown"] = in_cutout & in_capture
    for field in ("reprojection_px", "mask_iou", "edge_blur_px"):
        value = getattr(view, field)
        row[field] = np.nan if value is None else value
    row["screen"] = _SCREENS.index(view.screen)
    row["other"] = NO_ROW
    return row


def _pair(table: np.ndarray, first: int) -> None:
    """Enter which rows of a chunk are the two hands of one frame in one view. first: the number of its first row."""
    place = {(row["frame"], row["camera"], row["side"]): i for i, row in enumerate(table)}
    for i, row in enumerate(table):
        other = place.get((row["frame"], row["camera"], 1 - row["side"]))
        if other is not None:
            table["other"][i] = first + other


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
