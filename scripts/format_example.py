"""One sample of shards as each format has it: the table of the worked example in docs/formats.md.

    python scripts/format_example.py

Renders a small capture, makes samples of it, exports them and follows the first right hand: the tip of its index
finger, its orientation, the bend of that finger's first joint and its box.
"""

from __future__ import annotations

import json
import pickle
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from handgen.datasets.registry import export_formats
from handgen.runtime import reproducibility
from handgen.stages.export import stage as export
from handgen.stages.export.config import ExportConfig
from handgen.stages.simulate import stage as simulate
from handgen.stages.simulate.config import SimulateConfig
from handgen.stages.synthesize import stage as synthesize
from handgen.stages.synthesize.config import SynthesizeConfig

TIP, FIRST_JOINT = 8, slice(3, 6)  # of the index finger: keypoint, numbers of the pose
INTERHAND_TIP = 4


def numbers(values: Iterable[float], digits: int = 4) -> str:
    """`1.2, -3.45`: rounded, so that the last digits of two processors do not differ."""
    return ", ".join(f"{round(float(value), digits) + 0.0:g}" for value in np.ravel(list(values)))


def make(folder: Path) -> dict[str, Any]:
    """Shards and their exports; the labels of the first right hand that is alone."""
    simulated = simulate.run(folder / "capture", SimulateConfig(views=2, frames=2, size=(320, 240), seed=7))
    config = SynthesizeConfig(samples=6, samples_per_shard=6, rotation_deg=0, augment="none", occluder_probability=0)
    synthesize.run(simulated.truth, folder / "shards", None, config)
    for name in export_formats():
        export.run(folder / "shards", folder / name, ExportConfig(format=name, workers=1))
    (path,) = (folder / "shards").glob("*.tar")
    with tarfile.open(path) as tar:
        documents = [json.loads(tar.extractfile(m).read()) for m in tar if m.name.endswith(".json")]  # type: ignore
    return next(document for document in documents if document["side"] == "right" and not document["other_hand"])


def rows(folder: Path, sample: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Format, what, and the value as it lies there."""
    number, key, pose = sample["index"], sample["key"], sample["hand"]["pose"]
    yield "shards", f"{key}.json: `keypoints_2d[{TIP}]` (px)", numbers(sample["keypoints_2d"][TIP])
    yield "shards", f"`keypoints_3d[{TIP}]` (m, camera)", numbers(sample["keypoints_3d"][TIP])
    yield "shards", "`hand.pose[0:3]` (orientation, camera)", numbers(pose[:3])
    yield "shards", "`hand.pose[3:6]` (index, first joint, full)", numbers(pose[FIRST_JOINT])
    yield "shards", "`box_px`", numbers(sample["box_px"])
    with tarfile.open(folder / "hamer" / "000000.tar") as tar:
        (entry,) = pickle.loads(tar.extractfile(f"{key}.data.pyd").read())  # type: ignore[union-attr]
    yield "hamer", f"{key}.data.pyd: `[0]['keypoints_2d'][{TIP}]`", numbers(entry["keypoints_2d"][TIP])
    yield "hamer", f"`[0]['keypoints_3d'][{TIP}]`", numbers(entry["keypoints_3d"][TIP])
    yield "hamer", "`[0]['hand_pose'][0:6]`", numbers(entry["hand_pose"][:6])
    yield "hamer", "`[0]['center']`, `[0]['scale']`", numbers([*entry["center"], *entry["scale"]])
    place = _freihand_index(folder, sample)
    freihand = {name: _json(folder / "freihand" / f"training_{name}.json")[place] for name in ("K", "xyz", "mano")}
    pixel = np.array(freihand["K"]) @ freihand["xyz"][TIP]
    yield "freihand", f"training_xyz.json: `[{place}][{TIP}]`", numbers(freihand["xyz"][TIP])
    yield "freihand", "the same by training_K.json (px)", numbers(pixel[:2] / pixel[2])
    yield "freihand", f"training_mano.json: `[{place}][0][0:6]` (mean taken off)", numbers(freihand["mano"][0][:6])
    yield "freihand", f"`[{place}][0][58:61]` (uv_root, scale)", numbers(freihand["mano"][0][58:])
    document = _json(folder / "coco" / "annotations" / "train.json")
    hand = next(a for a in document["annotations"] if a["id"] == 2 * number + 1)
    yield "coco", f"train.json: `keypoints[{3 * TIP}:{3 * TIP + 3}]`", numbers(hand["keypoints"][3 * TIP : 3 * TIP + 3])
    yield "coco", "`bbox`", numbers(hand["bbox"])
    stem = folder / "interhand" / "annotations" / "train" / "InterHand2.6M_train"
    joints, mano = (_json(Path(f"{stem}_{name}.json"))["0"][str(number)] for name in ("joint_3d", "MANO_NeuralAnnot"))
    yield (
        "interhand",
        f"joint_3d: `['0']['{number}']['world_coord'][{INTERHAND_TIP}]` (mm, world)",
        numbers(joints["world_coord"][INTERHAND_TIP], 2),
    )
    yield (
        "interhand",
        "MANO_NeuralAnnot: `['right']['pose'][0:6]` (world, mean taken off)",
        numbers(mano["right"]["pose"][:6]),
    )


def _json(path: Path) -> Any:
    return json.loads(path.read_text())


def _freihand_index(folder: Path, sample: dict[str, Any]) -> int:
    """FreiHAND has right hands alone, so its numbers are not the samples'."""
    found = _json(folder / "freihand" / "training_xyz.json")
    return next(i for i, xyz in enumerate(found) if np.abs(np.subtract(xyz, sample["keypoints_3d"])).max() < 1e-6)


def table() -> str:
    """The table, in Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        sample = make(Path(folder))
        lines = [f"| {name} | {what} | {value} |" for name, what, value in rows(Path(folder), sample)]
    return "\n".join(["| format | where | value |", "| --- | --- | --- |", *lines])


if __name__ == "__main__":
    reproducibility.pin()
    print(table())
