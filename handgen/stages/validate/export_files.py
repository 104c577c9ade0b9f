"""The files that an export's manifest names: whether they are there, of their size and, if asked for, their digest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from handgen.datasets.reader import inside
from handgen.errors import HandgenError
from handgen.label_checks.findings import Checked, Findings, check_files
from handgen.runtime.engine import Engine
from handgen.storage import filesystem
from handgen.storage.documents import read_json
from handgen.storage.output import MANIFEST

_AGAIN = "delete it and run `handgen export` again"


def check_listed(root: Path, digests: bool, engine: Engine) -> Checked:
    """Compare files with the manifest's `files`; pictures are not among them.

    digests: recompute their SHA-256, too. Of a data set without such a manifest nothing is compared.
    """
    findings, notes = Findings(), list[str]()
    entries = _listed(root, findings)
    paths = {name: root / name for name in entries}
    there = {name: path.stat().st_size for name, path in paths.items() if path.is_file()}
    tars = list(root.glob("*.tar")) if entries else []  # others would be read as well
    found = there | {path.name: path.stat().st_size for path in tars if path.is_file()}
    check_files(findings, root, found, {name: entry["bytes"] for name, entry in entries.items()})
    checked = Checked(findings, {}, notes)
    checked.looked_at["file"] = len(entries)
    if digests and not entries:
        notes.append("there is no manifest that lists files, so no digests to compare")
    elif not digests and entries:
        notes.append("digests were not recomputed; --digests does")
    elif digests:
        for name, sha256 in sorted(engine.map_units(_Digest(root), there, len(there))):
            if sha256 is None:
                findings.add("digest", f"{root / name}", "cannot be read", _AGAIN)
            elif sha256 != (said := entries[name]["sha256"]):
                what = f"SHA-256 is {sha256[:12]}..., the manifest says {said[:12]}..."
                findings.add("digest", f"{root / name}", what, _AGAIN)
    return checked


def _listed(root: Path, findings: Findings) -> dict[str, dict[str, Any]]:
    """Entries of the manifest by the files' names."""
    if not (root / MANIFEST).is_file():
        return {}
    manifest = read_json(root / MANIFEST)
    is_ours = isinstance(manifest, dict) and manifest.get("kind") == "export"
    entries = manifest.get("files", []) if is_ours else []
    found: dict[str, dict[str, Any]] = {}
    listed: list[Any] = entries if isinstance(entries, list) else [None]
    for entry in listed:
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


class _Digest:
    """The unit of work: a file's name and SHA-256, None where it cannot be read."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, name: str) -> tuple[str, str | None]:
        try:
            return name, filesystem.digest(self.root / name)[1]
        except OSError:
            return name, None
