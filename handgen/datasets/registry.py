"""The foreign formats by name: an entry says what a format is and where its parts are.

Nothing of a part is imported before it is needed. A new format is a folder with the parts that it has, and an entry
here; a plug-in calls `register_format`.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handgen.datasets.coco.options import CocoOptions
from handgen.datasets.freihand.options import FreihandOptions
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
        found: Checked = self.load(self.checks)(folder, context)
        return found

    def open(self, folder: Path, split: str | None, models: Models) -> Reader:
        """Open a data set of this format; split None: the first that is there."""
        reader: Reader = self.load(self.reader)(folder, split, models)
        return reader

    def create_writer(self, job: ExportJob) -> Writer:
        """Make what writes an export of this format."""
        writer: Writer = self.load(self.writer)(job)
        return writer

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


for _entry in (
    DataSetFormat(
        name="hamer",
        title="HaMeR",
        recognises="handgen.datasets.hamer.layout:is_hamer",
        checks="handgen.datasets.hamer.checks:check",
        writer="handgen.datasets.hamer.writer:HamerWriter",
        owned="handgen.datasets.hamer.layout:OWNED",
    ),
    DataSetFormat(
        name="freihand",
        title="FreiHAND",
        recognises="handgen.datasets.freihand.layout:is_freihand",
        checks="handgen.datasets.freihand.checks:check",
        reader="handgen.datasets.freihand.reader:FreihandReader",
        writer="handgen.datasets.freihand.writer:FreihandWriter",
        licence="research only, no commercial use, its paper to be cited",
        sides=("right",),
        options=FreihandOptions,
        owned="handgen.datasets.freihand.layout:OWNED",
    ),
    DataSetFormat(
        name="hanco",
        title="HanCo",
        recognises="handgen.datasets.hanco.layout:is_hanco",
        checks="handgen.datasets.hanco.checks:check",
        reader="handgen.datasets.hanco.reader:HancoReader",
        licence="research only, no commercial use, its paper to be cited",
        sides=("right",),
    ),
    DataSetFormat(
        name="coco",
        title="COCO",
        recognises="handgen.datasets.coco.layout:is_coco",
        checks="handgen.datasets.coco.checks:check",
        writer="handgen.datasets.coco.writer:CocoWriter",
        options=CocoOptions,
        owned="handgen.datasets.coco.layout:OWNED",
    ),
    DataSetFormat(
        name="interhand",
        title="InterHand2.6M",
        recognises="handgen.datasets.interhand.layout:is_interhand",
        checks="handgen.datasets.interhand.checks:check",
        reader="handgen.datasets.interhand.reader:InterhandReader",
        writer="handgen.datasets.interhand.writer:InterhandWriter",
        licence="CC BY-NC 4.0",
        owned="handgen.datasets.interhand.layout:OWNED",
    ),
):
    register_format(_entry)


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
    """The format of a data set by its files; None where it is none.

    The last entries are tried first: their files say more than any tars (hamer), or JSON beside pictures (coco).
    """
    return next((name for name in reversed(FORMATS.names()) if get_format(name).is_in(folder)), None)
