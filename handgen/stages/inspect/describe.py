"""Describe what a directory holds, in tables: a capture, annotations or shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from handgen.datasets.registry import find_format, import_formats
from handgen.errors import HandgenError
from handgen.geometry.camera import Rig
from handgen.io import annotations as store
from handgen.io import shards
from handgen.io.capture.camera_files import list_sources
from handgen.io.capture.capture import KIND as CAPTURE_KIND
from handgen.io.capture.capture import Capture, load_capture
from handgen.media.image_folder import ImageFolder
from handgen.media.video import VideoFile
from handgen.progress import Progress
from handgen.stages.inspect.config import InspectConfig
from handgen.storage import filesystem
from handgen.storage.documents import read_json
from handgen.storage.filesystem import Location
from handgen.storage.output import MANIFEST, kind_of
from handgen.wording import count_of, counts_of

_EXPORT = "export"
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
    """Contents of a directory. facts: name -> text with its unit. data: the same for programs, as JSON."""

    kind: Literal["capture", "annotations", "shards", "export"]
    path: Location
    facts: tuple[tuple[str, str], ...]
    tables: tuple[Table, ...]
    notes: tuple[str, ...]
    data: Mapping[str, Any]


def describe(path: Location, config: InspectConfig | None = None, progress: Progress | None = None) -> Description:
    """Describe the directory `path` by its manifest, or as a capture if it has none.

    config: for captures; an unknown unit is no error here. Raises HandgenError if the directory is none that handgen
    writes, or cannot be read.
    """
    config = config or InspectConfig()
    if not filesystem.is_folder(path):
        raise HandgenError(f"{path}: no such folder; give a capture, annotations, shards or an export")
    kind = kind_of(path)
    if kind == store.KIND:
        return _describe_annotations(store.Annotations(path))
    if kind == shards.KIND:
        return _describe_shards(path, shards.read_manifest(path))
    if kind != CAPTURE_KIND and filesystem.size_of(path / MANIFEST) is not None:
        read_json(path / MANIFEST)  # which says so if it is no JSON at all
        if kind == _EXPORT:
            return _describe_export(path, read_json(path / MANIFEST, "export_manifest"))
        raise HandgenError(
            f"{path / MANIFEST}: its kind is {kind!r}, which handgen does not write; give a capture, annotations, "
            "shards or an export"
        )
    is_bare = isinstance(path, Path) and not (path / "capture.json").exists() and not list_sources(path)
    if config.calibration is None and is_bare:
        assert isinstance(path, Path)
        if (format := find_format(path)) is not None:
            use = f"{path}: a data set in the format {format}; `handgen validate {path}` checks it"
            if format in import_formats():
                use += f", and `handgen import --format {format} {path} --out ANNOTATIONS` makes annotations of it"
            raise HandgenError(use)
        raise HandgenError(
            f"{path}: neither annotations nor shards (no {MANIFEST}) nor a capture (no videos and no "
            "sub-folders of images); give one of these directories"
        )
    calibration = filesystem.location(config.calibration) if config.calibration else None
    capture = load_capture(path, calibration=calibration, metres_per_unit=config.metres_per_unit, require_scale=False)
    described = _describe_capture(capture)
    return _with_detections(described, capture, config, progress or (lambda *_: None)) if config.detect else described


def _with_detections(described: Description, capture: Capture, config: InspectConfig, show: Progress) -> Description:
    """Add what a detector says of the cameras."""
    from handgen.stages.inspect.detection import look  # torch and the networks

    found, notes = look(capture, config.detector, config.detector_options, show)
    rows = tuple((name, str(count)) for name, count in found["hands"].items())
    table = Table(f"Hands detected in {count_of(found['frames'], 'frame')}", ("camera", "hands"), rows)
    return replace(
        described,
        tables=(*described.tables, table),
        notes=(*described.notes, *notes),
        data={**described.data, "detected": found, "notes": [*described.notes, *notes]},
    )


def _describe_export(path: Location, manifest: Mapping[str, Any]) -> Description:
    """Describe what `handgen export` wrote."""
    facts = [
        ("format", manifest["format"] + (f", split {manifest['split']}" if manifest["split"] else "")),
        ("pictures", f"{manifest['pictures']}, with {counts_of(manifest['sides'])} hands"),
        ("made of", f"{manifest['source']['kind']} in {manifest['source']['path']}"),
        ("left out", counts_of(manifest["left_out"])),
    ]
    tables = (_row_table("Files", manifest["files"]),)
    return _describe_output("export", path, manifest, facts, "configuration", tables, tuple(manifest["notes"]))


def _describe_capture(capture: Capture) -> Description:
    unit = "m" if capture.scale_known else "units"
    baselines = capture.cameras.baselines()
    cameras: list[dict[str, Any]] = [
        {
            "name": camera.name,
            "file": _relative(source.path, capture.folder),
            "size_px": list(camera.size_px),
            "frame_count": source.frame_count,
            "frames_missing": int((capture.source_frames[:, index] < 0).sum()),
            "frames_damaged": _damaged_frames(source),
            "fps": source.fps,
            "rotation_deg": source.rotation_deg if isinstance(source, VideoFile) else 0,
            "focal_px": camera.intrinsics.diagonal()[:2].tolist(),
            "lens": camera.lens,
            "distortion": camera.distortion.tolist(),
        }
        for index, (camera, source) in enumerate(zip(capture.cameras, capture.sources, strict=True))
    ]
    rows = tuple(
        (
            camera["name"],
            camera["file"],
            "{}x{}".format(*camera["size_px"]),
            str(camera["frame_count"]),
            f"{camera['fps']:.4g}" if camera["fps"] else "-",
            "{:.0f}, {:.0f}".format(*camera["focal_px"]),
            f"{camera['lens']} {len(camera['distortion'])}",
        )
        for camera in cameras
    )
    columns = ("camera", "file", "size px", "frames", "fps", "focal px", "lens")
    tables = [Table("Cameras", columns, rows), _baseline_table(capture.cameras.names, baselines, unit)]
    known = f"{_text(capture.metres_per_unit)} m per unit" if capture.scale_known else _HOW_TO_SCALE
    calibration = capture.calibration
    facts = (
        ("calibration", f"{calibration.format} in {_relative(calibration.path, capture.folder)}"),
        ("unit", f"{calibration.unit_note}; {known}"),
        ("synchronised frames", str(capture.frame_count)),
        ("hands", capture.hands or "not said in capture.json"),
    )
    data = {
        "calibration_format": calibration.format,
        "calibration_path": _name_files(capture),
        "unit_note": calibration.unit_note,
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


def _damaged_frames(source: VideoFile | ImageFolder) -> int:
    damaged = source.damaged if isinstance(source, VideoFile) else None
    return 0 if damaged is None else int(damaged.sum())


def _name_files(capture: Capture) -> str:
    """The calibration as a user finds it, not its copy."""
    path = capture.calibration.path
    inside = path.is_relative_to(capture.folder)
    return str(capture.path / path.relative_to(capture.folder).as_posix() if inside else path)


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _baseline_table(names: Sequence[str], baselines: np.ndarray, unit: str) -> Table:
    rows = tuple(
        (name, *(f"{value:.3f}" if i != j else "-" for j, value in enumerate(row)))
        for i, (name, row) in enumerate(zip(names, baselines.tolist(), strict=True))
    )
    return Table(f"Baselines, {unit}", ("", *names), rows)


def _describe_annotations(annotations: store.Annotations) -> Description:
    path, manifest = annotations.root, annotations.manifest
    capture, model, chunks = manifest["capture"], manifest["hand_model"], manifest["chunks"]
    records, accepted = (sum(chunk[key] for chunk in chunks) for key in ("records", "accepted"))
    facts = [
        ("capture", f"{capture['path']}, {capture['frame_count']} frames"),
        ("scale", f"{capture['scale']}, {_text(capture['metres_per_unit'])} m per unit"),
        ("hand model", f"{model['name']}, sha256 {_text(model['sha256'])}"),
        ("subjects", _subjects_text(manifest["subjects"])),
        ("records", f"{records} in {len(chunks)} chunks, {accepted} accepted"),
    ]
    tables = (_camera_table(annotations.rig), _row_table("Chunks", chunks))
    return _describe_output("annotations", path, manifest, facts, "summary", tables, ())


def _describe_shards(path: Location, manifest: Mapping[str, Any]) -> Description:
    width, height = manifest["size_px"]
    backgrounds = manifest["backgrounds"]
    pictures = f"{backgrounds['count']} pictures of {backgrounds['path']}"
    facts = [
        ("samples", f"{manifest['samples']} in {len(manifest['shards'])} shards"),
        *(("split", _split_text(split)) for split in manifest["splits"]),
        ("size", f"{width}x{height} px"),
        ("seed", str(manifest["seed"])),
        ("mirrored samples", "some" if manifest["flips"] else "none"),
        *(
            ("annotations", f"{entry['path']}, capture {entry['capture']}, hand model {entry['hand_model']['name']}")
            for entry in manifest["annotations"][:MAX_ROWS]
        ),
        ("backgrounds", pictures if backgrounds["source"] == "folder" else backgrounds["source"]),
    ]
    skipped = len(backgrounds["skipped"])
    notes = (f"{skipped} files of the backgrounds could not be used",) if skipped else ()
    tables = (_row_table("Shards", manifest["shards"]),)
    return _describe_output("shards", path, manifest, facts, "configuration", tables, notes)


def _describe_output(
    kind: Literal["annotations", "shards", "export"],
    path: Location,
    manifest: Mapping[str, Any],
    facts: Sequence[tuple[str, str]],
    details: str,
    tables: tuple[Table, ...],
    notes: tuple[str, ...],
) -> Description:
    """Describe what a stage wrote. details: the part of the manifest whose entries are facts too."""
    if isinstance(path, Path):
        sizes = [file.stat().st_size for file in path.rglob("*") if file.is_file()]
    else:
        sizes = [info["size"] for info in filesystem.files_below(path).values()]
    all_facts = (
        *facts,
        ("made by", f"handgen {manifest['created_by']}, format {manifest['format_version']}"),
        ("on disk", f"{sum(sizes) / 2**20:.1f} MiB in {len(sizes)} files"),
        *((f"{details}: {name}", _text(value)) for name, value in manifest[details].items()),
    )
    data = {"manifest": dict(manifest), "files": len(sizes), "bytes": sum(sizes)}
    return Description(kind, path, all_facts, tables, notes, data)


def _split_text(split: Mapping[str, Any]) -> str:
    subjects = {name for group in split["groups"] for name in group["subjects"]}
    sequences = sum(len(group["sequences"]) for group in split["groups"])
    used = "-".join(map(str, dict.fromkeys(split["uses"])))
    return (
        f"{split['name']}: {split['samples']} samples of {split['views']} views, each used {used} times; "
        f"subjects {len(subjects)}, sequences {sequences}"
    )


def _camera_table(rig: Rig) -> Table:
    """Distances to the first camera, metres."""
    rows = []
    for camera in rig.cameras[:MAX_ROWS]:
        width, height = camera.size_px
        focal = f"{camera.intrinsics[0, 0]:.0f}, {camera.intrinsics[1, 1]:.0f}"
        distance = float(np.linalg.norm(camera.center_world - rig.cameras[0].center_world))
        rows.append((camera.name, f"{width}x{height}", focal, f"{distance:.3f}"))
    more = f" (first {MAX_ROWS} of {len(rig)})" if len(rig) > MAX_ROWS else ""
    return Table("Cameras" + more, ("camera", "size px", "focal px", "to first, m"), tuple(rows))


def _subjects_text(subjects: Mapping[str, Mapping[str, Any]]) -> str:
    """Names; of many, and of shapes of the same people, how many there are."""
    people = {entry.get("person", name) for name, entry in subjects.items()}
    if len(subjects) > MAX_ROWS or len(people) < len(subjects):
        return f"{count_of(len(subjects), 'shape')} of {count_of(len(people), 'subject')}"
    return ", ".join(subjects) or "none"


def _row_table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    named = dict.fromkeys(key for row in rows[:MAX_ROWS] for key in row)
    columns = tuple(sorted(named, key=lambda key: (key not in ("index", "name"), list(named).index(key))))
    shown = tuple(tuple(_text(row.get(column, "")) for column in columns) for row in rows[:MAX_ROWS])
    more = f" (first {MAX_ROWS} of {len(rows)})" if len(rows) > MAX_ROWS else ""
    return Table(title + more, columns, shown)


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


def as_document(description: Description) -> dict[str, Any]:
    """The description for `--json`."""
    return {"kind": description.kind, "path": str(description.path), **description.data}
