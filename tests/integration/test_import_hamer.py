import io
import pickle

import numpy as np
import pytest
from support.annotations import write_annotations
from support.export_sets import entry_of, pictures_of, write_hamer

from handgen.datasets.hamer.layout import LABELS, tars_in
from handgen.datasets.hamer.reader import label_picture, masks_of
from handgen.errors import HandgenError
from handgen.io.shards import read_groups
from handgen.media import images
from handgen.stages.synthesize import stage
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.storage.pickles import read_labels
from handgen.storage.tar import write_tar


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp("hamer")
    annotations = write_annotations(root / "annotations", frames=3, accept_all=True)
    stage.run(annotations, root / "shards", None, SynthesizeConfig(samples=12, size=64, workers=1, seed=5))
    return pictures_of(root / "shards")


def read(root, model=None):
    groups = ((key, members) for path in tars_in(root) for key, members in read_groups(path))
    return [
        label_picture(key, members, read_labels(members[LABELS], key), key, model)
        for key, members in groups
        if LABELS in members
    ]


def test_pictures_come_back_as_they_were_written(pictures, tmp_path):
    found = read(write_hamer(tmp_path / "tars", pictures), "open")
    assert len(found) == len(pictures) == 12
    for there, here in zip(found, pictures, strict=True):
        [hand], labelled = there.hands, here.hands[0]
        assert (there.name, there.size_px, there.image, hand.side) == (here.name, (64, 64), here.image, labelled.side)
        np.testing.assert_allclose(hand.keypoints_cam_m, labelled.keypoints_cam_m, atol=1e-7)  # float32 at half a metre
        np.testing.assert_allclose(hand.keypoints_px, labelled.keypoints_px, atol=1e-4)
        np.testing.assert_array_equal(hand.visible, labelled.visible)
        np.testing.assert_allclose(hand.parameters.pose, labelled.parameters.pose, atol=1e-6)
        assert hand.parameters.model == "open" and hand.parameters.translation_m is None
        mask, own = (images.decode_grey(picture.mask, "mask") > 127 for picture in (there, here))
        np.testing.assert_array_equal(mask, own)


def test_parameters_that_are_not_to_be_used_are_left_out(pictures, tmp_path):
    def untrusted(entry):
        entry["has_hand_pose"] = np.float32(0)
        return [entry]

    [first, *_] = read(write_hamer(tmp_path / "tars", pictures, untrusted))
    assert first.hands[0].parameters is None


def test_unknown_3d_keypoints_are_none(pictures, tmp_path):
    def flat(entry):
        entry["keypoints_3d"] = np.zeros((21, 4), np.float32)
        return [entry]

    [first, *_] = read(write_hamer(tmp_path / "tars", pictures, flat))
    assert first.hands[0].keypoints_cam_m is None
    np.testing.assert_array_equal(first.hands[0].labelled, first.hands[0].visible)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda entry: [{**entry, "keypoints_3d": entry["keypoints_3d"][:, :3]}],
            r"keypoints_3d must be an array of shape",
        ),
        (
            lambda entry: [{key: value for key, value in entry.items() if key != "betas"}],
            "betas must be .* got NoneType",
        ),
        (lambda entry: [{**entry, "extra_info": {"detection_npz_idx": 3}}], "detection_npz_idx is 3, but there are 1"),
    ],
)
def test_labels_of_another_layout_are_refused(pictures, tmp_path, change, said):
    root = write_hamer(tmp_path / "tars", pictures, change)
    with pytest.raises(HandgenError, match=said):
        read(root)


def test_pictures_without_a_file_are_named(pictures, tmp_path):
    write_tar(tmp_path / "000000.tar", [("a.data.pyd", pickle.dumps([entry_of(pictures[0], pictures[0].hands[0])]))])
    with pytest.raises(HandgenError, match="a: has no picture"):
        read(tmp_path)


def test_masks_are_never_unpickled():
    packed = io.BytesIO()
    np.savez(packed, masks=np.array([{}], object))
    with pytest.raises(HandgenError, match="masks: .* Python object, which is not read"):
        masks_of(packed.getvalue(), "KEY.detection.npz")
    packed = io.BytesIO()
    np.savez(packed, masks=np.ones((4, 4), bool))
    with pytest.raises(HandgenError, match=r"n x height x width, got \(4, 4\)"):
        masks_of(packed.getvalue(), "KEY.detection.npz")
