"""For each way to spoil a data set: `validate` names it, and nothing before it."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.annotations import write_annotations
from support.cameras import ring
from support.data_sets import write_freihand, write_interhand
from support.export_sets import pictures_of, write_coco, write_hamer
from support.mutated_exports import EXPORTS
from support.mutated_sets import ANNOTATIONS, CALIBRATIONS
from support.mutated_shards import SHARDS

from handgen.datasets.coco import checks as coco
from handgen.datasets.freihand import checks as freihand
from handgen.datasets.hamer import checks as hamer
from handgen.datasets.interhand import checks as interhand
from handgen.geometry.camera import Rig
from handgen.geometry.rigid import Rigid
from handgen.io.annotations import Annotations
from handgen.io.calibration_files.handgen_json import save_calibration
from handgen.label_checks.checks import CHECKS, SET_CHECKS
from handgen.media import images
from handgen.stages.synthesize import stage
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.stages.validate.cameras import ABOUT
from handgen.stages.validate.stage import run

DOCUMENTED = Path(__file__).parents[2] / "docs" / "validation.md"


@pytest.fixture(scope="module")
def annotations(tmp_path_factory) -> Path:
    """With detections a pixel off, as a detector has them."""
    root = write_annotations(tmp_path_factory.mktemp("made") / "annotations", frames=3, cameras=3, accept_all=True)
    rig, rng = Annotations(root).rig, np.random.default_rng(0)
    for path in (root / "chunks").glob("*.jsonl"):
        documents = [json.loads(line) for line in path.read_text().splitlines()]
        for document in documents:
            for view in document["views"]:
                pixels, _ = rig[view["camera"]].project(np.array(document["keypoints_world_m"]))
                seen = np.column_stack([pixels + rng.normal(size=pixels.shape), np.ones(21)])
                view["detected_px"] = np.round(seen, 3).tolist()
        path.write_text("".join(json.dumps(document) + "\n" for document in documents))
    return root


@pytest.fixture(scope="module")
def shards(annotations, tmp_path_factory) -> Path:
    """Flat hands before calm pictures: edges are the votes here, and eighteen flat hands have few."""
    root = tmp_path_factory.mktemp("shards")
    rng, (out, pictures) = np.random.default_rng(0), (root / "made", root / "pictures")
    for i in range(6):
        images.write_png(pictures / f"{i}.png", rng.integers(90, 150, (120, 120, 3), dtype=np.uint8))
    config = SynthesizeConfig(samples=18, size=96, samples_per_shard=9, workers=1, seed=3)
    stage.run(annotations, out, pictures, config)
    return out


@pytest.fixture(scope="module")
def more_pictures(annotations, tmp_path_factory):
    """Enough for votes over hands in 2D."""
    out = tmp_path_factory.mktemp("more") / "made"
    config = SynthesizeConfig(samples=36, size=96, workers=1, seed=3, hand_share=(0.5, 0.6), shift_share=0.05)
    stage.run(annotations, out, None, config)
    return pictures_of(out)


@pytest.fixture(scope="module")
def calibration(tmp_path_factory) -> Path:
    """In the world of the corner of a room."""
    root = tmp_path_factory.mktemp("calibration")
    cameras = ring(8).cameras
    world_from_corner = Rigid(cv2.Rodrigues(np.array([2.0, 0.5, -0.4]))[0], np.array([1.5, 0.4, -2.0]))
    cameras = [replace(camera, cam_from_world=camera.cam_from_world @ world_from_corner) for camera in cameras]
    save_calibration(root / "calibration.json", Rig(tuple(cameras)))
    return root


def assert_found(root: Path, check: str, says: str) -> None:
    findings = run(root, workers=1).findings
    assert findings.kept, "nothing was found"
    first = findings.kept[0]
    assert (first.kind, says in f"{first.what}; {first.fix}") == (check, True), findings.kept[:3]


def assert_nothing_found(root: Path, needed: set[str]) -> None:
    """needed: checks that must have looked at something."""
    report = run(root, workers=1)
    assert report.valid, report.findings.kept
    looked_at = {name for name, count, _ in report.checks if count}
    assert looked_at >= needed, needed - looked_at


def checks_of(mutations) -> set[str]:
    return {mutation.check for mutation in mutations} - {"rotation"}


def test_nothing_is_found_in_what_was_not_changed(annotations, shards, calibration, more_pictures, tmp_path):
    for root, mutations in ((annotations, ANNOTATIONS), (shards, SHARDS), (calibration, CALIBRATIONS)):
        assert_nothing_found(root, checks_of(mutations))
    write_freihand(tmp_path / "FreiHAND")
    write_interhand(tmp_path / "InterHand2.6M")
    for name in ("FreiHAND", "InterHand2.6M"):
        assert_nothing_found(tmp_path / name, {check for done, _, check, _ in EXPORTS if done.startswith(name)})
    for name, write in (("HaMeR", write_hamer), ("COCO", write_coco)):
        needed = {check for done, _, check, _ in EXPORTS if done.startswith(name)}
        assert_nothing_found(write(tmp_path / name, more_pictures), needed)


@pytest.mark.parametrize("mutation", SHARDS, ids=lambda mutation: mutation.done)
def test_what_was_done_to_shards_is_named(shards, tmp_path, mutation):
    root = Path(shutil.copytree(shards, tmp_path / "shards"))
    mutation.change(root)
    assert_found(root, mutation.check, mutation.says)


@pytest.mark.parametrize("mutation", ANNOTATIONS, ids=lambda mutation: mutation.done)
def test_what_was_done_to_annotations_is_named(annotations, tmp_path, mutation):
    root = Path(shutil.copytree(annotations, tmp_path / "annotations"))
    mutation.change(root)
    assert_found(root, mutation.check, mutation.says)


@pytest.mark.parametrize("mutation", CALIBRATIONS, ids=lambda mutation: mutation.done)
def test_what_was_done_to_a_calibration_is_named(calibration, tmp_path, mutation):
    root = Path(shutil.copytree(calibration, tmp_path / "calibration"))
    mutation.change(root)
    assert_found(root, mutation.check, mutation.says)


@pytest.mark.parametrize(
    ("done", "write", "check", "says"), EXPORTS, ids=lambda value: value if " " in str(value) else ""
)
def test_what_was_done_to_an_export_is_named(more_pictures, tmp_path, done, write, check, says):
    assert_found(write(tmp_path / "export", more_pictures), check, says)


def test_the_documentation_lists_every_check_as_it_is():
    text = DOCUMENTED.read_text()
    told = {name: check.about for name, check in (CHECKS | SET_CHECKS).items()}
    told |= ABOUT | coco.ABOUT | freihand.ABOUT | interhand.ABOUT | hamer.ABOUT
    for name, about in told.items():
        assert f"| `{name}` | {about} |" in text


def test_the_documentation_lists_every_mutation_and_its_check():
    found = re.findall(r"^\| ([^|]+) \| `([^|]+)` \|", DOCUMENTED.read_text(), re.MULTILINE)
    tested = [(m.done, m.check) for m in (*SHARDS, *ANNOTATIONS, *CALIBRATIONS)]
    tested += [(done, check) for done, _, check, _ in EXPORTS]
    assert found == tested and len(tested) >= 25
