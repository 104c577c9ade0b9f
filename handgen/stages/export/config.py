"""Options of the export stage. Imports nothing heavy, so that the command line is made from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from handgen.datasets.registry import FORMATS, export_formats
from handgen.options import REQUIRED, check_options, chosen_options, deciding_options, option, options_of_parts
from handgen.runtime.engines import engine_option, engine_options, workers_option


@dataclass(frozen=True)
class ExportConfig:
    """Options of `export`."""

    format: str = option(REQUIRED, "Whose loader is to read it.", choices=export_formats)
    split: str | None = option(None, "Of shards that have several.", metavar="NAME")
    format_options: Any = chosen_options("format", FORMATS)
    model_is_mano: bool = option(
        False, "The hand model is MANO, whatever its file is called: parameters are marked as valid."
    )
    include_rejected: bool = option(False, "Of annotations, also what `annotate` rejected.")
    workers: int | None = workers_option(any_engine=True)
    engine: str = engine_option()
    engine_options: Any = engine_options()

    def __post_init__(self) -> None:
        check_options(self)


def recorded_options(config: ExportConfig) -> dict[str, Any]:
    """The options that decide what is written, as run.json has them: side by side, other formats' at their defaults."""
    others = {name: field.default for name, field, *_ in options_of_parts(FORMATS)}
    own = deciding_options(config)
    return others | own.pop("format_options", {}) | own
