"""Annotations made of truth by changing it in a known way."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson

from handgen.io.annotations import Annotations, chunk_path, write_chunk
from handgen.records.annotation import HandRecord
from handgen.storage.documents import dumps
from handgen.storage.json_fields import to_document
from support.annotations import write_annotations

FRAMES, CHUNK_FRAMES = 6, 4


def write_truth(root: Path, **options) -> Path:
    """Six frames of two hands in two views, every view accepted."""
    return write_annotations(root, frames=FRAMES, chunk_frames=CHUNK_FRAMES, accept_all=True, seed=3, **options)


def changed(truth: Path, out: Path, change: Callable[[HandRecord], HandRecord | Iterable[HandRecord] | None]) -> Path:
    """A copy of `truth` whose records went through `change`, which may drop (None) or multiply them."""
    shutil.copytree(truth, out)
    for chunk in range(Annotations(truth).chunk_count):
        lines = []
        for record in Annotations(truth).records(chunk):
            found = change(record)
            found = [found] if isinstance(found, HandRecord) else list(found or ())
            lines += [dumps(to_document(one)) for one in found]
        chunk_path(out, chunk, ".jsonl").write_bytes(b"".join(lines))
    return out


def with_masks(truth: Path, out: Path, change: Callable[[np.ndarray], np.ndarray]) -> Path:
    """A copy of `truth` whose masks went through `change`."""
    source = Annotations(truth)
    shutil.copytree(truth, out)
    for chunk in range(source.chunk_count):
        records = source.records(chunk)
        cutouts = [(view.cutout, source.cutout(chunk, view)) for record in records for view in record.views]
        write_chunk(out, chunk, records, [(key, replace(found, mask=change(found.mask))) for key, found in cutouts])
    return out


def with_manifest(root: Path, change: Callable[[dict], None]) -> Path:
    """`root` after its manifest went through `change`."""
    manifest = orjson.loads((root / "manifest.json").read_bytes())
    change(manifest)
    (root / "manifest.json").write_bytes(orjson.dumps(manifest))
    return root


def moved(record: HandRecord, by_m) -> HandRecord:
    """The hand, parameters and all, somewhere else."""
    return replace(
        record,
        translation_m=record.translation_m + by_m,
        keypoints_world_m=record.keypoints_world_m + by_m,
    )


def with_points(record: HandRecord, points: np.ndarray) -> HandRecord:
    return replace(record, keypoints_world_m=points)
