"""The manifest of annotations, of whichever stage makes them; see `annotation_manifest.schema.json`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from handgen.io import annotations as store
from handgen.records.annotation import HandRecord
from handgen.storage.documents import schema_version
from handgen.version import __version__


@dataclass(frozen=True)
class AnnotatedCapture:
    """The capture in a manifest. path: its folder's name. scale: "calibrated" or "estimated"."""

    path: str
    frame_count: int
    fps: float | None
    calibration_format: str
    scale: str = "calibrated"
    metres_per_unit: float = 1.0


def chunk_entry(
    index: int, frames: range, records: Sequence[HandRecord], files: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    """The entry of one chunk. files: what `handgen.io.annotations.write_chunk` returned."""
    return {
        "index": index,
        "first_frame": frames.start,
        "frames": len(frames),
        "records": len(records),
        "accepted": sum(record.accepted for record in records),
        "files": files,
    }


def annotation_manifest(
    capture: AnnotatedCapture,
    cameras: Iterable[dict[str, Any]],
    hand_model: str,
    model_sha256: Mapping[str, str],
    subjects: Mapping[str, dict[str, Any]],
    configuration: dict[str, Any],
    chunks: Sequence[dict[str, Any]],
    summary: dict[str, Any],
    stage: str = "",
) -> dict[str, Any]:
    """Make the document that is written when all chunks are complete.

    cameras: documents of `handgen.io.camera_json`, in metres. model_sha256: of the hand model's file, by side. chunks:
    of `chunk_entry`. stage: the one that made them, where that is not `annotate` or `import`.
    """
    return {
        "kind": store.KIND,
        "format_version": schema_version(store.MANIFEST_SCHEMA),
        "created_by": f"{__version__} ({stage})" if stage else __version__,
        "capture": asdict(capture),
        "cameras": list(cameras),
        "hand_model": {"name": hand_model, "sha256": dict(model_sha256)},
        "subjects": dict(subjects),
        "configuration": configuration,
        "chunks": list(chunks),
        "summary": summary,
    }
