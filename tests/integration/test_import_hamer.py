import io
import pickle

import numpy as np
import pytest
from support.annotations import write_annotations
from support.export_sets import entry_of, pictures_of, write_hamer

from handgen.datasets.hamer.reader import HamerReader, masks_of
from handgen.errors import HandgenError
from handgen.media import images
from handgen.stages.synthesize import stage
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.storage.tar import write_tar


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp("hamer")
    annotations = write_annotations(root / "annotations", frames=3, accept_all=True)
    stage.run(annotations, root / "shards", None, SynthesizeConfig(samples=12, size=64, workers=1, seed=5))
    return pictures_of(root / "shards")


def test_pictures_come_back_as_they_were_written(pictures, tmp_path):
    reader = HamerReader(write_hamer(tmp_path / "tars", pictures), "open")
    read = list(reader)
    assert reader.count == len(read) == len(pictures) == 12
    for there, here in zip(read, pictures, strict=True):
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

    [first, *_] = HamerReader(write_hamer(tmp_path / "tars", pictures, untrusted))
    assert first.hands[0].parameters is None


def test_unknown_3d_keypoints_are_none(pictures, tmp_path):
    def flat(entry):
        entry["keypoints_3d"] = np.zeros((21, 4), np.float32)
        return [entry]

    [first, *_] = HamerReader(write_hamer(tmp_path / "tars", pictures, flat))
    assert first.hands[0].keypoints_cam_m is None
    np.testing.assert_array_equal(first.hands[0].labelled, first.hands[0].visible)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda entry: entry, "no list of dictionaries"),
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
    reader = HamerReader(write_hamer(tmp_path / "tars", pictures, change))
    with pytest.raises(HandgenError, match=said):
        list(reader)


def test_folders_without_tars_and_pictures_without_a_file_are_named(pictures, tmp_path):
    with pytest.raises(HandgenError, match="no tars"):
        HamerReader(tmp_path)
    write_tar(tmp_path / "000000.tar", [("a.data.pyd", pickle.dumps([entry_of(pictures[0], pictures[0].hands[0])]))])
    with pytest.raises(HandgenError, match="a: has no picture"):
        list(HamerReader(tmp_path))
    (tmp_path / "000000.tar").write_bytes(b"no tar" * 100)
    with pytest.raises(HandgenError, match="not a readable tar"):
        _ = HamerReader(tmp_path).count


def test_masks_are_never_unpickled():
    packed = io.BytesIO()
    np.savez(packed, masks=np.array([{}], object))
    with pytest.raises(HandgenError, match="no masks that can be read"):
        masks_of(packed.getvalue(), "KEY.detection.npz")
    packed = io.BytesIO()
    np.savez(packed, masks=np.ones((4, 4), bool))
    with pytest.raises(HandgenError, match=r"n x height x width, got \(4, 4\)"):
        masks_of(packed.getvalue(), "KEY.detection.npz")
