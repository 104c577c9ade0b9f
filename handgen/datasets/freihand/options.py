"""Options of exports in FreiHAND's format."""

from __future__ import annotations

from dataclasses import dataclass

from handgen.options import check_options, option


@dataclass(frozen=True)
class FreihandOptions:
    """Options of an export in FreiHAND's format, which knows right hands only."""

    mirror_left: bool = option(False, "make right hands of left ones, pictures, keypoints and parameters.")

    def __post_init__(self) -> None:
        check_options(self)
