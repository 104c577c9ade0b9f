import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import orjson
import pytest
import torch
from annotations_fixture import (
    BETAS,
    GREEN,
    draw_hand,
    open_hand,
    random_pose,
    ring_cameras,
    write_annotations,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from handgen.cameras import Camera
from handgen.config import SynthesizeConfig
from handgen.errors import HandgenError
from handgen.hand.model import HandModel, single_pose
from handgen.io import images, shards
from handgen.io.annotations import Annotations, Cutout
from handgen.synthesize import labels, stage
from handgen.synthesize.augment import augment, build_pipeline
from handgen.synthesize.backgrounds import FolderBackgrounds, SynthesizedBackgrounds, scan_folder
from handgen.synthesize.composite import composite, matte_and_core
from handgen.synthesize.patterns import draw_pattern
from handgen.synthesize.sample import Job, SampleMaker, ShardUnit
from handgen.synthesize.views import load_models, order_views, usable_views
from handgen.synthesize.virtual_camera import draw_view

MAGENTA = (230, 20, 210)
PLAIN = SynthesizeConfig(
    augment="none",
    light_matching=0.0,
    shadow_probability=0.0,
    occluder_probability=0.0,
    grain=False,
    jpeg_quality=(95, 95),
)


@pytest.fixture(scope="module")
def flat_annotations(tmp_path_factory) -> Path:
    """Hands of one colour, without shading or blur."""
    root = tmp_path_factory.mktemp("flat") / "annotations"
    return write_annotations(root, color=MAGENTA, flat=True)


class GreyBackgrounds:
    def draw(self, index, size, rng):
        return np.full((size, size, 3), 128, np.uint8), "grey"


def maker_of(root: Path, config: SynthesizeConfig, backgrounds=None) -> tuple[SampleMaker, np.ndarray]:
    annotations = Annotations(root)
    models = load_models(annotations, True)
    views = usable_views(annotations, models, config.include_rejected)
    digests = tuple((side, arrays.sha256) for side, arrays in models.arrays.items())
    job = Job(root, root, config, backgrounds or GreyBackgrounds(), "drawn", digests, models.flips)
    return SampleMaker(job), views


configs = st.builds(
    lambda size, seed, rotation, low, span, shift, flip: replace(
        PLAIN,
        size=size,
        seed=seed,
        rotation_deg=rotation,
        hand_share=(low, low + span),
        shift_share=shift,
        flip_probability=flip,
    ),
    size=st.integers(48, 320),
    seed=st.integers(0, 2**40),
    rotation=st.floats(0, 180),
    low=st.floats(0.25, 1.1),
    span=st.floats(0, 0.3),
    shift=st.floats(0, 0.3),
    flip=st.sampled_from([0.0, 0.5, 1.0]),
)


@settings(max_examples=40, deadline=None)
@given(config=configs, pick=st.integers(0, 1000))
def test_labels_agree_with_each_other_and_with_the_pixels(flat_annotations, config, pick):
    maker, views = maker_of(flat_annotations, config)
    sample = maker.sample(ShardUnit(0, 0, views), pick % len(views))
    document = sample.document
    shards.validate(document, shards.SAMPLE_SCHEMA, "sample")

    points = np.array(document["keypoints_3d"])
    intrinsics = np.array(document["camera"]["intrinsics"])
    projected = points @ intrinsics.T
    assert np.abs(projected[:, :2] / projected[:, 2:] - document["keypoints_2d"]).max() < 0.1  # px

    hand = document["hand"]
    model = HandModel.load(hand["model"], document["side"])
    assert model.arrays.sha256 == hand["model_sha256"]
    regenerated = model(single_pose(hand["pose"], hand["translation_m"], hand["betas"])).keypoints[0].numpy()
    assert np.abs(regenerated - points).max() < 1e-4  # metres

    pixels = np.array(document["keypoints_2d"])
    inside = ((pixels >= -0.5) & (pixels <= config.size - 0.5)).all(1)
    assert document["visible"] == inside.astype(int).tolist()

    image = images.decode_rgb(sample.image_jpeg, "image").astype(float)
    mask = images.decode_grey(sample.mask_png, "mask")
    assert mask.shape == image.shape[:2] == (config.size, config.size)
    is_hand = np.abs(image - MAGENTA).max(-1) < 60
    is_grey = np.abs(image - 128).max(-1) < 25
    kernel = np.ones((5, 5), np.uint8)  # up to 2 px from the edge colours are mixed, by blending and by JPEG
    deep, far = cv2.erode(mask, kernel) > 0, cv2.dilate(mask, kernel) == 0
    # One pixel besides: on hands of 20 px the gap between two fingers is narrower than a pixel of the mask.
    assert (~is_hand[deep]).sum() <= 1 + 0.005 * deep.sum()
    assert (~is_grey[far]).sum() <= 1 + 0.005 * far.sum()


@settings(max_examples=15, deadline=None)
@given(config=configs, pick=st.integers(0, 1000))
def test_the_mask_is_where_the_model_projects(flat_annotations, config, pick):
    """Pixels, camera and model agree: the mesh posed by the labels covers the mask."""
    maker, views = maker_of(flat_annotations, config)
    sample = maker.sample(ShardUnit(0, 0, views), pick % len(views))
    hand, document = sample.document["hand"], sample.document
    model = HandModel.load("open", document["side"])
    posed = model(single_pose(hand["pose"], hand["translation_m"], hand["betas"]))
    camera = Camera("sample", (config.size, config.size), np.array(document["camera"]["intrinsics"]))
    expected = draw_hand(camera, posed, model.faces, flat=True).mask
    mask = images.decode_grey(sample.mask_png, "mask")
    kernel = np.ones((5, 5), np.uint8)
    filled = cv2.morphologyEx(expected, cv2.MORPH_CLOSE, kernel)  # gaps and slivers of 2 px may vanish
    assert not (cv2.erode(mask, kernel) & ~filled).any()
    thick = cv2.morphologyEx(expected, cv2.MORPH_OPEN, kernel)
    assert (cv2.erode(thick, kernel) & ~mask).astype(bool).mean() < 0.002


def test_a_mirrored_sample_is_the_other_one_seen_in_a_mirror(flat_annotations):
    straight = replace(PLAIN, flip_probability=0.0)
    mirrored = replace(PLAIN, flip_probability=1.0)
    for place in range(4):
        maker, views = maker_of(flat_annotations, straight)
        a = maker.sample(ShardUnit(0, 0, views), place)
        maker, _ = maker_of(flat_annotations, mirrored)
        b = maker.sample(ShardUnit(0, 0, views), place)
        assert (a.document["mirrored"], b.document["mirrored"]) == (False, True)
        assert {a.document["side"], b.document["side"]} == {"left", "right"}
        width = PLAIN.size
        pixels_a, pixels_b = np.array(a.document["keypoints_2d"]), np.array(b.document["keypoints_2d"])
        assert np.abs(width - 1 - pixels_a[:, 0] - pixels_b[:, 0]).max() < 1e-3
        assert np.abs(pixels_a[:, 1] - pixels_b[:, 1]).max() < 1e-3
        mask_a, mask_b = (images.decode_grey(s.mask_png, "mask") for s in (a, b))
        assert (mask_a[:, ::-1] != mask_b).mean() < 0.001
        # Camera and world are mirrored too: the capture's keypoints, mirrored, land on the sample's.
        record = maker.annotations.records(int(views[place][0]))[int(views[place][1])]
        world = record.keypoints_world_m * [-1, 1, 1]
        cam_from_world = np.array(b.document["camera"]["cam_from_world"])
        in_camera = world @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
        assert np.abs(in_camera - b.document["keypoints_3d"]).max() < 1e-6


def test_no_flips_when_the_left_model_is_not_the_mirror_of_the_right(tmp_path, monkeypatch):
    root = write_annotations(tmp_path / "annotations", frames=1)
    monkeypatch.setattr("handgen.synthesize.views.sides_mirror", lambda right, left: False)
    report = stage.run(root, tmp_path / "shards", None, replace(PLAIN, flip_probability=1.0, samples=4, workers=1))
    assert "mirror" in report.flip_note
    assert shards.read_manifest(tmp_path / "shards")["flips"] is False
    right, left = open_hand("right").arrays, open_hand("left").arrays
    assert labels.sides_mirror(right, left)
    assert not labels.sides_mirror(right, replace(left, shapedirs=-left.shapedirs))
    assert not labels.sides_mirror(right, replace(left, posedirs=left.posedirs + 0.01))


def test_edges_carry_no_colour_of_the_old_background(rng):
    """A skin-coloured hand cut from a green wall and laid on grey: no pixel of the composite is green."""
    camera = ring_cameras(1)[0]
    hand = open_hand("right")(random_pose("right", rng))
    pixels, _ = camera.project(hand.vertices[0].numpy())
    left, top = np.floor(pixels.min(0)).astype(int) - 20
    width, height = np.ceil(pixels.max(0)).astype(int) + 21 - (left, top)
    camera = camera.cropped(int(left), int(top), int(width), int(height))
    cutout = draw_hand(camera, hand, open_hand("right").faces)
    grey = np.full((224, 224, 3), 120, np.uint8)
    for factor in (0.25, 0.6, 1.0, 2.0):
        config = replace(PLAIN, hand_share=(factor, factor))
        view = draw_view(camera, hand.keypoints[0].numpy(), config, False, rng)
        image, mask = composite(cutout, grey, view.sample_px_from_cutout_px, 0.0, rng)
        image = image.astype(int)
        greenness = image[..., 1] - np.maximum(image[..., 0], image[..., 2])  # skin is red, the ground is grey
        assert greenness.max() <= 8, factor
        assert mask.any()
    assert GREEN[1] - max(GREEN[0], GREEN[2]) > 100  # what a halo would show


def test_shrinking_does_not_alias(rng):
    """Fine stripes on a hand become their mean, not moire, when the hand is shrunk eight times."""
    stripes = np.zeros((800, 800, 3), np.uint8)
    stripes[:, ::2] = 200
    mask = np.zeros((800, 800), np.uint8)
    cv2.circle(mask, (400, 400), 300, 255, -1)
    homography = np.array([[1 / 8, 0, 0], [0, 1 / 8, 0], [0, 0, 1.0]])
    image, small = composite(Cutout(stripes, mask), np.zeros((100, 100, 3), np.uint8), homography, 0.0, rng)
    inside = cv2.erode(small, np.ones((7, 7), np.uint8)) > 0
    assert np.abs(image[inside].astype(int) - 100).max() <= 15  # 100 where every other stripe is skipped


def test_matte_is_soft_for_a_pixel_and_the_core_lies_inside():
    mask = np.zeros((40, 40), np.uint8)
    mask[:, 20:] = 255
    matte, core = matte_and_core(mask)
    row = matte[20]
    assert (row[:19] == 0).all() and (row[22:] == 1).all()
    assert (core[20][:21] == 0).all() and (core[20][22:] == 255).all()


def test_light_moves_towards_the_background(rng):
    mask = np.zeros((60, 60), np.uint8)
    mask[10:50, 10:50] = 255
    bright = np.full((60, 60, 3), (200, 150, 130), np.uint8)
    dark = np.full((60, 60, 3), 20, np.uint8)
    plain, _ = composite(Cutout(bright, mask), dark, np.eye(3), 0.0, np.random.default_rng(1))
    matched, _ = composite(Cutout(bright, mask), dark, np.eye(3), 0.5, np.random.default_rng(1))
    assert np.abs(plain[30, 30].astype(int) - bright[30, 30]).max() <= 1
    assert (matched[30, 30] < plain[30, 30]).all()
    assert matched[30, 30, 0] > matched[30, 30, 2]  # still skin


def test_augmentation_is_reproducible_leaves_pixels_in_place_and_draws_independently():
    pipeline = build_pipeline()
    image = draw_pattern(96, np.random.default_rng(3))
    first = [augment(pipeline, image, np.random.default_rng([5, i])) for i in range(20)]
    again = [augment(pipeline, image, np.random.default_rng([5, i])) for i in reversed(range(20))][::-1]
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != image).any() for a in first)
    kinds = {type(t).__name__ for t in pipeline.transforms}
    assert not any(issubclass(type(t), __import__("albumentations").DualTransform) for t in pipeline.transforms), kinds


def test_patterns_vary_and_depend_on_the_seed_alone():
    one, same, other = (draw_pattern(64, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.shape == (64, 64, 3) and one.dtype == np.uint8
    assert (one == same).all() and (one != other).any()
    assert SynthesizedBackgrounds().draw(0, 16, np.random.default_rng(0))[1] == "synthesized"


def write_pictures(root: Path, count: int, rng: np.random.Generator) -> None:
    for i in range(count):
        name = root / ("deep/er" if i % 2 else ".") / f"{i:03d}.{('png', 'jpg')[i % 2]}"
        picture = rng.integers(0, 255, (50 + i, 70, 3), dtype=np.uint8)
        name.parent.mkdir(parents=True, exist_ok=True)
        if i % 2:
            name.write_bytes(images.encode_jpeg(picture, 90))
        else:
            images.write_png(name, picture)


def test_folder_backgrounds_are_found_and_used_equally_often(tmp_path, rng):
    write_pictures(tmp_path, 6, rng)
    scan = scan_folder(tmp_path, 100, 0)
    assert len(scan.backgrounds.names) == 6 and not scan.skipped
    used = [scan.backgrounds.draw(i, 32, rng)[1] for i in range(12)]
    assert sorted(used[:6]) == sorted(used[6:]) == sorted(scan.backgrounds.names)
    assert "deep/er/001.jpg" in used
    image, name = FolderBackgrounds(tmp_path, scan.backgrounds.names, 0).draw(3, 32, np.random.default_rng(9))
    again, _ = scan.backgrounds.draw(3, 32, np.random.default_rng(9))
    assert image.shape == (32, 32, 3) and name == used[3] and (image == again).all()


def test_unreadable_backgrounds_are_named_and_skipped(tmp_path, rng):
    write_pictures(tmp_path, 3, rng)
    (tmp_path / "text.jpg").write_text("no picture")
    whole = (tmp_path / "deep/er/001.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    images.write_png(tmp_path / "tiny.png", np.zeros((4, 4, 3), np.uint8))
    scan = scan_folder(tmp_path, 100, 0)
    assert [name for name, _ in scan.skipped] == ["cut.jpg", "text.jpg", "tiny.png"]
    assert all(reason for _, reason in scan.skipped)
    assert len(scan.backgrounds.names) == 3


def test_folders_without_a_usable_picture_are_errors(tmp_path):
    with pytest.raises(HandgenError, match="no such folder"):
        scan_folder(tmp_path / "missing", 10, 0)
    with pytest.raises(HandgenError, match="holds no pictures"):
        scan_folder(tmp_path, 10, 0)
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(HandgenError, match=re.escape("none of 1 pictures can be used; the first: text.jpg")):
        scan_folder(tmp_path, 10, 0)


def test_every_view_is_used_equally_often_whatever_the_shards():
    whole = order_views(7, 3, 0, 40)
    parts = [order_views(7, 3, first, min(first + 6, 40)) for first in range(0, 40, 6)]
    assert (np.concatenate(parts) == whole).all()
    counts = np.bincount(whole, minlength=7)
    assert counts.max() - counts.min() <= 1
    assert (whole[:7] != whole[7:14]).any()


def test_rejected_views_are_left_out_unless_asked_for(tmp_path):
    root = write_annotations(tmp_path, frames=1, cameras=2)
    annotations = Annotations(root)
    models = load_models(annotations, True)
    assert len(usable_views(annotations, models, False)) == 3
    assert len(usable_views(annotations, models, True)) == 4


def test_records_that_do_not_fit_the_model_are_an_error(tmp_path, monkeypatch):
    root = write_annotations(tmp_path, frames=1, cameras=1)
    manifest = (root / "manifest.json").read_bytes()
    beta = f"{BETAS[0]}".encode()
    assert beta in manifest
    (root / "manifest.json").write_bytes(manifest.replace(beta, b"2.9", 1))
    annotations = Annotations(root)
    with pytest.raises(HandgenError, match=r"frame 0, .* mm from the record's"):
        usable_views(annotations, load_models(annotations, True), False)


def test_missing_annotations_and_an_empty_mask_are_named(tmp_path, rng):
    with pytest.raises(HandgenError, match="run `handgen annotate"):
        stage.run(tmp_path / "nothing", tmp_path / "shards", None, PLAIN)
    assert not (tmp_path / "shards").exists()
    empty = Cutout(np.zeros((20, 20, 3), np.uint8), np.zeros((20, 20), np.uint8))
    with pytest.raises(HandgenError, match="mask is empty"):
        composite(empty, np.zeros((32, 32, 3), np.uint8), np.eye(3), 0.0, rng)


def test_a_hand_behind_the_camera_is_refused(rng):
    camera = ring_cameras(1)[0]
    keypoints = open_hand("left")(random_pose("left", rng)).keypoints[0].numpy()
    behind = keypoints + 3 * (camera.center_world - keypoints.mean(0))
    with pytest.raises(ValueError, match="not in front"):
        draw_view(camera, behind, PLAIN, False, rng)


def test_keypoints_that_the_capture_does_not_show_are_not_visible(tmp_path):
    """A cutout that ends at the border of the capture's image: what lies beyond has no pixels."""
    root = write_annotations(tmp_path, frames=1, cameras=1, sides=("right",), accept_all=True)
    maker, views = maker_of(root, replace(PLAIN, hand_share=(0.5, 0.5), shift_share=0.0))
    _, record, view = maker._look_up(views[0])
    virtual = draw_view(view.camera, record.keypoints_world_m, PLAIN, False, np.random.default_rng(0))

    full = maker.annotations.rig[view.camera.name]

    def visible(camera: Camera, capture_camera: Camera = full) -> list[int]:
        cut = replace(view, camera=camera)
        source = labels.Source("c", "open", maker.model_sha256, record, cut, capture_camera, BETAS)
        return labels.sample_document(source, virtual, maker.rest_wrists["right"], "k", 0, [0, 0, 0], "b")["visible"]

    assert sum(visible(view.camera)) == 21
    width, height = view.camera.size_px
    half = view.camera.cropped(0, 0, width // 2, height)
    pixels, _ = view.camera.project(record.keypoints_world_m)
    assert visible(half) == (pixels[:, 0] <= width // 2 - 0.5).astype(int).tolist()
    assert 0 < sum(visible(half)) < 21
    # The same where the cutout reaches beyond the image, which has black pixels then.
    pixels, _ = full.project(record.keypoints_world_m)
    border = int(np.median(pixels[:, 0]))
    narrow = replace(full, size_px=(border, full.size_px[1]))
    assert visible(view.camera, narrow) == (pixels[:, 0] <= border - 0.5).astype(int).tolist()
    assert 0 < sum(visible(view.camera, narrow)) < 21


def test_a_view_of_a_camera_that_the_manifest_does_not_list_is_an_error(tmp_path):
    root = write_annotations(tmp_path, frames=1, cameras=2)
    manifest = orjson.loads((root / "manifest.json").read_bytes())
    manifest["cameras"] = manifest["cameras"][1:]
    (root / "manifest.json").write_bytes(orjson.dumps(manifest))
    annotations = Annotations(root)
    with pytest.raises(HandgenError, match=r"is of camera 'cam0', which the manifest does not list"):
        usable_views(annotations, load_models(annotations, True), True)


def test_configuration_is_checked():
    for bad in (
        {"samples": 0},
        {"size": 3},
        {"split": "a.b"},
        {"jpeg_quality": (90, 80)},
        {"flip_probability": 2.0},
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
