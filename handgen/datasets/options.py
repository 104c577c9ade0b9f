"""Options of exports, by format. Imports nothing heavy, so that the command line is made from here."""

from __future__ import annotations

from dataclasses import dataclass

from handgen.options import check_options, option


@dataclass(frozen=True)
class FreihandOptions:
    """Options of an export in FreiHAND's format, which knows right hands only."""

    mirror_left: bool = option(False, "make right hands of left ones, pictures, keypoints and parameters.")

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class CocoOptions:
    """Options of an export in COCO's format."""

    wholebody: bool = option(False, "one annotation per picture, as COCO-WholeBody has it.")
    segmentation: str = option("rle", "exact masks, or outlines.", choices=("rle", "polygon"))

    def __post_init__(self) -> None:
        check_options(self)
