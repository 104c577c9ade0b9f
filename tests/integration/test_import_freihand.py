"""FreiHAND's files -> annotations, on a small set that is written as FreiHAND's code reads it."""

import json

import numpy as np
import orjson
import pytest
from click.testing import CliRunner
from support.annotations import open_hand
from support.data_sets import (
    SIZE,
    change_json,
    freihand_with_mano,
    install_mano,
    picture,
    write_freihand,
    write_jpeg,
    write_json,
)

from handgen.cli.main import main
from handgen.datasets.freihand.reader import FreihandReader
from handgen.errors import HandgenError
from handgen.geometry.camera import Camera
from handgen.hand.model import HandModel, single_pose
from handgen.hand.model_files import load_hand
from handgen.io.annotations import Annotations
from handgen.segmentation.segment import forearm_mask
from handgen.stages.import_ import stage
from handgen.stages.import_.config import ImportConfig
from handgen.stages.synthesize import stage as synthesize
from handgen.stages.synthesize.config import SynthesizeConfig

CONFIG = ImportConfig("freihand", workers=1)


@pytest.fixture
def data_set(tmp_path, monkeypatch):
    """Return the set's folder and its truth."""
    return freihand_with_mano(monkeypatch, tmp_path)


def records_of(out):
    return [record for _, record in Annotations(out)]


def test_hands_are_where_they_were_drawn(data_set, tmp_path):
    root, truths = data_set
    report = stage.run(root, tmp_path / "out", CONFIG)
    annotations = Annotations(tmp_path / "out")
    records = records_of(tmp_path / "out")
    model = HandModel.load("mano", "right")
    assert (report.hand_model, report.parameters) == ("mano", "taken over")
    assert [record.frame for record in records] == [0, 1, 2, 3] and all(record.accepted for record in records)
    for record, truth in zip(records, truths, strict=True):
        betas = annotations.betas[record.subject]
        posed = model(single_pose(record.pose, record.translation_m, betas))
        # Records have six decimals, and the JSON all digits.
        assert np.abs(record.keypoints_world_m - truth.keypoints).max() < 0.05e-3
        assert np.abs(posed.vertices[0].numpy() - truth.vertices).max() < 0.1e-3
    assert report.residual_mm[1] == pytest.approx(2 * 2 / 21, abs=0.01)  # two tips are 2 mm elsewhere, by convention


def test_cutouts_are_the_green_screen_pictures_with_the_data_sets_masks(data_set, tmp_path):
    root, truths = data_set
    stage.run(root, tmp_path / "out", CONFIG)
    annotations = Annotations(tmp_path / "out")
    for i, (chunk, record) in enumerate(annotations):
        (view,) = record.views
        full = annotations.rig[view.camera.name]
        assert full.size_px == SIZE and np.array_equal(full.cam_from_world.as_matrix(), np.eye(4))
        assert np.abs(full.intrinsics - [[388.9 + i, 0, 112], [0, 386.7 + i, 112], [0, 0, 1]]).max() < 1e-9
        left, top, *_ = view.box_px
        assert np.abs(full.cropped(left, top, *view.camera.size_px).intrinsics - view.camera.intrinsics).max() < 1e-6
        drawn = picture(Camera("camera", SIZE, full.intrinsics).cropped(*view.box_px), [truths[i]])
        cutout = annotations.cutout(chunk, view)
        shown = np.zeros(cutout.mask.shape, bool)
        shown[max(-top, 0) : 224 - top, max(-left, 0) : 224 - left] = True
        differs = (cutout.mask > 0) != (drawn[1][0] > 0)
        assert differs[shown].sum() < 0.02 * (cutout.mask > 0).sum()  # pixels of the edge, by the JPEG of the mask
        assert np.abs(cutout.image.astype(int) - drawn[0])[shown].mean() < 4  # two JPEGs; the other version is inverted
        assert view.mask_iou > 0.93 and view.screen == "green" and view.reprojection_px < 0.5


def test_the_keypoints_place_the_hand_better_than_the_scaled_orthographic_camera(data_set):
    """uv_root and scale give the root with one focal length for both axes; xyz does not need it."""
    root, truths = data_set
    reader = FreihandReader(root, models={"right": load_hand("mano", "right")})
    intrinsics, mano = (orjson.loads((root / f"training_{name}.json").read_bytes()) for name in ("K", "mano"))
    for i, moment in enumerate(reader.moments(0, 4)):
        (hand,) = moment.images[0].hands
        k = np.array(intrinsics[i])
        uv, scale = np.array(mano[i][0][58:60]), mano[i][0][60]
        by_camera = np.append(uv - k[:2, 2], (k[0, 0] + k[1, 1]) / 2) / scale
        off_by_camera_mm = 1e3 * np.linalg.norm(by_camera - truths[i].keypoints[9])
        off_mm = 1e3 * np.linalg.norm(hand.parameters.translation_m - truths[i].pose.translation[0].numpy())
        assert off_mm < 1e-6 and 0.005 < off_by_camera_mm < 0.5


def test_equal_betas_are_one_subject_and_nobody_is_named(data_set, tmp_path):
    root, truths = data_set
    report = stage.run(root, tmp_path / "out", CONFIG)
    manifest = Annotations(tmp_path / "out").manifest
    names = [record.subject for record in records_of(tmp_path / "out")]
    assert names[0] == names[1] and len(set(names)) == 3 == report.shapes and report.people == 0
    assert {entry["person"] for entry in manifest["subjects"].values()} == {"0"}
    assert manifest["subjects"][names[0]]["frames"] == 2
    assert any("who is who" in note for note in report.notes)


def test_synthesize_uses_it_and_takes_all_for_one_unknown_person(data_set, tmp_path):
    root, _ = data_set
    stage.run(root, tmp_path / "out", CONFIG)
    options = dict(samples=4, size=64, workers=1, augment="none")
    report = synthesize.run(tmp_path / "out", tmp_path / "shards", None, SynthesizeConfig(**options))
    assert report.samples == 4 and report.splits[0].subjects == 1
    with pytest.raises(HandgenError, match="1 subject cannot be divided"):
        two = SynthesizeConfig(**options, split="train=0.5,val=0.5")
        synthesize.run(tmp_path / "out", tmp_path / "shards2", None, two)


def test_without_mano_the_open_hand_is_fitted_and_that_is_said(tmp_path, monkeypatch):
    install_mano(monkeypatch, tmp_path, [])
    truths = write_freihand(tmp_path / "set", count=8)
    report = stage.run(tmp_path / "set", tmp_path / "out", CONFIG)
    assert (report.hand_model, report.parameters) == ("open", "fitted")
    assert any("models add" in note and "fitted" in note for note in report.notes)
    # The priors leave 0.4 mm, the two other fingertips pull by some more.
    assert 0 < report.residual_mm[0] < 1.5
    errors = [
        np.linalg.norm(record.keypoints_world_m - truth.keypoints, axis=1).mean()
        for record, truth in zip(records_of(tmp_path / "out"), truths, strict=True)
    ]
    assert np.median(errors) < 1.5e-3
    assert sum(report.accepted.values()) >= 7
    model = HandModel.load("open", "right")
    betas = Annotations(tmp_path / "out").betas
    for record in records_of(tmp_path / "out"):
        pose = single_pose(record.pose, record.translation_m, betas[record.subject])
        assert np.abs(model(pose).keypoints[0].numpy() - record.keypoints_world_m).max() < 2e-6


def test_a_mask_of_something_else_is_rejected_and_counted(data_set, tmp_path):
    root, _ = data_set
    mask = np.zeros((224, 224), np.uint8)
    mask[:60, :60] = 255
    write_jpeg(root / "training" / "mask" / "00000002.jpg", mask)
    report = stage.run(root, tmp_path / "out", CONFIG)
    assert report.rejected == {"no view with a good mask": 1} and report.accepted == {"right": 3}
    assert records_of(tmp_path / "out")[2].views[0].reasons == ("mask disagrees",)


def test_without_masks_they_are_made_of_the_pixels(data_set, tmp_path):
    root, _ = data_set
    for path in (root / "training" / "mask").iterdir():
        path.unlink()
    report = stage.run(root, tmp_path / "out", CONFIG)
    assert report.accepted == {"right": 4} and report.mask_iou > 0.9


def test_the_evaluation_split_is_read_when_asked_for(data_set, tmp_path):
    root, _ = data_set
    truths = write_freihand(root, count=2, seed=5, split="evaluation")
    report = stage.run(root, tmp_path / "out", ImportConfig("freihand", split="evaluation", limit=1, workers=1))
    (record,) = records_of(tmp_path / "out")
    assert report.split == "evaluation" and report.frames == 1
    assert np.abs(record.keypoints_world_m - truths[0].keypoints).max() < 0.05e-3


def test_an_interrupted_import_goes_on_and_gives_the_same_bytes(data_set, tmp_path):
    root, _ = data_set
    config = ImportConfig("freihand", chunk_frames=1, workers=1)
    out = tmp_path / "out"
    stage.run(root, out, config)
    files = {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and ".journal" not in path.parts}
    for name in ("manifest.json", "chunks/000002.jsonl", "imported/000003.json"):
        (out / name).unlink()
    kept = out / "chunks" / "000001.tar"
    before = kept.stat().st_mtime_ns
    assert stage.run(root, out, config).written_frames == 2
    assert {path: path.read_bytes() for path in files} == files and kept.stat().st_mtime_ns == before
    with pytest.raises(HandgenError, match="configuration.min_mask_iou"):
        stage.run(root, out, ImportConfig("freihand", chunk_frames=1, min_mask_iou=0.5, workers=1))


def test_any_number_of_workers_gives_the_same_bytes(data_set, tmp_path):
    root, _ = data_set
    contents = []
    for workers in (1, 2):
        out = tmp_path / f"out{workers}"
        stage.run(root, out, ImportConfig("freihand", chunk_frames=1, workers=workers))
        paths = [path for path in sorted(out.rglob("*")) if path.is_file() and ".journal" not in path.parts]
        contents.append([(path.relative_to(out), path.read_bytes()) for path in paths])
    assert contents[0] == contents[1]


def test_the_command_says_what_was_done_and_what_comes_next(data_set, tmp_path):
    root, _ = data_set
    out = tmp_path / "out"

    def handgen(*arguments):
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    result = handgen("import", "--format", "freihand", root, "--out", out, "--workers", 1)
    assert result.exit_code == 0, result.output
    for expected in ("4 right", "taken over", "FreiHAND's terms", f"handgen synthesize {out}"):
        assert expected in result.output
    assert handgen("validate", out, "--digests").exit_code == 0
    assert "3 shapes of 1 subject" in handgen("inspect", out).output
    again = handgen("import", "--format", "freihand", root, "--out", out, "--workers", 1, "--json")
    assert json.loads(again.stdout)["written_frames"] == 0
    wrong = handgen("import", "--format", "freihand", tmp_path, "--out", tmp_path / "no")
    assert wrong.exit_code == 1 and "training_K.json" in wrong.output and "FreiHAND" in wrong.output
    assert not (tmp_path / "no").exists()


def test_a_hand_outside_the_picture_is_rejected_for_that(data_set, tmp_path):
    root, _ = data_set

    def aside(xyz):
        for point in xyz[2]:
            point[0] += 2  # metres

    change_json(root / "training_xyz.json", aside)
    report = stage.run(root, tmp_path / "out", CONFIG)
    assert report.rejected == {"not in the picture": 1} and report.views_rejected == {}
    assert report.accepted == {"right": 3}


def test_an_export_says_whose_parameters_it_holds(data_set, tmp_path):
    """Its manifest names the hand models by digest; the numbers here are the open hand's in any case."""
    root, truths = data_set
    ours, mano = load_hand("open", "right").sha256, load_hand("mano", "right").sha256
    write_json(root / "manifest.json", {"kind": "export", "hand_models": {ours: "open"}})
    report = stage.run(root, tmp_path / "out", CONFIG)  # although MANO is installed
    assert (report.hand_model, report.parameters) == ("open", "taken over")
    assert not any("FreiHAND's terms" in note for note in report.notes)
    record = records_of(tmp_path / "out")[0]
    assert np.abs(record.keypoints_world_m - truths[0].keypoints).max() < 0.05e-3
    with pytest.raises(HandgenError, match="parameters are of open, not of this mano"):
        stage.run(root, tmp_path / "out2", ImportConfig("freihand", hand_model="mano", workers=1))
    write_json(root / "manifest.json", {"kind": "export", "hand_models": {mano: "mano"}})
    assert stage.run(root, tmp_path / "out3", CONFIG).hand_model == "mano"
    write_json(root / "manifest.json", {"kind": "export", "hand_models": {mano: "mano", ours: "open"}})
    assert (
        stage.run(root, tmp_path / "out4", CONFIG).parameters == "fitted"
    )  # of two models: nobody knows which is whose


def test_a_forearm_in_a_mask_becomes_the_arms(data_set, tmp_path):
    root, truths = data_set
    hand = truths[0]
    camera = Camera("camera", SIZE, np.array([[388.9, 0, 112], [0, 386.7, 112], [0, 0, 1]]))
    border = hand.vertices[open_hand("right").wrist_border]
    forearm = forearm_mask(camera, border, hand.keypoints[[5, 9, 13, 17]].mean(0))
    mask = picture(camera, [hand])[1][0]
    write_jpeg(root / "training" / "mask" / "00000000.jpg", np.maximum(mask, forearm))
    stage.run(root, tmp_path / "out", ImportConfig("freihand", limit=1, workers=1))
    annotations = Annotations(tmp_path / "out")
    ((chunk, record),) = annotations
    cutout = annotations.cutout(chunk, record.views[0])
    assert record.views[0].mask_iou > 0.93
    assert cutout.arm is not None and (cutout.arm > 0).sum() > 500  # pixels, of some 40 x 40
    assert not ((cutout.arm > 0) & (cutout.mask > 0)).any()


def test_one_side_of_mano_is_enough_for_right_hands(data_set, tmp_path):
    root, _ = data_set
    assert stage.run(root, tmp_path / "out", CONFIG).hand_model == "mano"
    with pytest.raises(HandgenError, match="no such hand model"):
        stage.run(root, tmp_path / "out2", ImportConfig("freihand", hand_model="nowhere.npz", workers=1))
