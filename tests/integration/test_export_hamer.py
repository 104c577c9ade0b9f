"""HaMeR's tars, read by webdataset as HaMeR's loader does it (formats: `handgen.datasets.hamer.writer`)."""

from __future__ import annotations

import pickle
import pickletools
import subprocess
import tarfile

import braceexpand
import numpy as np
import pytest
import webdataset
import yaml
from support.annotations import write_annotations
from support.export import decoded, export, npz, true_vertices, vertices

from handgen.datasets.hamer.writer import brace_patterns, pickle_labels
from handgen.hand.conversions import mirror_pose

FILTER_NUM_KP = 4  # its default: more than four keypoints of a confidence above the threshold
MM = 1000


@pytest.fixture(scope="module")
def exported(shards_to_export, tmp_path_factory):
    out = tmp_path_factory.mktemp("hamer") / "out"
    return out, export(shards_to_export, out, "hamer")


def as_the_loader_reads(out):
    """Per hand: key, picture, mask, entry; as `load_tars_as_webdataset` has them before it crops."""
    entry = next(iter(yaml.safe_load((out / "dataset.yaml").read_text()).values()))
    assert entry["TYPE"] == "ImageDataset"
    urls = list(braceexpand.braceexpand(entry["URLS"]))
    data = webdataset.WebDataset(urls, shardshuffle=False, nodesplitter=webdataset.split_by_node)
    for item in data.decode("rgb8").rename(jpg="jpg;jpeg;png"):
        for hand in item["data.pyd"]:
            mask = item["detection.npz"]["masks"][hand["extra_info"]["detection_npz_idx"]]
            yield item["__key__"], item["jpg"], mask, hand


def test_hands_come_back_as_they_were(exported, samples_to_export):
    out, report = exported
    truth = {(s.labels["key"], hand["side"]): (s, hand) for s in samples_to_export for hand in s.hands}
    seen = set()
    for key, picture, mask, entry in as_the_loader_reads(out):
        side = "right" if entry["right"] else "left"
        sample, hand = truth[key, side]
        seen.add((key, side))
        assert np.abs(picture.astype(int) - decoded(sample.jpeg)).max() <= 3  # two JPEG decoders
        assert np.abs(entry["keypoints_2d"][:, :2] - hand["keypoints_2d"]).max() < 1e-3  # float32 of 224 px
        assert np.abs(entry["keypoints_3d"][:, :3] - hand["keypoints_3d"]).max() * MM < 1e-3
        mesh = vertices(side, entry["hand_pose"], entry["betas"], hand["hand"]["translation_m"])
        assert np.abs(mesh - true_vertices(hand)).max() * MM < 0.1
        assert mask.dtype == bool
        if hand is sample.labels:
            assert (mask == sample.mask).all()
        else:
            assert mask.all()  # not known; the loader takes an empty one for all of the picture, too
    left_out = report.left_out["fewer than 5 keypoints in the picture"]
    missing = [sample.inside(hand).sum() for sample, hand in (truth[key] for key in truth.keys() - seen)]
    assert max(missing) < 5 and left_out == sum(count > 0 for count in missing) > 0  # those outside are not there


def test_what_the_loader_asks_of_types_and_shapes(exported):
    for _, _, _, entry in as_the_loader_reads(exported[0]):
        assert entry["keypoints_2d"].shape == (21, 3) and entry["keypoints_3d"].shape == (21, 4)
        assert entry["center"].shape == (2,) and entry["scale"].shape == (2,)
        assert entry["hand_pose"].shape == (48,) and entry["betas"].shape == (10,)
        arrays = [value for value in entry.values() if isinstance(value, np.ndarray)]
        assert len(arrays) == 6 and all(array.dtype == np.float32 and array.flags.writeable for array in arrays)
        assert isinstance(entry["has_hand_pose"], np.float32) and isinstance(entry["has_betas"], np.float32)
        confidence = entry["keypoints_2d"][:, 2]
        assert set(confidence) <= {0.0, 1.0} and (confidence > 0.3).sum() > FILTER_NUM_KP
        inside = entry["keypoints_2d"][confidence > 0, :2]
        extent = inside.max(0) - inside.min(0)
        assert np.allclose(entry["scale"] * 200, 2 * extent, atol=1e-3)
        assert np.allclose(entry["center"], inside.min(0) + extent / 2, atol=1e-3)


def test_a_left_hand_mirrored_by_the_loader_is_a_right_hand(exported):
    checked = 0
    for _, _, _, entry in as_the_loader_reads(exported[0]):
        if entry["right"]:
            continue
        # what HaMeR does to a left hand: fliplr of the picture, x of keypoints, and y and z of rotations negated
        pose = mirror_pose(entry["hand_pose"].astype(float))
        points = entry["keypoints_3d"][:, :3] * (-1, 1, 1)
        hand = vertices("right", pose, entry["betas"], np.zeros(3))
        joints = keypoints_of(hand)
        moved = joints - joints.mean(0) + points[[4, 8, 12, 16, 20]].mean(0)
        assert np.abs(moved - points[[4, 8, 12, 16, 20]]).max() * MM < 0.1
        checked += 1
    assert checked > 5


def keypoints_of(mesh):
    """Fingertips: vertices of the mesh (smplx's ids)."""
    return mesh[[744, 320, 443, 554, 671]]


def test_the_configuration_names_all_tars_and_counts_all_hands(exported):
    out, report = exported
    ((name, entry),) = yaml.safe_load((out / "dataset.yaml").read_text()).items()
    assert sorted(braceexpand.braceexpand(entry["URLS"])) == sorted(map(str, out.glob("*.tar")))
    assert entry["epoch_size"] == len(list(as_the_loader_reads(out)))
    assert name == "HANDGEN-OUT-TRAIN"
    assert any("4 tars" in note for note in report.notes)


def test_parameters_of_a_model_other_than_mano_are_written_but_not_trusted(exported, shards_to_export, tmp_path):
    out, report = exported
    assert all(hand["has_hand_pose"] == hand["has_betas"] == 0 for *_, hand in as_the_loader_reads(out))
    assert any("other than MANO" in note for note in report.notes)
    told = export(shards_to_export, tmp_path / "told", "hamer", model_is_mano=True)
    assert all(hand["has_hand_pose"] == hand["has_betas"] == 1 for *_, hand in as_the_loader_reads(tmp_path / "told"))
    assert not any("other than MANO" in note for note in told.notes)


def test_betas_beyond_three_are_written_and_named(tmp_path):
    annotations = write_annotations(tmp_path / "a", frames=1, cameras=1, accept_all=True)
    manifest = annotations / "manifest.json"
    manifest.write_text(manifest.read_text().replace("0.8", "-3.4"))
    report = export(annotations, tmp_path / "out", "hamer")
    assert report.betas_beyond_3 == {"subject_0": 3.4}
    assert any("beyond 3 (up to 3.40)" in note for note in report.notes)
    for *_, hand in as_the_loader_reads(tmp_path / "out"):
        assert hand["betas"][0] == np.float32(-3.4)


def test_left_parameters_are_trusted_only_where_the_sides_mirror(shards_to_export, tmp_path, monkeypatch):
    monkeypatch.setattr("handgen.datasets.hamer.writer.sides_mirror", lambda right, left: False)
    report = export(shards_to_export, tmp_path / "out", "hamer", model_is_mano=True)
    assert any("left hand of the model is not the mirror image" in note for note in report.notes)
    trusted = {(bool(hand["right"]), bool(hand["has_hand_pose"])) for *_, hand in as_the_loader_reads(tmp_path / "out")}
    assert trusted == {(True, True), (False, False)}


@pytest.mark.parametrize("name", ["a #b", "a: b", "-x", "[1]"])
def test_any_name_of_a_folder_is_read_back_from_the_configuration(name, tmp_path):
    annotations = write_annotations(tmp_path / "a", frames=1, cameras=1, accept_all=True)
    export(annotations, tmp_path / name, "hamer")
    ((_, entry),) = yaml.safe_load((tmp_path / name / "dataset.yaml").read_text()).items()
    assert entry["URLS"] == f"{tmp_path / name}/000000.tar"


def test_an_export_that_was_moved_names_its_new_place(tmp_path):
    annotations = write_annotations(tmp_path / "a", frames=1, cameras=1, accept_all=True)
    export(annotations, tmp_path / "old", "hamer")
    (tmp_path / "old").rename(tmp_path / "new")
    assert export(annotations, tmp_path / "new", "hamer").written_pictures == 0
    assert f"{tmp_path / 'new'}/" in (tmp_path / "new" / "dataset.yaml").read_text()


def test_views_of_annotations_project_onto_themselves(tmp_path):
    annotations = write_annotations(tmp_path / "a", frames=3, cameras=2, accept_all=True)
    report = export(annotations, tmp_path / "out", "hamer")
    assert report.pictures == 12 and report.sides == {"left": 6, "right": 6}
    own = 0
    for _, _, mask, entry in as_the_loader_reads(tmp_path / "out"):
        if mask.all():  # the other hand, which has no mask here
            continue
        points = entry["keypoints_2d"][:, :2]
        inside = np.round(points).astype(int)
        share = mask[inside[:, 1], inside[:, 0]].mean()
        assert share > 0.6  # joints lie in the drawn hand, tips on its edge
        assert (entry["keypoints_3d"][:, 2] > 0.3).all()  # cameras are half a metre away
        own += 1
    assert own == 12


def test_members_are_adjacent_and_keys_have_no_dot(exported):
    for path in exported[0].glob("*.tar"):
        with tarfile.open(path) as tar:
            names = tar.getnames()
        keys = [name.partition(".")[0] for name in names]
        assert [name.partition(".")[2] for name in names[:3]] == ["jpg", "data.pyd", "detection.npz"]
        assert all(keys[i : i + 3] == [keys[i]] * 3 for i in range(0, len(keys), 3))
        assert len(set(keys)) == len(names) / 3


def test_pickles_are_of_numpy_one_as_well():
    values = [{"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.float32(1), "c": "numpy._core.multiarray"}]
    data = pickle_labels(values)
    modules = {argument for opcode, argument, _ in pickletools.genops(data) if opcode.name == "GLOBAL"}
    assert modules and not any(module.startswith("numpy._core") for module in modules)
    back = pickle.loads(data)
    assert (back[0]["a"] == values[0]["a"]).all() and back[0]["b"] == 1 and back[0]["c"] == values[0]["c"]


def test_spreads_of_numbers_with_gaps():
    assert brace_patterns([0, 1, 2]) == ["{000000..000002}"]
    assert brace_patterns([0, 2, 3, 7]) == ["000000", "{000002..000003}", "000007"]


def test_masks_are_bool_and_small(exported):
    path = sorted(exported[0].glob("*.tar"))[0]
    with tarfile.open(path) as tar:
        member = next(m for m in tar if m.name.endswith("detection.npz"))
        data = tar.extractfile(member).read()
    masks = npz(data)["masks"]
    assert masks.ndim == 3 and masks.dtype == bool and len(data) < 0.1 * masks.size


def test_numpy_one_reads_the_tars(exported, numpy_1_python):
    script = (
        "import sys, numpy, webdataset\n"
        "assert numpy.__version__ < '2'\n"
        "hands = 0\n"
        "for item in webdataset.WebDataset(sys.argv[1:], shardshuffle=False).decode():\n"
        "    for hand in item['data.pyd']:\n"
        "        assert hand['hand_pose'].shape == (48,) and hand['has_betas'].dtype == numpy.float32\n"
        "        assert item['detection.npz']['masks'][hand['extra_info']['detection_npz_idx']].dtype == bool\n"
        "        hands += 1\n"
        "print(hands)\n"
    )
    tars = sorted(map(str, exported[0].glob("*.tar")))
    run = subprocess.run([numpy_1_python, "-c", script, *tars], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) == len(list(as_the_loader_reads(exported[0])))


def test_hugging_face_reads_the_tars_but_leaves_the_pickles_alone(exported):
    datasets = pytest.importorskip("datasets")
    data = datasets.load_dataset("webdataset", data_files=f"{exported[0]}/*.tar", split="train", streaming=True)
    keys = [entry[0] for entry in as_the_loader_reads(exported[0])]
    items = list(data)
    assert [item["__key__"] for item in items] == list(dict.fromkeys(keys))
    assert np.array(items[0]["detection.npz"]["masks"]).shape[1:] == (224, 224)
    assert pickle.loads(items[0]["data.pyd"])[0]["hand_pose"].shape == (48,)
