"""`handgen import` reads again what `handgen export` wrote: two programs written from one description."""

import numpy as np
import pytest
from support.annotations import write_annotations
from support.export import decoded, export, true_vertices, vertices

from handgen.datasets.freihand.reader import FreihandReader
from handgen.datasets.interhand.reader import InterhandReader
from handgen.hand.model_files import load_hand
from handgen.io.annotations import Annotations
from handgen.stages.import_ import stage as imports
from handgen.stages.import_.config import ImportConfig
from handgen.stages.synthesize import stage as synthesize
from handgen.stages.synthesize.config import SynthesizeConfig

MM = 1000


@pytest.mark.parametrize(("format", "reader"), [("freihand", FreihandReader), ("interhand", InterhandReader)])
def test_every_hand_comes_back(format, reader, shards_to_export, samples_to_export, tmp_path):
    options = {"mirror_left": True} if format == "freihand" else {}
    export(shards_to_export, tmp_path / "out", format, **options)
    models = {side: load_hand("open", side) for side in ("left", "right")}
    found = {image.frame: image for image in reader(tmp_path / "out", None, models)}
    assert len(found) == len(samples_to_export)
    for number, sample in enumerate(samples_to_export):
        image = found[number]
        mirrored = format == "freihand" and sample.labels["side"] == "left"
        assert (decoded(image.image) == decoded(sample.jpeg)).all() or mirrored
        mirror = np.array([-1, 1, 1]) if mirrored else 1
        truth = {("right" if mirrored else hand["side"]): hand for hand in sample.named}
        hands = {hand.side: hand for hand in image.hands}
        assert hands.keys() == truth.keys() if format == "interhand" else len(hands) == 1
        for side, hand in hands.items():
            if mirrored:
                expected = sample.labels
            else:
                expected = truth[side]
                assert np.abs(hand.keypoints_px - expected["keypoints_2d"]).max() < 0.01
            assert np.abs(hand.keypoints_cam_m * mirror - expected["keypoints_3d"]).max() * MM < 2e-3
            given = hand.parameters
            mesh = vertices(side, given.pose, given.betas, given.translation_m) * mirror
            assert np.abs(mesh - true_vertices(expected)).max() * MM < 0.1


@pytest.mark.slow
def test_an_export_of_annotations_becomes_annotations_again(tmp_path):
    annotations = write_annotations(tmp_path / "a", frames=3, cameras=2, accept_all=True)
    export(annotations, tmp_path / "export", "interhand")
    report = imports.run(
        tmp_path / "export", tmp_path / "again", ImportConfig(format="interhand", hand_model="open", workers=1)
    )
    assert report.to_json()["records"] == {"left": 3, "right": 3}
    before = {(record.frame, record.side): record for _, record in Annotations(annotations)}
    for _, record in Annotations(tmp_path / "again"):
        expected = before[record.frame, record.side]
        assert np.abs(record.keypoints_world_m - expected.keypoints_world_m).max() * MM < 0.05
    made = synthesize.run(tmp_path / "again", tmp_path / "shards", None, SynthesizeConfig(samples=8, workers=1))
    assert made.samples == 8
