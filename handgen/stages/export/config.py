"""Options of the export stage. Imports nothing heavy, so that the command takes its defaults from here."""

from __future__ import annotations

from dataclasses import dataclass

from handgen.runtime.engine import check_engine

EXPORT_FORMATS = ("hamer", "freihand", "coco", "interhand")


@dataclass(frozen=True)
class ExportConfig:
    """Options of `export`. Everything but `workers`, `engine` and `address` decides what is written.

    format: one of `EXPORT_FORMATS`. split: whose samples, where shards have several.
    include_rejected: of annotations, also what `annotate` rejected.
    mirror_left: of freihand, which knows right hands only: left ones become right ones, pictures and all.
    wholebody: of coco: one annotation per picture, as in COCO-WholeBody, instead of one per hand.
    segmentation: of coco: "rle", exact, or "polygon".
    model_is_mano: whether a hand model that is not called "mano" is MANO all the same.
    """

    format: str = "hamer"
    split: str | None = None
    include_rejected: bool = False
    mirror_left: bool = False
    wholebody: bool = False
    segmentation: str = "rle"
    model_is_mano: bool = False
    workers: int | None = None
    engine: str = "local"
    address: str | None = None

    def __post_init__(self) -> None:
        if self.format not in EXPORT_FORMATS:
            raise ValueError(f"format must be one of {', '.join(EXPORT_FORMATS)}, got {self.format!r}")
        if self.segmentation not in ("rle", "polygon"):
            raise ValueError(f"segmentation must be rle or polygon, got {self.segmentation!r}")
        for name, format in (("mirror_left", "freihand"), ("wholebody", "coco")):
            if getattr(self, name) and self.format != format:
                raise ValueError(f"--{name.replace('_', '-')} is for --format {format}, not {self.format}")
        if self.segmentation != "rle" and self.format != "coco":
            raise ValueError(f"--segmentation is for --format coco, not {self.format}")
        check_engine(self.engine, self.workers, self.address)
