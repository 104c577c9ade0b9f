"""Data sets in other projects' formats: handgen's own exports, and others'."""

from __future__ import annotations

from pathlib import Path

from handgen.datasets.checks import PIXELS_NOTE, CheckContext, read_manifest_info
from handgen.datasets.registry import FORMATS, find_format, get_format
from handgen.label_checks.findings import Checked
from handgen.progress import Progress
from handgen.runtime.engine import Engine
from handgen.stages.validate.export_files import check_listed
from handgen.storage.documents import read_json
from handgen.storage.filesystem import Location
from handgen.storage.output import MANIFEST, kind_of

KIND = "export"


def recognise_format(path: Location) -> str | None:
    """The format of a folder, by its manifest or its files; None where it is none of `FORMATS`."""
    if not isinstance(path, Path) or not path.is_dir():
        return None
    if kind_of(path) == KIND and (path / MANIFEST).is_file():
        format = read_json(path / MANIFEST).get("format")
        return format if format in FORMATS.names() else None
    return find_format(path)


def check(path: Location, format: str, digests: bool, pixels: bool, engine: Engine, show: Progress) -> Checked:
    """Check a data set in one of `FORMATS`. digests, pixels: as for `handgen.stages.validate.stage.run`.

    Raises HandgenError for a COCO file that is too large to check.
    """
    assert isinstance(path, Path)
    context = CheckContext(read_manifest_info(path), pixels, engine, show)
    listed = check_listed(path, digests, engine)
    checked = get_format(format).check(path, context)
    checked.findings.extend(listed.findings)
    checked.looked_at.update({name: count for name, count in listed.looked_at.items() if count})
    checked.notes.extend(listed.notes)
    if not pixels:
        checked.notes.append(PIXELS_NOTE)
    return checked
