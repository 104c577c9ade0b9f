"""The README's quick start, end to end: from rendered pixels to what a training script reads."""

import json

import pytest
import torch
from click.testing import CliRunner

from handgen.cli.main import main
from handgen.data import load_shards
from handgen.detect.mediapipe import networks
from handgen.hand.model import HandModel, HandPose


@pytest.mark.slow
def test_the_demo_ends_with_shards_to_train_on(tmp_path):
    if len(networks.installed()) < len(networks.NETWORKS):
        pytest.skip("the keypoint networks are not in the cache; run `handgen models fetch`")
    out = tmp_path / "demo"
    result = CliRunner().invoke(main, ["demo", str(out), "--workers", "1", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)
    assert (out / "contact_sheet.png").is_file()
    models = [HandModel.load("open", side) for side in ("left", "right")]
    seen = 0
    for batch in load_shards(out / "shards", batch_size=16):
        points = batch["keypoints_3d"].double()
        homogeneous = torch.einsum("nij,nkj->nki", batch["camera"].double(), points)
        off = homogeneous[..., :2] / homogeneous[..., 2:] - batch["keypoints_2d"].double()
        assert off.abs().max() < 0.01  # px: float32 in the batch
        for i, right in enumerate(batch["side"].tolist()):
            pose = HandPose(
                batch["pose"][i].double().reshape(1, 16, 3),
                batch["translation"][i].double()[None],
                batch["betas"][i].double()[None],
            )
            error_mm = (models[int(right)](pose).keypoints[0] - points[i]).norm(dim=-1).max() * 1e3
            assert error_mm < 0.1
        inside = batch["mask"].reshape(len(points), -1).any(1)
        assert inside.all()
        seen += len(points)
    assert seen == json.loads((out / "shards" / "manifest.json").read_text())["samples"] > 60
