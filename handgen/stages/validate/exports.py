"""Data sets in other projects' formats: the files that an export's manifest names, then the format's own checks."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from handgen.datasets.checks import PIXELS_NOTE, CheckContext, read_manifest_info
from handgen.datasets.reader import inside
from handgen.datasets.registry import FORMATS, find_format, get_format
from handgen.errors import HandgenError
from handgen.label_checks.findings import Checked, Findings, check_digest, check_files
from handgen.progress import Progress
from handgen.runtime.engines import Engine
from handgen.storage import filesystem
from handgen.storage.documents import read_json
from handgen.storage.filesystem import Location
from handgen.storage.output import MANIFEST, kind_of

KIND = "export"
_AGAIN = "delete it and run `handgen export` again"


def recognise_format(path: Location) -> str | None:
    """The format of a folder, by its manifest or its files; None where it is none of `FORMATS`."""
    if not isinstance(path, Path) or not path.is_dir():
        return None
    if kind_of(path) == KIND and (path / MANIFEST).is_file():
        format = read_json(path / MANIFEST).get("format")
        return format if format in FORMATS.names() else None
    return find_format(path)


def check(path: Location, format: str, digests: bool, pixels: bool, engine: Engine, show: Progress) -> Checked:
    """Check a data set in one of `FORMATS`. HandgenError for a COCO file that is too large to check."""
    assert isinstance(path, Path)
    checked = get_format(format).check(path, CheckContext(read_manifest_info(path), pixels, engine, show))
    _check_listed(checked, path, digests, engine)
    if not pixels:
        checked.notes.append(PIXELS_NOTE)
    return checked


def _check_listed(checked: Checked, root: Path, digests: bool, engine: Engine) -> None:
    """Compare files with the manifest's `files`, if there are such; pictures are not among them."""
    findings = checked.findings
    entries = _listed(root, findings)
    if not entries:
        if digests:
            checked.notes.append("there is no manifest that lists files, so no digests to compare")
        return
    there = {name: (root / name).stat().st_size for name in entries if (root / name).is_file()}
    tars = {path.name: path.stat().st_size for path in root.glob("*.tar") if path.is_file()}  # would be read as well
    check_files(findings, root, there | tars, {name: entry["bytes"] for name, entry in entries.items()})
    findings.looked_at["file"] = len(entries)
    if not digests:
        checked.notes.append("digests were not recomputed; --digests does")
        return
    for name, sha256 in sorted(engine.map_units(partial(_digest, root), there, len(there))):
        if sha256 is None:
            findings.add("digest", f"{root / name}", "cannot be read", _AGAIN)
        else:
            check_digest(findings, root / name, sha256, entries[name]["sha256"], _AGAIN)


def _listed(root: Path, findings: Findings) -> dict[str, dict[str, Any]]:
    """Entries of the manifest by the files' names."""
    if not (root / MANIFEST).is_file():
        return {}
    manifest, found = read_json(root / MANIFEST), dict[str, dict[str, Any]]()
    is_ours = isinstance(manifest, dict) and manifest.get("kind") == KIND
    entries: Any = manifest.get("files", []) if is_ours else []
    for entry in entries if isinstance(entries, list) else [{}]:
        try:
            name, size, sha256 = entry["name"], entry["bytes"], entry["sha256"]
            inside(root, name, "files")
            if not isinstance(size, int) or not isinstance(sha256, str):
                raise TypeError
            found[name] = entry
        except (KeyError, TypeError, HandgenError):
            what = "an entry of `files` has no name inside the data set, bytes and sha256"
            findings.add("manifest", f"{root / MANIFEST}", what, "run `handgen export` again")
    return found


def _digest(root: Path, name: str) -> tuple[str, str | None]:
    """Name a file and its SHA-256; None where it cannot be read."""
    try:
        return name, filesystem.digest(root / name)[1]
    except OSError:
        return name, None
