"""Options of the export stage. Imports nothing heavy, so that the command takes its defaults from here."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from handgen.datasets.registry import FORMATS, export_formats
from handgen.options import check_options, deciding_options, option, options_of
from handgen.runtime.engine import check_engine


@dataclass(frozen=True)
class ExportConfig:
    """Options of `export`. Everything but `workers`, `engine` and `address` decides what is written.

    format: one of `export_formats()`. split: whose samples, where shards have several.
    include_rejected: of annotations, also what `annotate` rejected.
    model_is_mano: whether a hand model that is not called "mano" is MANO all the same.
    format_options: the format's own (`DataSetFormat.options`); None: their defaults.
    """

    format: str = option("hamer", "Whose loader is to read it.", choices=export_formats)
    split: str | None = option(None, "Of shards that have several.", metavar="NAME")
    include_rejected: bool = option(False, "Of annotations, also what `annotate` rejected.")
    model_is_mano: bool = option(
        False, "The hand model is MANO, whatever its file is called: parameters are marked as valid."
    )
    format_options: Any = None
    workers: int | None = None
    engine: str = "local"
    address: str | None = None

    def __post_init__(self) -> None:
        check_options(self)
        wanted = FORMATS[self.format].options
        if self.format_options is None:
            object.__setattr__(self, "format_options", wanted())
        elif not isinstance(self.format_options, wanted):
            raise ValueError(f"format_options must be {wanted.__name__} for --format {self.format}")
        check_engine(self.engine, self.workers, self.address)

    @classmethod
    def from_options(cls, **options: Any) -> ExportConfig:
        """Make a configuration of options by name, those of formats among them.

        Raises ValueError for one that belongs to another format and is not its default.
        """
        common = {each.name: options.pop(each.name) for each in fields(cls) if each.name in options}
        format = common.get("format", cls.format)
        own: dict[str, Any] = {}
        if format in FORMATS:
            known = {each.name for each, _ in options_of(FORMATS[format].options)}
            own = {name: options.pop(name) for name in known & options.keys()}
            _refuse_others(format, options)
        return cls(**common, format_options=FORMATS[format].options(**own) if own else None)

    def deciding(self) -> dict[str, Any]:
        """Names and values of all options that decide what is written; those of other formats have their defaults."""
        others = {name: default for _, name, _, default in _format_options()}
        return others | deciding_options(self) | deciding_options(self.format_options)


def _format_options() -> list[tuple[str, str, str, Any]]:
    """Format, name, flag and default of every option of a format."""
    return [
        (entry.name, each.name, described.flag or "--" + each.name.replace("_", "-"), each.default)
        for entry in FORMATS.values()
        for each, described in options_of(entry.options)
    ]


def _refuse_others(format: str, options: dict[str, Any]) -> None:
    for owner, name, flag, default in _format_options():
        if name in options and options.pop(name) != default:
            raise ValueError(f"{flag} is for --format {owner}, not {format}")
    if options:
        raise TypeError(f"export has no option {next(iter(options))!r}")
