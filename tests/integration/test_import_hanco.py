"""HanCo's files -> annotations of several views, on a small set that is written as HanCo's code reads it."""

import pickle

import numpy as np
import orjson
import pytest
from support.data_sets import install_mano, ring, write_hanco, write_json

from handgen.datasets.hanco.reader import HancoReader
from handgen.errors import HandgenError
from handgen.hand.model import HandModel, single_pose
from handgen.hand.model_files import load_hand
from handgen.io.annotations import Annotations
from handgen.stages.import_ import stage
from handgen.stages.import_.config import ImportConfig
from handgen.stages.synthesize import stage as synthesize
from handgen.stages.synthesize.config import SynthesizeConfig

CONFIG = ImportConfig("hanco", workers=1, chunk_frames=2)


@pytest.fixture
def data_set(tmp_path, monkeypatch):
    install_mano(monkeypatch, tmp_path, ["right"])
    root = tmp_path / "HanCo"
    return root, write_hanco(root)


def test_frames_are_records_of_all_cameras_in_the_world(data_set, tmp_path):
    root, truths = data_set
    report = stage.run(root, tmp_path / "out", CONFIG)
    annotations = Annotations(tmp_path / "out")
    records = [record for _, record in annotations]
    model, cameras = HandModel.load("mano", "right"), ring(3)
    assert (report.parameters, report.frames, report.cameras) == ("taken over", 5, 3)
    for record, truth in zip(records, truths, strict=True):
        posed = model(single_pose(record.pose, record.translation_m, annotations.betas[record.subject]))
        assert np.abs(record.keypoints_world_m - truth.keypoints).max() < 0.05e-3
        assert np.abs(posed.vertices[0].numpy() - truth.vertices).max() < 0.1e-3
        assert len(record.views) == 3 and record.accepted
        for view, camera in zip(record.views, cameras, strict=True):
            full = annotations.rig[view.camera.name]
            assert np.abs(full.ideal_px_from_world - camera.ideal_px_from_world).max() < 1e-6
            assert np.abs(view.camera.project(truth.keypoints)[0] + view.box_px[:2] - camera.project(truth.keypoints)[0]
                          ).max() < 0.01  # fmt: skip
            assert view.mask_iou > 0.9 and view.screen == "green"


def test_only_checked_fits_of_the_split_are_read_and_the_rest_is_counted(data_set):
    root, _ = data_set
    reader = HancoReader(root)
    names = [moment.name for moment in reader.moments(0, reader.moment_count, pictures=False)]
    assert names == [f"{s:04d}/{f:08d}" for s, f in ((1, 0), (1, 1), (1, 2), (2, 1), (2, 2))]
    assert reader.count == 15
    assert "1 frames without a checked fit are left out" in reader.notes
    assert HancoReader(root, "test").moment_count == 3


def test_frames_without_a_green_screen_get_masks_of_their_pixels(data_set, tmp_path):
    root, _ = data_set
    report = stage.run(root, tmp_path / "out", ImportConfig("hanco", split="test", workers=1))
    assert report.accepted == {"right": 3} and report.views == 9 and report.mask_iou > 0.9


def test_people_are_kept_apart_by_synthesize(data_set, tmp_path):
    root, _ = data_set
    report = stage.run(root, tmp_path / "out", CONFIG)
    assert report.shapes == 5 and report.people == 2
    made = synthesize.run(
        tmp_path / "out", tmp_path / "shards", None, SynthesizeConfig(samples=4, size=64, workers=1, augment="none")
    )
    assert made.samples == 4 and made.splits[0].subjects == 2  # whoever has several shapes is one person


def test_without_mano_betas_are_shared_by_a_person_of_a_chunk(data_set, tmp_path):
    root, _ = data_set
    report = stage.run(root, tmp_path / "out", ImportConfig("hanco", hand_model="open", workers=1))
    names = [record.subject for _, record in Annotations(tmp_path / "out")]
    assert len(set(names[:3])) == 1 and len(set(names)) == 2
    # Here the betas change from frame to frame, as people's do not: with shared ones some millimetres are left.
    assert report.parameters == "fitted" and report.residual_mm[0] < 6


def _no_poses(root):
    path = root / "shape" / "0001" / "00000001.json"
    write_json(path, {"shapes": [[0] * 10], "global_t": [[0, 0, 0]]})


def _mirrored_camera(root):
    path = root / "calib" / "0001" / "00000001.json"
    document = orjson.loads(path.read_bytes())
    document["M"][1][0] = [-value for value in document["M"][1][0]]
    write_json(path, document)


def _one_camera_too_few(root):
    path = root / "calib" / "0001" / "00000001.json"
    document = orjson.loads(path.read_bytes())
    document["K"].pop()
    write_json(path, document)


def _no_picture(root):
    (root / "rgb" / "0001" / "cam1" / "00000001.jpg").unlink()


def _no_keypoints(root):
    (root / "xyz" / "0001" / "00000001.json").unlink()


def _meta_of_another(root):
    write_json(root / "meta.json", {"is_train": [[True]], "subject_id": [[1]], "has_fit": [[True]]})


def _uneven_meta(root):
    document = orjson.loads((root / "meta.json").read_bytes())
    document["subject_id"][1].pop()
    write_json(root / "meta.json", document)


def _no_meta(root):
    (root / "meta.json").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_no_poses, "shape/0001/00000001.json: has no 'poses'"),
        (_mirrored_camera, "calib/0001/00000001.json, camera 1: .*not orthonormal with determinant"),
        (_one_camera_too_few, "has 2 K and 3 M"),
        (_no_picture, "rgb/0001/cam1/00000001.jpg: is missing"),
        (_no_keypoints, "xyz/0001/00000001.json: cannot be read"),
        (_meta_of_another, "meta.json has 1 sequences"),
        (_uneven_meta, "subject_id has other sequences or frames"),
        (_no_meta, "no meta.json beside a folder rgb"),
    ],
)
def test_what_is_wrong_with_the_files_is_said(data_set, tmp_path, damage, message):
    root, _ = data_set
    damage(root)
    with pytest.raises(HandgenError, match=message):
        stage.run(root, tmp_path / "out", CONFIG)


def test_a_reader_sent_to_another_process_reads_the_same(data_set):
    root, _ = data_set
    reader = HancoReader(root)
    sent = pickle.loads(pickle.dumps(reader))
    assert [image.name for image in sent] == [image.name for image in reader]


def test_is_valid_may_be_absent_but_is_a_list_of_lists(data_set):
    root, _ = data_set
    meta = orjson.loads((root / "meta.json").read_bytes())
    write_json(root / "meta.json", meta | {"is_valid": None})
    with pytest.raises(HandgenError, match="meta.json: has no lists of lists 'is_valid'"):
        HancoReader(root)
    meta.pop("is_valid")
    write_json(root / "meta.json", meta)
    assert HancoReader(root).moment_count == 6  # `has_fit` counts instead: frame 0 of sequence 2, too


def test_a_missing_view_can_be_left_out(data_set, tmp_path):
    root, _ = data_set
    _no_picture(root)
    report = stage.run(root, tmp_path / "out", ImportConfig("hanco", skip_missing=True, workers=1))
    assert report.views == 14 and report.missing_pictures == 1 and report.accepted == {"right": 5}


def test_a_frame_without_parameters_has_no_record(data_set, tmp_path):
    root, _ = data_set
    (root / "shape" / "0001" / "00000001.json").unlink()
    report = stage.run(root, tmp_path / "out", CONFIG)
    assert report.records == {"right": 4} and report.left_out == {"no hand parameters": 1}


def test_parameters_in_a_camera_give_the_keypoints_seen_there(data_set):
    """Readers alone, as `validate` uses them: pose and translation in each camera's frame."""
    root, _ = data_set
    reader = HancoReader(root, models={"right": load_hand("mano", "right")})
    model = HandModel.load("mano", "right")
    pictures = list(reader)
    assert len(pictures) == reader.count
    for picture in pictures:
        (hand,) = picture.hands
        given = hand.parameters
        keypoints = model(single_pose(given.pose, given.translation_m, given.betas)).keypoints[0].numpy()
        off_mm = 1e3 * np.linalg.norm(keypoints - hand.keypoints_cam_m, axis=1)
        tips = [4, 8, 12, 16, 20]
        assert np.delete(off_mm, tips).max() < 0.01 and np.abs(off_mm[tips] - 2).max() < 0.01
        assert hand.visible.all() and picture.mask is not None
