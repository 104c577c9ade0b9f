"""Options of the detector `keypoints`."""

from __future__ import annotations

from dataclasses import dataclass

from handgen.options import REQUIRED, check_options, option


@dataclass(frozen=True, kw_only=True)
class KeypointFilesOptions:
    """The place of the keypoints. These decide the output, and the detector's fingerprint says that."""

    keypoints: str = option(
        REQUIRED,
        "files of handgen, OpenPose, MMPose or DeepLabCut, one file or folder per camera; see docs/keypoints.md.",
        kind="location",
        metavar="PATH",
        decides_output=False,
    )

    def __post_init__(self) -> None:
        check_options(self)
