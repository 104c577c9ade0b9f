"""Labels of a sample against the model posed in the world and the camera that looks at it."""

from dataclasses import replace

import numpy as np
import pytest
from support.annotations import BETAS, open_hand, write_annotations
from support.synthesize import PLAIN, maker_of

from handgen.hand.model import single_pose
from handgen.hand.skeleton import MIRROR_X, other_side
from handgen.io.annotations import Annotations
from handgen.io.labelled import label_hand, label_sample
from handgen.stages.synthesize.labels import Labeller, RestWrist
from handgen.stages.synthesize.virtual_camera import draw_view
from handgen.storage.json_fields import to_document


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_annotations(tmp_path_factory.mktemp("labels") / "annotations", frames=2, flat=True, accept_all=True)


@pytest.fixture(scope="module")
def made(root):
    maker, unit = maker_of(root, PLAIN)
    return maker, unit, [maker._source(row) for row in unit.views]


@pytest.fixture(scope="module")
def labeller():
    arrays = {side: open_hand(side).arrays for side in ("left", "right")}
    # A wrist that rests off the origin and moves with the betas, as MANO's does.
    wrists = {side: RestWrist.of(model) for side, model in arrays.items()}
    return Labeller("capture", "open", {side: model.sha256 for side, model in arrays.items()}, wrists)


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_model_posed_by_the_labels_is_the_hand_in_the_camera(made, labeller, rng, mirrored):
    _, _, sources = made
    for source in sources:
        view = draw_view(source.camera, source.keypoints_world_m, PLAIN, mirrored, rng)
        labels = to_document(labeller.hand(source, view, None))
        assert labels["side"] == (other_side(source.side) if mirrored else source.side)
        hand, model = labels["hand"], open_hand(labels["side"])
        posed = model(single_pose(hand["pose"], hand["translation_m"], hand["betas"]))
        np.testing.assert_allclose(posed.keypoints[0], labels["keypoints_3d"], atol=1e-5)
        world = source.keypoints_world_m * MIRROR_X if mirrored else source.keypoints_world_m
        np.testing.assert_allclose(labels["keypoints_3d"], view.camera.cam_from_world.apply(world), atol=6e-8)
        for values in (labels["keypoints_3d"], hand["pose"], hand["translation_m"]):
            assert np.abs(values - np.round(values, 6)).max() > 1e-8  # they have seven digits
        np.testing.assert_allclose(labels["keypoints_2d"], view.camera.project(world)[0], atol=1e-2)
        np.testing.assert_array_equal(labels["visible"], view.camera.project(world)[1])
        np.testing.assert_allclose(hand["betas"], BETAS)


def test_a_wrist_that_rests_off_the_origin_is_turned_about(made, labeller, rng):
    """The open hand's wrist rests near the origin; with one that does not, a wrong sign shows."""
    _, _, sources = made
    source = sources[0]
    arrays = open_hand(source.side).arrays
    off = replace(arrays, template=arrays.template + [0.09, 0.01, 0.02], shapedirs=arrays.shapedirs + 0.004)
    wrist = RestWrist.of(off)
    np.testing.assert_allclose(wrist(BETAS), off.joint_regressor[0] @ (off.template + off.shapedirs @ BETAS), atol=1e-9)
    view = draw_view(source.camera, source.keypoints_world_m, PLAIN, False, rng)
    labels = replace(labeller, rest_wrists={source.side: wrist}).hand(source, view, None).hand
    placed = view.camera.cam_from_world.apply(wrist(BETAS) + source.translation_m)
    np.testing.assert_allclose(wrist(BETAS) + labels.translation_m, placed, atol=1e-6)


def test_keypoints_are_hidden_by_what_covers_more_than_half_of_their_pixel(made, labeller, rng):
    _, _, sources = made
    source = sources[0]
    view = draw_view(source.camera, source.keypoints_world_m, replace(PLAIN, shift_share=0.0), False, rng)
    pixels, inside = view.camera.project(source.keypoints_world_m)
    assert inside.all()
    for level, seen in ((0, True), (127, True), (128, False), (255, False)):
        covered = np.full((PLAIN.size, PLAIN.size), level, np.uint8)
        assert labeller.hand(source, view, covered).visible.tolist() == [seen] * 21
    covered = np.zeros((PLAIN.size, PLAIN.size), np.uint8)
    column, row = np.round(pixels[8]).astype(int)
    covered[row, column] = 255
    visible = labeller.hand(source, view, covered).visible
    assert not visible[8] and visible.sum() >= 18  # a neighbour may share the pixel
    hidden = replace(source, shown=np.arange(21) != 4)
    assert labeller.hand(hidden, view, None).visible.tolist() == [i != 4 for i in range(21)]


def test_a_sample_reads_as_it_was_labelled(made):
    maker, unit, sources = made
    for place in range(len(unit.views)):
        sample = maker.sample(unit, place)
        document = sample.document
        image = label_sample("key", document, {"jpg": b"picture", "mask.png": b"mask"})
        assert (image.name, image.size_px, image.image, image.mask) == ("key", (224, 224), b"picture", b"mask")
        assert image.frame == sources[place].frame and image.mirrored == document["mirrored"]
        assert (image.capture, image.camera) == (document["source"]["capture"], sources[place].camera.name)
        np.testing.assert_allclose(image.cam_from_world.as_matrix(), document["camera"]["cam_from_world"])
        np.testing.assert_allclose(image.intrinsics, document["camera"]["intrinsics"])
        wanted = [document, *filter(None, [document["other_hand"]])]
        assert len(image.hands) == len(wanted)
        for hand, labels in zip(image.hands, wanted, strict=True):
            assert hand.side == labels["side"] and hand.visible.tolist() == [bool(v) for v in labels["visible"]]
            np.testing.assert_array_equal(hand.keypoints_px, labels["keypoints_2d"])
            np.testing.assert_array_equal(hand.keypoints_cam_m, labels["keypoints_3d"])
            np.testing.assert_array_equal(hand.parameters.pose, labels["hand"]["pose"])
            np.testing.assert_array_equal(hand.parameters.translation_m, labels["hand"]["translation_m"])
        assert image.hands[0].box_px == tuple(document["box_px"])


def test_a_record_reads_as_its_cameras_see_it(root):
    annotations = Annotations(root)
    for _, record in annotations:
        arrays = open_hand(record.side).arrays
        betas = annotations.betas[record.subject]
        for view in record.views:
            hand = label_hand(record, view, betas, arrays)
            given = hand.parameters
            posed = open_hand(record.side)(single_pose(given.pose, given.translation_m, given.betas))
            np.testing.assert_allclose(posed.keypoints[0], hand.keypoints_cam_m, atol=1e-6)
            pixels, seen = view.camera.project(record.keypoints_world_m)
            np.testing.assert_allclose(hand.keypoints_px, pixels, atol=1e-9)
            np.testing.assert_array_equal(hand.visible, seen)
            assert hand.labelled.all() and given.model == "open" and given.model_sha256 == arrays.sha256
        behind = replace(record, keypoints_world_m=2 * record.views[0].camera.center_world - record.keypoints_world_m)
        assert not label_hand(behind, record.views[0], betas, arrays).labelled.any()
