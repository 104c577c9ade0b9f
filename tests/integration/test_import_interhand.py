"""InterHand2.6M's files -> annotations of both hands, on a small set that is written as its code reads it."""

import pickle

import numpy as np
import orjson
import pytest
import torch
from support.data_sets import install_mano, write_interhand, write_jpeg, write_json

from handgen.datasets.interhand.reader import InterhandReader
from handgen.errors import HandgenError
from handgen.hand.model import HandModel, single_pose
from handgen.hand.model_files import load_hand
from handgen.hand.skeleton import SIDES
from handgen.hand.smplx_check import as_smplx
from handgen.io.annotations import Annotations
from handgen.io.shards import read_document, read_groups
from handgen.stages.import_ import stage
from handgen.stages.import_.config import ImportConfig
from handgen.stages.synthesize import stage as synthesize
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.stages.validate import stage as validate
from handgen.storage import json_stream

CONFIG = ImportConfig("interhand", workers=1, chunk_frames=2)


@pytest.fixture
def data_set(tmp_path, monkeypatch):
    install_mano(monkeypatch, tmp_path)
    root = tmp_path / "InterHand2.6M"
    return root, write_interhand(root)


def annotation_file(root, name):
    return root / "annotations" / "val" / f"InterHand2.6M_val_{name}.json"


def change(root, name, how):
    path = annotation_file(root, name)
    document = orjson.loads(path.read_bytes())
    how(document)
    write_json(path, document)


def test_both_hands_are_where_they_were_drawn(data_set, tmp_path):
    root, truths = data_set
    report = stage.run(root, tmp_path / "out", CONFIG)
    annotations = Annotations(tmp_path / "out")
    found = {(record.frame, record.side): record for _, record in annotations}
    models = {side: HandModel.load("mano", side) for side in SIDES}
    assert list(found) == [(0, "left"), (0, "right"), (1, "right"), (2, "left"), (2, "right")]
    assert report.residual_mm[1] < 0.01  # millimetres in the file, metres here; the same joints
    order = [(0, "right"), (0, "left"), (1, "right"), (2, "right"), (2, "left")]
    for key, truth in zip(order, truths, strict=True):
        record = found[key]
        posed = models[truth.side](single_pose(record.pose, record.translation_m, annotations.betas[record.subject]))
        assert np.abs(record.keypoints_world_m - truth.keypoints).max() < 0.05e-3
        assert np.abs(posed.vertices[0].numpy() - truth.vertices).max() < 0.1e-3
        assert [view.camera.name.rpartition("-")[0] for view in record.views] == ["400", "401", "402"]
        assert all(view.reprojection_px < 0.01 for view in record.views)


def test_records_are_the_meshes_that_interhands_own_code_draws(data_set, tmp_path):
    """Its `tool/MANO_render/render.py`: smplx without PCA, the mean pose added, transl; then the camera in mm."""
    root, _ = data_set
    stage.run(root, tmp_path / "out", CONFIG)
    annotations = Annotations(tmp_path / "out")
    parameters = orjson.loads(annotation_file(root, "MANO_NeuralAnnot").read_bytes())["0"]
    cameras = orjson.loads(annotation_file(root, "camera").read_bytes())["0"]
    for _, record in annotations:
        entry = parameters[str(10 * record.frame)][record.side]
        pose, shape, trans = (
            torch.tensor(entry[name], dtype=torch.float64)[None] for name in ("pose", "shape", "trans")
        )
        arrays = load_hand("open", record.side)
        smplx = as_smplx(arrays, use_pca=False, flat_hand_mean=False)
        theirs = smplx(betas=shape, global_orient=pose[:, :3], hand_pose=pose[:, 3:], transl=trans)
        world_mm = 1e3 * theirs.vertices[0].detach().numpy()
        as_recorded = single_pose(record.pose, record.translation_m, annotations.betas[record.subject])
        ours = HandModel(arrays)(as_recorded).vertices[0].numpy()
        for view in record.views:
            name = view.camera.name.rpartition("-")[0]
            rotation, place = np.array(cameras["camrot"][name]), np.array(cameras["campos"][name])
            cam_mm = world_mm @ rotation.T - rotation @ place
            assert np.abs(view.camera.cam_from_world.apply(ours) * 1e3 - cam_mm).max() < 0.1
            pixels = cam_mm[:, :2] / cam_mm[:, 2:] * cameras["focal"][name] + cameras["princpt"][name]
            assert np.abs(view.camera.project(ours)[0] + view.box_px[:2] - pixels).max() < 0.1


def test_masks_are_of_one_hand_each_and_overlap_their_meshes(data_set, tmp_path):
    root, _ = data_set
    report = stage.run(root, tmp_path / "out", CONFIG)
    assert report.mask_iou > 0.9 and report.accepted == {"left": 2, "right": 3}
    for chunk, record in Annotations(tmp_path / "out"):
        for view in record.views:
            cutout = Annotations(tmp_path / "out").cutout(chunk, view)
            assert cutout.mask.any() or not view.accepted


def test_synthesize_makes_samples_of_both_hands(data_set, tmp_path):
    root, _ = data_set
    stage.run(root, tmp_path / "out", CONFIG)
    options = SynthesizeConfig(samples=12, size=64, workers=1, augment="none", flip_probability=0.0)
    report = synthesize.run(tmp_path / "out", tmp_path / "shards", None, options)
    assert report.sides["left"] and report.sides["right"]
    path = sorted((tmp_path / "shards").glob("*.tar"))[0]
    documents = [read_document(path, key, members) for key, members in read_groups(path)]
    assert {document["source"]["subject"] for document in documents} == {"interhand-5"}
    assert any(document["other_hand"] for document in documents)
    found = validate.run(tmp_path / "shards", pixels=True, workers=1)
    assert found.valid, found.findings.kept  # betas that change from frame to frame are the data set's


def test_null_parameters_of_a_labelled_hand_mean_no_record(data_set, tmp_path):
    root, _ = data_set
    change(root, "MANO_NeuralAnnot", lambda entries: entries["0"]["0"].update(left=None))
    report = stage.run(root, tmp_path / "out", CONFIG)
    assert report.records == {"left": 1, "right": 3} and report.left_out == {"no hand parameters": 1}


def test_without_mano_both_hands_are_fitted_to_their_keypoints(data_set, tmp_path, monkeypatch):
    root, truths = data_set
    monkeypatch.setenv("HANDGEN_CACHE", str(tmp_path / "empty"))
    report = stage.run(root, tmp_path / "fitted", CONFIG)
    assert (report.hand_model, report.parameters) == ("open", "fitted") and report.records == {"left": 2, "right": 3}
    # One person with five shapes, which a fit with shared betas cannot follow closer.
    assert report.residual_mm[0] < 5
    change(root, "joint_3d", lambda frames: frames["0"]["0"]["joint_valid"].__setitem__(3, [0]))
    report = stage.run(root, tmp_path / "fitted2", CONFIG)
    assert report.left_out == {"keypoints are missing": 1} and report.records == {"left": 2, "right": 2}


def test_one_side_of_mano_is_not_enough(tmp_path, monkeypatch):
    install_mano(monkeypatch, tmp_path, ["right"])
    write_interhand(tmp_path / "set", frames=1, cameras=2)
    assert stage.run(tmp_path / "set", tmp_path / "out", CONFIG).hand_model == "open"
    with pytest.raises(HandgenError, match="the left hand of model 'mano' is not there"):
        stage.run(tmp_path / "set", tmp_path / "out2", ImportConfig("interhand", hand_model="mano", workers=1))


def test_older_releases_are_read_too(data_set, tmp_path):
    root, truths = data_set
    folder = root / "annotations" / "val"
    folder.rename(root / "annotations" / "machine_annot")
    old = root / "annotations" / "machine_annot"
    (old / "InterHand2.6M_val_MANO_NeuralAnnot.json").rename(old / "InterHand2.6M_val_MANO.json")
    assert stage.run(root, tmp_path / "out", CONFIG).records == {"left": 2, "right": 3}


def test_moments_do_not_depend_on_how_much_of_the_file_is_held(data_set, monkeypatch):
    root, _ = data_set
    whole = [(image.name, image.frame, image.camera) for image in InterhandReader(root)]
    monkeypatch.setattr(json_stream, "_WINDOW_BYTES", 7)
    pieces = [(image.name, image.frame, image.camera) for image in InterhandReader(root)]
    assert pieces == whole and len(whole) == 9
    assert [frame for _, frame, _ in whole] == [0, 0, 0, 10, 10, 10, 20, 20, 20]


def test_a_picture_is_labelled_in_handgens_conventions(data_set):
    root, truths = data_set
    image = next(iter(InterhandReader(root)))
    assert (image.capture, image.subject, image.suffix, image.size_px) == ("capture0", "interhand-5", "jpg", (334, 256))
    assert image.image is not None and image.image[:2] == b"\xff\xd8"
    for hand, truth in zip(image.hands, truths, strict=False):
        assert hand.side == truth.side and hand.labelled.all()
        world = image.cam_from_world.inverse().apply(hand.keypoints_cam_m)
        assert np.abs(world - truth.keypoints).max() < 1e-6


def _leaves(root):
    change(root, "data", lambda data: data["images"][0].update(file_name="../../../../etc/passwd"))


def _other_size(root):
    write_jpeg(root / "images/val/Capture0/0000_fist/cam401/image0.jpg", np.zeros((64, 64, 3), np.uint8))


def _no_picture(root):
    (root / "images/val/Capture0/0000_fist/cam401/image0.jpg").unlink()


def _nan(root):
    path = annotation_file(root, "joint_3d")
    path.write_bytes(path.read_bytes().replace(b'"world_coord": [[', b'"world_coord": [[NaN, ', 1))


def _truncated(root):
    path = annotation_file(root, "data")
    path.write_bytes(path.read_bytes()[:-80])


def _unknown_camera(root):
    change(root, "camera", lambda cameras: cameras["0"]["camrot"].pop("402"))


def _sheared(root):
    change(root, "camera", lambda cameras: cameras["0"]["camrot"]["402"][0].__setitem__(0, 2.0))


def _no_frame(root):
    change(root, "joint_3d", lambda frames: frames["0"].pop("10"))


def _no_images(root):
    change(root, "data", lambda data: data.pop("images"))


def _no_frame_index(root):
    change(root, "data", lambda data: data["images"][4].pop("frame_idx"))


def _huge_capture(root):
    change(root, "data", lambda data: data["images"][4].update(capture=2**40))


def _ragged_flags(root):
    change(root, "joint_3d", lambda frames: frames["0"]["10"].update(joint_valid=[[1, 2], [3]]))


def _picture_twice(root):
    change(root, "data", lambda data: data["images"].extend([data["images"][4]] * 1000))


def _short_pose(root):
    change(root, "MANO_NeuralAnnot", lambda frames: frames["0"]["10"]["right"]["pose"].pop())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_leaves, "picture 0: '../../../../etc/passwd' is no path inside"),
        (_other_size, "image0.jpg: is 64x64 px, but .*picture 100 says 334x256"),
        (_no_picture, "cam401/image0.jpg: is missing"),
        (_nan, "joint_3d.json: capture 0, frame 0: not valid JSON.*NaN"),
        (_truncated, "data.json: not the JSON that it should be, at byte [0-9]+; is the file truncated"),
        (_unknown_camera, "camera.json: capture 0, camera 402: has no camrot"),
        (_sheared, "camera 402: .*not orthonormal"),
        (_no_frame, "joint_3d.json: has no frame 10 of capture 0"),
        (_no_images, "data.json: has no list 'images'"),
        (_picture_twice, "has picture [0-9]+ 1001 times"),
        (_no_frame_index, "picture at byte [0-9]+: KeyError.*frame_idx"),
        (_huge_capture, "picture at byte [0-9]+: .*no whole number"),
        (_ragged_flags, r"joint_3d.json: capture 0, frame 10: joint_valid: must be numbers of shape \(42\)"),
        (_short_pose, r"MANO_NeuralAnnot.json: capture 0, frame 10, right: pose: must have shape \(48\), got \(47\)"),
    ],
)
def test_what_is_wrong_with_the_files_is_said(data_set, tmp_path, damage, message):
    root, _ = data_set
    damage(root)
    with pytest.raises(HandgenError, match=message):
        stage.run(root, tmp_path / "out", CONFIG)


def test_a_reader_sent_to_another_process_reads_the_same(data_set):
    root, _ = data_set
    reader = InterhandReader(root)
    sent = pickle.loads(pickle.dumps(reader))
    assert [image.name for image in sent] == [image.name for image in reader]


def test_another_folder_is_not_taken_for_the_data_set(data_set):
    root, _ = data_set
    with pytest.raises(HandgenError, match="no annotations/train.*holds annotations, images: give the folder"):
        InterhandReader(root, "train")
