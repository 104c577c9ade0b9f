"""What a directory holds, said in tables: a capture, annotations or shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from handgen.cameras import Camera
from handgen.errors import HandgenError
from handgen.io.capture import Capture, load_capture
from handgen.io.capture_files import list_sources
from handgen.io.schema import read_json
from handgen.rigid import Rigid, is_rotation

MANIFEST = "manifest.json"
MAX_ROWS = 20  # of chunks or shards in a table
_HOW_TO_SCALE = "annotate with --metres-per-unit X, or auto to scale by the hand"


@dataclass(frozen=True)
class Table:
    """Rows of text under column names, units included."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Description:
    """What a directory holds. facts: name -> text with its unit. data: the same for programs, as JSON."""

    kind: Literal["capture", "annotations", "shards"]
    path: Path
    facts: tuple[tuple[str, str], ...]
    tables: tuple[Table, ...]
    notes: tuple[str, ...]
    data: Mapping[str, Any]


def describe(
    path: Path,
    *,
    calibration: Path | None = None,
    metres_per_unit: float | Literal["auto"] | None = None,
) -> Description:
    """Describe the directory `path` by its manifest, or as a capture if it has none.

    calibration and metres_per_unit: for captures, as in `handgen.io.capture.load_capture`; an unknown unit is
    no error here. Raises HandgenError if the directory is none of the three, or cannot be read.
    """
    if not path.is_dir():
        raise HandgenError(f"{path}: no such folder; give a capture, annotations or shards directory")
    if (path / MANIFEST).is_file():
        manifest = read_json(path / MANIFEST)
        kind = manifest.get("kind") if isinstance(manifest, dict) else None
        if kind == "annotations":
            return _describe_annotations(path, manifest)
        if kind == "shards":
            return _describe_shards(path, manifest)
        raise HandgenError(
            f"{path / MANIFEST}: its kind is {kind!r}, not 'annotations' or 'shards'; was it made by handgen?"
        )
    if calibration is None and not (path / "capture.json").exists() and not list_sources(path):
        raise HandgenError(
            f"{path}: neither annotations nor shards (no {MANIFEST}) nor a capture (no videos and no "
            "sub-folders of images); give one of these directories"
        )
    return _describe_capture(
        load_capture(path, calibration=calibration, metres_per_unit=metres_per_unit, require_scale=False)
    )


def _describe_capture(capture: Capture) -> Description:
    unit = "m" if capture.scale_known else "units"
    baselines = capture.rig.baselines_m()
    rows = []
    cameras = []
    for index, (camera, source) in enumerate(zip(capture.rig, capture.sources, strict=True)):
        k = camera.intrinsics
        absent = int((capture.source_frames[:, index] < 0).sum())
        width, height = camera.size_px
        rows.append(
            (
                camera.name,
                _relative(source.path, capture.path),
                f"{width}x{height}",
                str(source.frame_count),
                f"{source.fps:.4g}" if source.fps else "-",
                f"{k[0, 0]:.0f}, {k[1, 1]:.0f}",
                f"{camera.lens} {len(camera.distortion)}",
            )
        )
        cameras.append(
            {
                "name": camera.name,
                "file": _relative(source.path, capture.path),
                "size_px": [width, height],
                "frame_count": source.frame_count,
                "frames_missing": absent,
                "fps": source.fps,
                "focal_px": [float(k[0, 0]), float(k[1, 1])],
                "lens": camera.lens,
                "distortion": camera.distortion.tolist(),
            }
        )
    columns = ("camera", "file", "size px", "frames", "fps", "focal px", "lens")
    tables = [Table("Cameras", columns, tuple(rows)), _baseline_table(capture.rig.names, baselines, unit)]
    known = f"{_text(capture.metres_per_unit)} m per unit" if capture.scale_known else _HOW_TO_SCALE
    unit_text = f"{capture.calibration.unit_note}; {known}"
    facts = (
        (
            "calibration",
            f"{capture.calibration.format} in {_relative(capture.calibration.path, capture.path)}",
        ),
        ("unit", unit_text),
        ("synchronised frames", str(capture.frame_count)),
        ("hands", capture.hands or "not said in capture.json"),
    )
    data = {
        "calibration_format": capture.calibration.format,
        "calibration_path": str(capture.calibration.path),
        "unit_note": capture.calibration.unit_note,
        "metres_per_unit": capture.metres_per_unit,
        "frame_count": capture.frame_count,
        "fps": capture.fps,
        "hands": capture.hands,
        "cameras": cameras,
        "baselines_m": baselines.tolist() if capture.scale_known else None,
        "baselines_units": None if capture.scale_known else baselines.tolist(),
        "notes": list(capture.notes),
    }
    return Description("capture", capture.path, facts, tuple(tables), capture.notes, data)


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _baseline_table(names: Sequence[str], baselines: np.ndarray, unit: str) -> Table:
    rows = tuple(
        (name, *(f"{value:.3f}" if i != j else "-" for j, value in enumerate(row)))
        for i, (name, row) in enumerate(zip(names, baselines.tolist(), strict=True))
    )
    return Table(f"Baselines, {unit}", ("", *names), rows)


def _describe_annotations(path: Path, manifest: Mapping[str, Any]) -> Description:
    capture, model, chunks = (
        _table(manifest, "capture"),
        _table(manifest, "hand_model"),
        _rows(manifest, "chunks"),
    )
    summary = _table(manifest, "summary")
    records = sum(_count(chunk, "records") for chunk in chunks)
    accepted = sum(_count(chunk, "accepted") for chunk in chunks)
    facts = [
        ("capture", f"{capture.get('path', '?')}, {capture.get('frame_count', '?')} frames"),
        ("scale", f"{capture.get('scale', '?')}, {_text(capture.get('metres_per_unit', '?'))} m per unit"),
        ("hand model", f"{model.get('name', '?')}, sha256 {_text(model.get('sha256', '?'))}"),
        ("subjects", ", ".join(_table(manifest, "subjects")) or "none"),
        ("records", f"{records} in {len(chunks)} chunks, {accepted} accepted"),
        (
            "made by",
            f"handgen {manifest.get('created_by', '?')}, format {manifest.get('format_version', '?')}",
        ),
        ("on disk", _disk_text(path)),
    ]
    facts += [(f"summary: {name}", _text(value)) for name, value in summary.items()]
    tables = []
    cameras = _rows(manifest, "cameras")
    if cameras:
        tables.append(_camera_table(path, cameras))
    if chunks:
        tables.append(_row_table("Chunks", chunks))
    return Description("annotations", path, tuple(facts), tuple(tables), (), _data(manifest, path))


def _describe_shards(path: Path, manifest: Mapping[str, Any]) -> Description:
    shards = _rows(manifest, "shards")
    samples = manifest.get("samples", sum(_count(shard, "samples") for shard in shards))
    facts = [
        ("samples", f"{samples} in {len(shards)} shards"),
        ("seed", str(manifest.get("seed", "?"))),
        (
            "made by",
            f"handgen {manifest.get('created_by', '?')}, format {manifest.get('format_version', '?')}",
        ),
        ("on disk", _disk_text(path)),
    ]
    facts += [(f"summary: {name}", _text(value)) for name, value in _table(manifest, "summary").items()]
    facts += [(f"config: {name}", _text(value)) for name, value in _table(manifest, "config").items()]
    missing = [str(s.get("name")) for s in shards if not (path / Path(str(s.get("name", ""))).name).is_file()]
    notes = (f"{len(missing)} shards of the manifest are not here, first {missing[0]}",) if missing else ()
    tables = (_row_table("Shards", shards),) if shards else ()
    return Description("shards", path, tuple(facts), tables, notes, _data(manifest, path))


def _camera_table(path: Path, cameras: Sequence[Mapping[str, Any]]) -> Table:
    """Cameras of an annotations manifest, distances to the first in metres."""
    rows, first = [], None
    for entry in cameras:
        try:
            matrix = np.array(entry["cam_from_world"], dtype=float)
            if not is_rotation(matrix[:3, :3]):
                raise ValueError
            intrinsics = np.array(entry["intrinsics"], dtype=float)
            width, height = entry["size_px"]
            camera = Camera(str(entry["name"]), (width, height), intrinsics, cam_from_world=Rigid.from_matrix(matrix))
        except (KeyError, TypeError, ValueError, IndexError):
            raise HandgenError(
                f"{path / MANIFEST}: camera {entry.get('name', '?')} is damaged; run `handgen annotate` again"
            ) from None
        first = camera.center_world if first is None else first
        distance = float(np.linalg.norm(camera.center_world - first))
        focal = f"{intrinsics[0, 0]:.0f}, {intrinsics[1, 1]:.0f}"
        rows.append((camera.name, f"{width}x{height}", focal, f"{distance:.3f}"))
    return Table("Cameras", ("camera", "size px", "focal px", "to first, m"), tuple(rows))


def _row_table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    named = dict.fromkeys(key for row in rows[:MAX_ROWS] for key in row)
    columns = tuple(sorted(named, key=lambda key: (key not in ("index", "name"), list(named).index(key))))
    shown = tuple(tuple(_text(row.get(column, "")) for column in columns) for row in rows[:MAX_ROWS])
    more = f" (first {MAX_ROWS} of {len(rows)})" if len(rows) > MAX_ROWS else ""
    return Table(title + more, columns, shown)


def _data(manifest: Mapping[str, Any], path: Path) -> dict[str, Any]:
    count, size = _disk_use(path)
    return {"manifest": dict(manifest), "files": count, "bytes": size}


def _table(manifest: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = manifest.get(key)
    return value if isinstance(value, dict) else {}


def _rows(manifest: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    value = manifest.get(key)
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _count(row: Mapping[str, Any], key: str) -> int:
    value = row.get(key)
    return value if isinstance(value, int) else 0


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(item)}" for name, item in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str) and len(value) == 64:
        return value[:12]  # a digest
    return str(value)


def _disk_use(path: Path) -> tuple[int, int]:
    sizes = [file.stat().st_size for file in path.rglob("*") if file.is_file()]
    return len(sizes), sum(sizes)


def _disk_text(path: Path) -> str:
    count, size = _disk_use(path)
    return f"{size / 2**20:.1f} MiB in {count} files"


def as_document(description: Description) -> dict[str, Any]:
    """The description for `--json`."""
    return {"kind": description.kind, "path": str(description.path), **asdict(description)["data"]}
