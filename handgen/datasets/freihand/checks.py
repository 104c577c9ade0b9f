"""Checks of FreiHAND: its labels, and uv_root and scale, by which loaders place the hand in the camera."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float

from handgen.datasets import reader as base
from handgen.datasets.checks import CheckContext, SplitCheck, check_splits
from handgen.datasets.freihand import layout
from handgen.datasets.freihand.layout import SHAPES
from handgen.datasets.freihand.reader import FreihandReader
from handgen.errors import HandgenError
from handgen.label_checks.evidence import Fault
from handgen.label_checks.findings import Checked
from handgen.storage.json_stream import list_entries

ROOT = "freihand root"
_OFF_M = 0.005  # as the formula gives with both focal lengths 1 % apart and the root 10 cm beside the axis, and more
ABOUT = {ROOT: f"uv_root and scale put keypoint 9 within {1000 * _OFF_M:g} mm of where xyz has it"}


def check(root: Path, context: CheckContext) -> Checked:
    """Check all splits that have labels: FreiHAND gives its evaluation without."""
    there = layout.splits_in(root)
    labelled = [split for split in there if (root / layout.labels_file(split, "xyz")).is_file()]
    notes = [
        f"{split} has no {layout.labels_file(split, 'xyz')}: there are no labels to check"
        for split in there
        if labelled and split not in labelled
    ]
    return check_splits(root, FreihandReader.format, FreihandReader, labelled or there, context, _RootCheck, notes)


class _RootCheck(SplitCheck):
    """Compares mano.json with xyz.json."""

    def __init__(self, root: Path, split: str) -> None:
        super().__init__()
        self._paths = {name: root / layout.labels_file(split, name) for name in ("K", "xyz", "mano")}

    def finish(self) -> None:
        """Compare entry by entry. A file that cannot be read is left to the reader to report."""
        if not all(path.is_file() for path in self._paths.values()):
            return
        try:
            for number, entries in enumerate(zip(*map(list_entries, self._paths.values()), strict=False)):
                k, xyz, mano = (
                    base.numbers(entry.value, SHAPES[name], name)
                    for entry, name in zip(entries, self._paths, strict=True)
                )
                self.findings.looked_at[ROOT] += 1
                fault = root_fault(k, xyz[layout.ROOT], mano[0, layout.UV_ROOT], float(mano[0, layout.SCALE]))
                self.findings.add_fault(ROOT, f"{self._paths['mano']}, entry {number}", fault)
        except HandgenError:
            return


def root_fault(
    k: Float[np.ndarray, "3 3"], keypoint_m: Float[np.ndarray, " 3"], uv_root: Float[np.ndarray, " 2"], scale: float
) -> Fault | None:
    """Find what keeps uv_root (pixels) and scale (pixels per metre) from giving keypoint 9 (camera frame)."""
    if scale <= 0:
        return Fault(f"scale is {scale:g}", "write the mean focal length by the depth of keypoint 9")
    off_m = layout.root_from_orthographic(k, uv_root, scale) - keypoint_m
    if (off := float(np.linalg.norm(off_m))) <= _OFF_M:
        return None
    what = f"uv_root and scale put keypoint 9 {1000 * off:.3g} mm from where xyz has it"
    if abs(off_m[2]) <= _OFF_M:
        return Fault(what, "write the pixel of keypoint 9 as uv_root")
    if keypoint_m[2] and abs(scale * layout.focal_px(k) / keypoint_m[2] - 1) < _OFF_M:
        what += ": scale is z / f"
    return Fault(what, "write the mean focal length by the depth of keypoint 9 as scale")
