import tarfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.annotations import draw_hand, open_hand, random_pose, ring_cameras, write_annotations
from support.synthesize import GREY, PLAIN, maker_of

from handgen.errors import HandgenError
from handgen.geometry.camera import Camera
from handgen.hand.model import HandModel, single_pose
from handgen.io import shards
from handgen.media import images
from handgen.stages.synthesize import sources, stage
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.stages.synthesize.virtual_camera import draw_view
from handgen.storage.tar import write_tar

MAGENTA, CYAN = (230, 20, 210), (20, 210, 230)  # of right and of left hands


@pytest.fixture(scope="module")
def flat_annotations(tmp_path_factory) -> Path:
    """Two hands of one colour each, without shading or blur, one often before the other."""
    root = tmp_path_factory.mktemp("flat") / "annotations"
    return write_annotations(root, color=MAGENTA, left_color=CYAN, flat=True, apart_m=0.06)


configs = st.builds(
    lambda size, rotation, low, span, **options: replace(
        PLAIN, size=size, rotation_deg=rotation, hand_share=(low, low + span), **options
    ),
    size=st.integers(48, 320),
    rotation=st.floats(0, 180),
    low=st.floats(0.25, 1.1),
    span=st.floats(0, 0.3),
    seed=st.integers(0, 2**40),
    shift_share=st.floats(0, 0.3),
    flip_probability=st.sampled_from([0.0, 0.5, 1.0]),
    shadow_probability=st.sampled_from([0.0, 1.0]),
    occluder_probability=st.sampled_from([0.0, 1.0]),
    other_hand=st.booleans(),
    forearm_probability=st.sampled_from([0.0, 1.0]),
    blend=st.sampled_from(["alpha", "hard"]),
)


def own_color(document) -> tuple[int, int, int]:
    """Measure the sample's hand; mirroring changes its side, not its colour."""
    return MAGENTA if (document["side"] == "right") != document["mirrored"] else CYAN


def drawn_alone(hand_labels, camera_labels) -> np.ndarray:
    """Mask where the hand of the labels projects: their parameters, model and camera, drawn with nothing in front."""
    model = HandModel.load("open", hand_labels["side"])
    hand = hand_labels["hand"]
    posed = model(single_pose(hand["pose"], hand["translation_m"], hand["betas"]))
    size = tuple(camera_labels["size_px"])
    return draw_hand(Camera("sample", size, np.array(camera_labels["intrinsics"])), posed, model.faces, flat=True).mask


@settings(max_examples=60)
@given(config=configs, pick=st.integers(0, 1000))
def test_labels_agree_with_each_other_and_with_the_pixels(flat_annotations, config, pick):
    maker, unit = maker_of(flat_annotations, config)
    sample = maker.sample(unit, pick % len(unit.views))
    document = sample.document
    shards.validate(document, shards.SAMPLE_SCHEMA, "sample")
    assert config.other_hand or document["other_hand"] is None
    for labels in filter(None, (document, document["other_hand"])):
        points = np.array(labels["keypoints_3d"])
        projected = points @ np.array(document["camera"]["intrinsics"]).T
        assert np.abs(projected[:, :2] / projected[:, 2:] - labels["keypoints_2d"]).max() < 0.1  # px
        model = HandModel.load(labels["hand"]["model"], labels["side"])
        assert model.arrays.sha256 == labels["hand"]["model_sha256"]
        hand = labels["hand"]
        posed = model(single_pose(hand["pose"], hand["translation_m"], hand["betas"]))
        assert np.abs(posed.keypoints[0].numpy() - points).max() < 1e-4  # metres

    pixels = np.array(document["keypoints_2d"])
    inside = ((pixels >= -0.5) & (pixels <= config.size - 0.5)).all(1)
    visible = np.array(document["visible"], bool)
    assert not (visible & ~inside).any()
    mask = images.decode_grey(sample.mask_png, "mask")
    alone = cv2.erode(drawn_alone(document, document["camera"]), np.ones((5, 5), np.uint8))
    if not config.occluder_probability and document["other_hand"] is None:
        assert (visible == inside).all()
    columns, rows = np.round(pixels[inside]).astype(int).T
    in_flesh = alone[rows, columns] > 0  # there, what is seen of the hand is what nothing covers
    in_flesh &= np.ptp(pixels, axis=0).max() >= 40  # in smaller hands a gap between fingers is no pixel wide
    assert ((mask[rows, columns] > 0) == visible[inside])[in_flesh].all()

    image = images.decode_rgb(sample.image_jpeg, "image").astype(float)
    assert mask.shape == image.shape[:2] == (config.size, config.size)
    is_hand = np.abs(image - own_color(document)).max(-1) < 60
    kernel = np.ones((5, 5), np.uint8)  # up to 2 px from the edge colours are mixed, by blending and by JPEG
    deep, far = cv2.erode(mask, kernel) > 0, cv2.dilate(mask, kernel) == 0
    # One pixel besides: on hands of 20 px the gap between two fingers is narrower than a pixel of the mask.
    assert (~is_hand[deep]).sum() <= 1 + 0.005 * deep.sum()
    if not config.occluder_probability:  # which may be another hand of the same colour
        assert is_hand[far].sum() <= 1 + 0.005 * far.sum()
        if not config.shadow_probability and document["other_hand"] is None:
            assert (np.abs(image - GREY).max(-1) >= 25)[far].sum() <= 1 + 0.005 * far.sum()


@settings(max_examples=15)
@given(config=configs, pick=st.integers(0, 1000))
def test_the_mask_is_where_the_model_projects(flat_annotations, config, pick):
    """Pixels, camera and model agree: the mesh posed by the labels covers the mask."""
    maker, unit = maker_of(flat_annotations, replace(config, occluder_probability=0.0, other_hand=False))
    sample = maker.sample(unit, pick % len(unit.views))
    expected = drawn_alone(sample.document, sample.document["camera"])
    mask = images.decode_grey(sample.mask_png, "mask")
    kernel = np.ones((5, 5), np.uint8)
    filled = cv2.morphologyEx(expected, cv2.MORPH_CLOSE, kernel)  # gaps and slivers of 2 px may vanish
    assert not (cv2.erode(mask, kernel) & ~filled).any()
    thick = cv2.morphologyEx(expected, cv2.MORPH_OPEN, kernel)
    # A few pixels besides: on hands of 40 px an opened and eroded finger is one pixel wide.
    assert (cv2.erode(thick, kernel) & ~mask).astype(bool).sum() <= 5 + 0.002 * mask.size


@settings(max_examples=15)
@given(config=configs, pick=st.integers(0, 1000), everything=st.booleans())
def test_photometric_options_change_no_label(flat_annotations, config, pick, everything):
    """Light, grain, augmentation and JPEG leave every pixel in its place: labels and mask stay the same."""
    place = pick % 8
    config = replace(config, occluder_probability=0.0)
    maker, unit = maker_of(flat_annotations, config)
    plain = maker.sample(unit, place)
    changed = {"light_matching": 1.0, "grain": True} | (
        {"augment": "default", "jpeg_quality": (30, 60)} if everything else {}
    )
    maker, _ = maker_of(flat_annotations, replace(config, **changed))
    other = maker.sample(unit, place)
    assert other.document == plain.document and other.mask_png == plain.mask_png
    assert other.image_jpeg != plain.image_jpeg


def test_a_mirrored_sample_is_the_other_one_seen_in_a_mirror(flat_annotations):
    straight = replace(PLAIN, flip_probability=0.0)
    mirrored = replace(PLAIN, flip_probability=1.0)
    for place in range(4):
        maker, unit = maker_of(flat_annotations, straight)
        a = maker.sample(unit, place)
        maker, _ = maker_of(flat_annotations, mirrored)
        b = maker.sample(unit, place)
        assert (a.document["mirrored"], b.document["mirrored"]) == (False, True)
        width = PLAIN.size
        assert {a.document["side"], b.document["side"]} == {"left", "right"}
        for one, two in ((a.document, b.document), (a.document["other_hand"], b.document["other_hand"])):
            if one is None:
                assert two is None
                continue
            assert {one["side"], two["side"]} == {"left", "right"}
            pixels_a, pixels_b = np.array(one["keypoints_2d"]), np.array(two["keypoints_2d"])
            assert np.abs(width - 1 - pixels_a[:, 0] - pixels_b[:, 0]).max() < 1e-3
            assert np.abs(pixels_a[:, 1] - pixels_b[:, 1]).max() < 1e-3
            assert one["visible"] == two["visible"]
        mask_a, mask_b = (images.decode_grey(s.mask_png, "mask") for s in (a, b))
        assert (mask_a[:, ::-1] != mask_b).mean() < 0.001
        image_a, image_b = (images.decode_rgb(s.image_jpeg, "image").astype(int) for s in (a, b))
        assert np.abs(image_a[:, ::-1] - image_b).mean() < 2  # grey levels: JPEG's blocks lie elsewhere
        # Camera and world are mirrored too: the capture's keypoints, mirrored, land on the sample's.
        world = unit.views[place]["keypoints_world_m"] * [-1, 1, 1]
        cam_from_world = np.array(b.document["camera"]["cam_from_world"])
        in_camera = world @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
        assert np.abs(in_camera - b.document["keypoints_3d"]).max() < 1e-6


def test_two_hands_keep_their_true_relation(flat_annotations):
    """Both hands' keypoints, taken back to the world, are the annotations'; the nearer hand covers the other one."""
    maker, unit = maker_of(flat_annotations, replace(PLAIN, hand_share=(0.4, 0.4), flip_probability=0.0))
    seen = 0
    for place in range(len(unit.views)):
        sample = maker.sample(unit, place)
        document, other = sample.document, sample.document["other_hand"]
        if other is None:
            continue
        seen += 1
        assert other["side"] != document["side"]
        cam_from_world = np.array(document["camera"]["cam_from_world"])
        for labels, row in ((document, unit.views[place]), (other, unit.others[place])):
            in_camera = row["keypoints_world_m"] @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
            assert np.abs(in_camera - labels["keypoints_3d"]).max() < 1e-6  # metres
        image = images.decode_rgb(sample.image_jpeg, "image").astype(int)
        colors = {"right": MAGENTA, "left": CYAN}
        near, far = sorted((document, other), key=lambda labels: np.median(np.array(labels["keypoints_3d"])[:, 2]))
        kernel = np.ones((5, 5), np.uint8)  # up to 2 px from an edge colours are mixed
        near_alone, far_alone = (drawn_alone(labels, document["camera"]) for labels in (near, far))
        only_far = cv2.erode(far_alone & ~cv2.dilate(near_alone, kernel), kernel)
        for where, side in ((cv2.erode(near_alone, kernel), near["side"]), (only_far, far["side"])):
            assert (np.abs(image - colors[side]).max(-1) < 60)[where > 0].mean() > 0.97
    assert seen >= 8


def test_a_hand_of_which_the_capture_shows_too_little_gives_an_empty_mask(tmp_path):
    """Hidden all but a fingertip, seen narrowly: one sample of a million must not end the run."""
    root = write_annotations(tmp_path, frames=1, cameras=1, sides=("right",), accept_all=True)
    path = root / "chunks/000000.tar"
    with tarfile.open(path) as tar:
        members = {m.name: tar.extractfile(m).read() for m in tar}
    for name, data in members.items():
        if name.endswith(".mask.png"):
            mask = images.decode_grey(data, name)
            corner = np.zeros_like(mask)
            corner[:3, :3] = 255  # of the cutout: far from the hand
            members[name] = images.encode_mask_png(corner)
    write_tar(path, members.items())
    for options in ({}, {"light_matching": 1.0, "grain": True, "shadow_probability": 1.0, "occluder_probability": 1.0}):
        maker, unit = maker_of(root, replace(PLAIN, hand_share=(1.5, 1.5), shift_share=0.0, **options))
        sample = maker.sample(unit, 0)
        shards.validate(sample.document, shards.SAMPLE_SCHEMA, "sample")
        assert not images.decode_grey(sample.mask_png, "mask").any() and sample.document["box_px"] == [0, 0, 0, 0]


def test_without_the_other_hand_a_sample_has_one(flat_annotations):
    maker, unit = maker_of(flat_annotations, replace(PLAIN, other_hand=False))
    assert all(maker.sample(unit, place).document["other_hand"] is None for place in range(4))


def test_no_flips_when_the_left_model_is_not_the_mirror_of_the_right(tmp_path, monkeypatch):
    root = write_annotations(tmp_path / "annotations", frames=1)
    monkeypatch.setattr("handgen.stages.synthesize.sources.sides_mirror", lambda right, left: False)
    report = stage.run(root, tmp_path / "shards", None, replace(PLAIN, flip_probability=1.0, samples=4, workers=1))
    assert any("mirror" in note for note in report.notes)
    assert shards.read_manifest(tmp_path / "shards")["flips"] is False
    monkeypatch.undo()
    right, left = open_hand("right").arrays, open_hand("left").arrays
    assert sources.sides_mirror(right, left)
    assert not sources.sides_mirror(right, replace(left, shapedirs=-left.shapedirs))
    assert not sources.sides_mirror(right, replace(left, posedirs=left.posedirs + 0.01))


def test_the_preview_shows_what_the_run_writes(flat_annotations, tmp_path):
    config = replace(PLAIN, samples=12, size=64, workers=1, samples_per_shard=5)
    drawn = stage.preview(flat_annotations, None, config, count=8)
    stage.run(flat_annotations, tmp_path / "shards", None, config)
    written = [
        group
        for path in sorted((tmp_path / "shards").glob("*.tar"))
        for _, group in shards.read_groups(path)
    ]  # fmt: skip
    assert [sample.image_jpeg for sample in drawn] == [group[shards.IMAGE] for group in written[:8]]
    assert len(stage.preview(flat_annotations, None, replace(config, samples=3), count=8)) == 3


def test_missing_annotations_are_named(tmp_path):
    with pytest.raises(HandgenError, match="run `handgen annotate"):
        stage.run(tmp_path / "nothing", tmp_path / "shards", None, PLAIN)
    assert not (tmp_path / "shards").exists()


def test_a_hand_behind_the_camera_is_refused(rng):
    camera = ring_cameras(1)[0]
    keypoints = open_hand("left")(random_pose("left", rng)).keypoints[0].numpy()
    behind = keypoints + 3 * (camera.center_world - keypoints.mean(0))
    with pytest.raises(ValueError, match="not in front"):
        draw_view(camera, behind, PLAIN, False, rng)


def test_configuration_is_checked():
    for bad in (
        {"samples": 0},
        {"size": 3},
        {"split": "a.b"},
        {"jpeg_quality": (90, 80)},
        {"flip_probability": 2.0},
        {"shadow_probability": -0.1},
        {"occluder_probability": 1.1},
        {"blend": "multiply"},
        {"hand_share": (0.9, 0.5)},
        {"workers": 0},
    ):
        with pytest.raises(ValueError, match=next(iter(bad))):
            SynthesizeConfig(**bad)


def test_torch_stays_on_the_threads_it_had(tmp_path):
    before = torch.get_num_threads()
    root = write_annotations(tmp_path / "annotations", frames=1, cameras=1)
    stage.run(root, tmp_path / "shards", None, replace(PLAIN, workers=1))
    assert torch.get_num_threads() == before
