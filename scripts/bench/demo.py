"""Run the demo and check every sample it makes: schema, reprojection, parameters against keypoints.

python scripts/bench/demo.py [--json]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from handgen.hand.model import HandModel, single_pose
from handgen.io import shards


def check(root: Path) -> dict[str, float]:
    """Figures of a shards directory. Reading validates: a sample that does not fit its schema stops the check."""
    manifest = shards.read_manifest(root)
    models = {side: HandModel.load("open", side) for side in ("left", "right")}
    reprojection, regeneration, samples = 0.0, 0.0, 0
    for shard in manifest["shards"]:
        path = root / shard["name"]
        for key, group in shards.read_groups(path):
            sample = shards.read_document(path, key, group)
            points = np.array(sample["keypoints_3d"])
            projected = points @ np.array(sample["camera"]["intrinsics"]).T
            off = projected[:, :2] / projected[:, 2:] - np.array(sample["keypoints_2d"])
            hand = sample["hand"]
            posed = models[sample["side"]](single_pose(hand["pose"], hand["translation_m"], hand["betas"]))
            reprojection = max(reprojection, float(np.abs(off).max()))
            regeneration = max(regeneration, float(np.abs(posed.keypoints[0].numpy() - points).max()) * 1e3)
            samples += 1
    return {"samples": samples, "reprojection_px": reprojection, "regeneration_mm": regeneration}


def main() -> None:
    """Run, check, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one flat JSON object instead of a table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        command = [sys.executable, "-m", "handgen.cli.main", "demo", folder + "/demo"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        figures = {"demo_s": time.perf_counter() - began} | check(Path(folder) / "demo" / "shards")
    if options.json:
        print(json.dumps({name: round(value, 6) for name, value in figures.items()}))
        return
    for name, what in (
        ("demo_s", "handgen demo, s (promised: < 180 on 2 cores)"),
        ("samples", "samples, every one valid by its schema"),
        ("reprojection_px", "largest difference of projected 3D and 2D keypoints, px (promised: 0.5)"),
        ("regeneration_mm", "largest difference of the model's and the sample's 3D keypoints, mm"),
    ):
        print(f"{what:75} {figures[name]:10.4f}")


if __name__ == "__main__":
    main()
