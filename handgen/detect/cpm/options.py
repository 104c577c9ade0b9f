"""Options of the detector `cpm`."""

from __future__ import annotations

from dataclasses import dataclass

from handgen.options import REQUIRED, check_options, option


@dataclass(frozen=True, kw_only=True)
class CpmOptions:
    """The place of the network. Its weights decide the output, and the detector's fingerprint says that."""

    weights: str = option(
        REQUIRED,
        "hand3d's network, posenet3d-rhd-stb-slr-finetuned.pickle.",
        kind="file",
        metavar="FILE",
        decides_output=False,
    )

    def __post_init__(self) -> None:
        check_options(self)
