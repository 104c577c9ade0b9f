"""Shapes that no people have: own fits stay within three deviations, a data set's own are rejected at import."""

import json

import numpy as np
import orjson
import pytest
import torch
from support.data_sets import install_mano, write_interhand, write_json
from support.hands import natural_poses

from handgen.hand.model import HandPose
from handgen.hand.model_files import MOST_BETA
from handgen.io.annotations import Annotations
from handgen.stages.import_ import stage
from handgen.stages.import_.config import ImportConfig
from handgen.stages.import_.model_fitting import fit_keypoints
from handgen.stages.validate import stage as validate


@pytest.mark.parametrize("people", [[None] * 4, ["a"] * 4])
def test_fitted_betas_stay_within_what_people_have_and_the_pose_makes_up_for_it(hand, rng, people):
    pose = natural_poses(hand, 4, rng)
    betas = torch.zeros(10, dtype=torch.float64)
    betas[0] = 6.0  # a third longer than people's: without a limit the fit takes five or more
    far = HandPose(pose.rotations, pose.translation, betas.expand(4, 10))
    points = hand(far).keypoints.numpy()
    found = fit_keypoints(hand, points, people)
    assert float(found.betas.abs().max()) <= MOST_BETA
    assert float(found.betas[:, 0].min()) == pytest.approx(MOST_BETA)
    off_mm = 1e3 * np.linalg.norm(hand(found).keypoints.numpy() - points, axis=-1).mean()
    assert off_mm < 15  # a hand 15 % too short, put in its middle


def test_ordinary_shapes_are_fitted_as_before(hand, rng):
    pose = natural_poses(hand, 3, rng)
    found = fit_keypoints(hand, hand(pose).keypoints.numpy(), [None] * 3)
    assert 1e3 * np.linalg.norm(hand(found).keypoints.numpy() - hand(pose).keypoints.numpy(), axis=-1).mean() < 1


@pytest.fixture
def far_set(tmp_path, monkeypatch):
    """InterHand2.6M's files in which one hand's shape is of no person."""
    install_mano(monkeypatch, tmp_path)
    root = tmp_path / "InterHand2.6M"
    write_interhand(root)
    path = root / "annotations" / "val" / "InterHand2.6M_val_MANO_NeuralAnnot.json"
    document = orjson.loads(path.read_bytes())
    document["0"]["0"]["left"]["shape"][3] = 3.39
    write_json(path, document)
    return root


def test_a_data_sets_shapes_of_no_people_are_rejected_and_the_rest_is_valid(far_set, tmp_path):
    report = stage.run(far_set, tmp_path / "out", ImportConfig("interhand", workers=1, chunk_frames=2))
    assert report.rejected == {"implausible shape": 1}
    assert any("their hands are rejected" in note for note in report.notes)
    rejected = [record for _, record in Annotations(tmp_path / "out") if not record.accepted]
    assert [(record.frame, record.side) for record in rejected] == [(0, "left")]
    found = validate.run(tmp_path / "out", workers=1)
    kinds = {finding.kind for finding in found.findings.kept}
    assert "betas" not in kinds, json.dumps([finding.what for finding in found.findings.kept])
