"""Options of the export stage. Imports nothing heavy, so that the command line is made from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from handgen.options import REQUIRED, check_options, option
from handgen.runtime.engines import engine_option, engine_options, workers_option

EXPORT_FORMATS = ("hamer", "freihand", "coco", "interhand")


@dataclass(frozen=True)
class ExportConfig:
    """Options of `export`."""

    format: str = option(REQUIRED, "Whose loader is to read it.", choices=EXPORT_FORMATS)
    split: str | None = option(None, "Of shards that have several.", metavar="NAME")
    mirror_left: bool = option(False, "freihand: make right hands of left ones, pictures, keypoints and parameters.")
    wholebody: bool = option(False, "coco: one annotation per picture, as COCO-WholeBody has it.")
    segmentation: str = option("rle", "coco: exact masks, or outlines.", choices=("rle", "polygon"))
    model_is_mano: bool = option(
        False, "The hand model is MANO, whatever its file is called: parameters are marked as valid."
    )
    include_rejected: bool = option(False, "Of annotations, also what `annotate` rejected.")
    workers: int | None = workers_option(any_engine=True)
    engine: str = engine_option()
    engine_options: Any = engine_options()

    def __post_init__(self) -> None:
        check_options(self)
        for name, format in (("mirror_left", "freihand"), ("wholebody", "coco")):
            if getattr(self, name) and self.format != format:
                raise ValueError(f"--{name.replace('_', '-')} is for --format {format}, not {self.format}")
        if self.segmentation != "rle" and self.format != "coco":
            raise ValueError(f"--segmentation is for --format coco, not {self.format}")
