"""The foreign formats by name: an entry says what a format is and where its parts are, which are imported when needed.

A new format is a folder with the parts that it has, and an entry here; a plug-in calls `register_format`.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handgen.datasets.options import CocoOptions, FreihandOptions
from handgen.label_checks.findings import Checked, Findings
from handgen.plugins import NoOptions, Registry

if TYPE_CHECKING:
    from handgen.datasets.checks import CheckContext
    from handgen.datasets.reader import Models, Reader
    from handgen.datasets.writer import ExportJob, Writer


@dataclass(frozen=True)
class DataSetFormat:
    """One foreign format. Its parts are given as "module:name".

    title: as its authors call it. recognises: `(folder) -> bool`, whether a folder holds it. checks: `(folder, context)
    -> Checked`. reader, writer: the class of its `Reader` or `Writer`; empty where it is not imported or exported.
    licence: what its authors say of its use, of a format that is imported. sides: of the hands in it. options: a frozen
    dataclass of `handgen.options.option` fields, of exports. owned: patterns of the files and folders that an export
    writes besides run.json and manifest.json.
    """

    name: str
    title: str
    recognises: str = ""
    checks: str = ""
    reader: str = ""
    writer: str = ""
    licence: str = ""
    sides: tuple[str, ...] = ("left", "right")
    options: type = NoOptions
    owned: str = ""

    def is_in(self, folder: Path) -> bool:
        """Tell whether a folder holds this format, by its files."""
        return bool(self.recognises and self.load(self.recognises)(folder))

    def check(self, folder: Path, context: CheckContext) -> Checked:
        """Check a data set of this format; of a format without checks, nothing."""
        if not self.checks:
            return Checked(Findings(), {}, ["labels were not checked: this format has no checks"])
        return self.load(self.checks)(folder, context)

    def open(self, folder: Path, split: str | None, models: Models) -> Reader:
        """Open a data set of this format; split None: the first that is there."""
        return self.load(self.reader)(folder, split, models)

    def create_writer(self, job: ExportJob) -> Writer:
        """Make what writes an export of this format."""
        return self.load(self.writer)(job)

    def owned_files(self) -> tuple[str, ...]:
        """Patterns of the files and folders that an export writes, for `fnmatch`."""
        return tuple(self.load(self.owned)) if self.owned else ()

    def load(self, part: str) -> Any:
        """Import a part, given as "module:name"."""
        module, _, name = part.partition(":")
        return getattr(importlib.import_module(module), name)


FORMATS: Registry[DataSetFormat] = Registry("format")


def register_format(entry: DataSetFormat) -> None:
    """Add a format, which `export`, `import` and `validate` then know as far as it has the parts."""
    FORMATS.register(entry.name, entry, entry.options)


def _register_own(name: str, title: str, parts: Sequence[str], **more: Any) -> None:
    """Register a format of this package: its parts have the same names in each format's folder."""
    layout, reader, writer = (f"handgen.datasets.{name}.{part}" for part in ("layout", "reader", "writer"))
    places = {"reader": f"{reader}:{name.title()}Reader", "writer": f"{writer}:{name.title()}Writer"}
    more |= {part: places[part] for part in parts} | ({"owned": f"{layout}:OWNED"} if "writer" in parts else {})
    checks = f"handgen.datasets.{name}.checks:check"
    register_format(DataSetFormat(name, title, f"{layout}:is_{name}", checks, **more))


_FREIBURG = {"licence": "research only, no commercial use, its paper to be cited", "sides": ("right",)}
_register_own("hamer", "HaMeR", ["writer"])
_register_own("freihand", "FreiHAND", ["reader", "writer"], options=FreihandOptions, **_FREIBURG)
_register_own("hanco", "HanCo", ["reader"], **_FREIBURG)
_register_own("coco", "COCO", ["writer"], options=CocoOptions)
_register_own("interhand", "InterHand2.6M", ["reader", "writer"], licence="CC BY-NC 4.0")


def get_format(name: str) -> DataSetFormat:
    """The format `name`; HandgenError for a name that is none."""
    return FORMATS[name].load()


def export_formats() -> Sequence[str]:
    """The names of the formats that exports are written in."""
    return tuple(name for name in FORMATS.names() if get_format(name).writer)


def import_formats() -> Sequence[str]:
    """The names of the formats that are imported."""
    return tuple(name for name in FORMATS.names() if get_format(name).reader)


def find_format(folder: Path) -> str | None:
    """The format of a data set by its files, or None. The last are tried first: tars or JSON alone say less."""
    return next((name for name in reversed(FORMATS.names()) if get_format(name).is_in(folder)), None)
