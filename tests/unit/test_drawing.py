import shutil

import numpy as np
import pytest
from support.annotations import write_annotations

from handgen.errors import HandgenError
from handgen.io import shards
from handgen.stages.synthesize import stage
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.visualize import drawing


@pytest.fixture
def keypoints_px():
    finger, part = np.meshgrid(np.arange(5), np.arange(4), indexing="ij")
    points = np.stack([15 + 14 * finger + part, 60 - 10 * part], -1).reshape(-1, 2)
    return np.concatenate([[[45.0, 85.0]], points]).astype(float)


def gray(width=100, height=96):
    return np.full((height, width, 3), 90, np.uint8)


def test_skeleton_colours_each_finger_and_leaves_the_input_alone(keypoints_px):
    image = gray()
    drawn = drawing.draw_skeleton(image, keypoints_px)
    assert (image == 90).all() and drawn.shape == image.shape and drawn.dtype == np.uint8
    for finger, tip in (("thumb", 4), ("pinky", 20)):
        x, y = keypoints_px[tip].astype(int)
        assert tuple(drawn[y, x]) == drawing.FINGER_COLORS[finger]


def test_hidden_keypoints_are_darker_and_missing_ones_left_out(keypoints_px):
    hidden = drawing.draw_skeleton(gray(), keypoints_px, np.zeros(21, bool))
    x, y = keypoints_px[8].astype(int)
    assert hidden[y, x].max() < max(drawing.FINGER_COLORS["index"])
    keypoints_px[:] = np.nan
    assert (drawing.draw_skeleton(gray(), keypoints_px) == 90).all()


def test_mask_outline_follows_the_border_only():
    square = np.zeros(gray().shape[:2], np.uint8)
    square[20:61, 20:71] = 255
    drawn = drawing.draw_mask_outline(gray(), square)
    np.testing.assert_allclose(drawn[40, 20], drawing.OUTLINE_COLOR, atol=40)  # anti-aliased
    assert (drawn[25:55, 25:65] == 90).all() and (drawn[:15] == 90).all()


def test_overlay_views_is_a_labelled_grid_of_any_sizes():
    labels = [drawing.ViewLabel(f"cam_{i}", 1.5, 0.9, i % 2 == 0) for i in range(3)]
    page = drawing.overlay_views([gray(), gray(60, 90), gray(200, 50)], labels, cell_px=(120, 90))
    assert page.shape == (2 * (90 + 18), 240, 3)
    assert labels[0].text() == "cam_0  1.5 px  IoU 0.90"
    assert tuple(page[2, 2]) == drawing.ACCEPTED_COLOR and tuple(page[2, 122]) == drawing.REJECTED_COLOR
    with pytest.raises(ValueError):
        drawing.overlay_views([gray()], labels)


def test_contact_sheet_puts_keypoints_where_the_scaled_image_has_them(keypoints_px):
    sample = drawing.SheetSample(gray(96, 96), keypoints_px, np.ones(21, bool), None, "a")
    sheet = drawing.contact_sheet([sample] * 3, columns=2, cell_px=192)
    assert sheet.shape == (2 * (192 + 18), 384, 3)
    x, y = np.round((keypoints_px[12] + 0.5) * 2 - 0.5).astype(int)
    assert tuple(sheet[18 + y, x]) == drawing.FINGER_COLORS["middle"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("view")
    annotations = write_annotations(folder / "annotations", frames=1)
    config = SynthesizeConfig(samples=10, size=64, samples_per_shard=5, workers=1)
    stage.run(annotations, folder / "shards", None, config)
    return folder / "shards"


def test_read_sheet_takes_samples_evenly_over_the_manifests_shards(made, tmp_path):
    copy = tmp_path / "shards"
    shutil.copytree(made, copy)
    shutil.copy(copy / "train-000000.tar", copy / "other-000000.tar")  # not of this run
    keys = [sample.label.split()[0] for sample in drawing.read_sheet(copy, 4)]
    assert keys == [f"train_{i:09d}" for i in (0, 3, 6, 9)]
    everything = drawing.read_sheet(copy, 99)
    assert len(everything) == 10 and all(sample.mask is not None for sample in everything)
    key, group = list(shards.read_groups(copy / "train-000001.tar"))[2]
    document = shards.read_document(copy / "train-000001.tar", key, group)
    np.testing.assert_allclose(everything[7].keypoints_px, document["keypoints_2d"])
    assert everything[7].label == f"{key} {document['side']}"


def test_read_sheet_names_what_is_wrong(made, tmp_path):
    with pytest.raises(HandgenError, match="no finished shards"):
        drawing.read_sheet(tmp_path)
    copy = tmp_path / "shards"
    shutil.copytree(made, copy)
    path = copy / "train-000000.tar"
    path.write_bytes(b"not a tar" + bytes(path.stat().st_size - 9))
    with pytest.raises(HandgenError, match="not a readable tar"):
        drawing.read_sheet(copy)
