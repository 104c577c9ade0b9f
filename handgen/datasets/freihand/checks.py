"""uv_root and scale of FreiHAND's mano.json, by which loaders place the hand in the camera.

Source: github.com/lmb-freiburg/freihand, `utils/fh_utils.py` (`recover_root`): keypoint 9 is at
((uv_root - principal point), f) / scale, f being the mean of both focal lengths; so scale is f / z.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from jaxtyping import Float

from handgen.datasets import reader as base
from handgen.errors import HandgenError
from handgen.hand.skeleton import KEYPOINT_COUNT, MIDDLE_MCP
from handgen.label_checks.evidence import Fault
from handgen.label_checks.findings import Findings
from handgen.storage.json_stream import list_entries

SPLITS = ("training", "evaluation")
ROOT = "freihand root"
_OFF_M = 0.005  # as the formula gives with both focal lengths 1 % apart and the root 10 cm beside the axis, and more
LAYOUT = {ROOT: f"uv_root and scale put keypoint 9 within {1000 * _OFF_M:g} mm of where xyz has it"}
_SHAPES = {"K": (3, 3), "xyz": (KEYPOINT_COUNT, 3), "mano": (1, 61)}


def labelled_splits(root: Path) -> tuple[list[str], list[str]]:
    """Splits that have labels, and notes of those that have none: FreiHAND gives its evaluation without."""
    there = [split for split in SPLITS if (root / f"{split}_K.json").is_file()]
    labelled = [split for split in there if (root / f"{split}_xyz.json").is_file()]
    if not labelled:
        return there, []
    return labelled, [f"{split} has no {split}_xyz.json: there are no labels to check" for split in there[:2]
                      if split not in labelled]  # fmt: skip


def check_root(findings: Findings, looked_at: Counter[str], root: Path, split: str) -> None:
    """Compare mano.json with xyz.json, entry by entry. What cannot be read is left to the reader to say."""
    paths = {name: root / f"{split}_{name}.json" for name in _SHAPES}
    if not all(path.is_file() for path in paths.values()):
        return
    try:
        for number, entries in enumerate(zip(*map(list_entries, paths.values()), strict=False)):
            k, xyz, mano = (
                base.numbers(entry.value, shape, name)
                for entry, (name, shape) in zip(entries, _SHAPES.items(), strict=True)
            )
            looked_at[ROOT] += 1
            if (fault := root_fault(k, xyz[MIDDLE_MCP], mano[0, 58:60], float(mano[0, 60]))) is not None:
                findings.add(ROOT, f"{paths['mano']}, entry {number}", fault.what, fault.next)
    except HandgenError:
        return


def root_fault(
    k: Float[np.ndarray, "3 3"], keypoint_m: Float[np.ndarray, " 3"], uv_root: Float[np.ndarray, " 2"], scale: float
) -> Fault | None:
    """Whether uv_root (pixels) and scale (pixels per metre) give keypoint 9 (camera frame)."""
    focal = (k[0, 0] + k[1, 1]) / 2
    if scale <= 0:
        return Fault(f"scale is {scale:g}", "write the mean focal length by the depth of keypoint 9")
    off_m = np.array([*(uv_root - k[:2, 2]), focal]) / scale - keypoint_m
    if (off := float(np.linalg.norm(off_m))) <= _OFF_M:
        return None
    what = f"uv_root and scale put keypoint 9 {1000 * off:.3g} mm from where xyz has it"
    if abs(off_m[2]) <= _OFF_M:
        return Fault(what, "write the pixel of keypoint 9 as uv_root")
    if keypoint_m[2] and abs(scale * focal / keypoint_m[2] - 1) < _OFF_M:
        what += ": scale is z / f"
    return Fault(what, "write the mean focal length by the depth of keypoint 9 as scale")
