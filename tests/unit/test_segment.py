import cv2
import numpy as np
import pytest
from support.skin_pictures import SIZE, guides, painted, textured

from handgen.segmentation.segment import MeshGuides, OtherHand, guides_of, iou, segment


@pytest.mark.parametrize(("background", "least"), [("screen", 0.93), ("texture", 0.90)])
def test_the_mask_is_the_hand_without_its_forearm(scene, hand, rng, background, least):
    colors = np.array([40, 200, 60]) if background == "screen" else textured(rng)
    image, truth = painted(scene, np.broadcast_to(colors, (*SIZE, 3)), rng)
    found = segment(image, guides(scene, hand), 150)
    assert iou(found.mask, truth) > least  # a pixel of edge all around is 5 %
    assert found.iou > least


def test_the_mask_follows_the_pixels_where_the_mesh_is_off(scene, hand, rng):
    image, truth = painted(scene, textured(rng), rng, hand_shift=(5, -3))
    found = segment(image, guides(scene, hand), 150)
    assert iou(found.mask, truth) > iou(scene[1], truth) + 0.05


def test_where_hand_and_background_look_alike_the_mask_is_the_mesh(scene, hand, rng):
    image, _ = painted(scene, np.broadcast_to([205, 150, 125], (*SIZE, 3)), rng)
    found = segment(image, guides(scene, hand), 150, background="any")
    assert iou(found.mask, scene[1]) > 0.95  # half a pixel of noise all around is 2.5 %
    assert found.iou > 0.8  # nothing contradicts the mesh


def test_gaps_between_fingers_stay_open_over_a_background_like_a_shaded_hand(scene, hand, rng):
    """Brown wood: plain GrabCut called a third of the gaps' pixels hand."""
    wood = np.array([150, 115, 95]) + cv2.GaussianBlur(rng.normal(0, 60, (*SIZE, 3)), (0, 0), 4)
    image, truth = painted(scene, wood, rng)
    found = segment(image, guides(scene, hand), 150, background="any")
    closed = cv2.morphologyEx(truth, cv2.MORPH_CLOSE, np.ones((25, 25), np.uint8))
    gaps = (closed > 0) & (truth == 0) & (scene[0] == 0)
    assert (found.mask[gaps] > 0).mean() < 0.15  # their rims are a pixel wide
    assert iou(found.mask, truth) > 0.985


@pytest.mark.parametrize("away", [(45, 0), (-40, -30), (10, 60)])
def test_without_a_screen_a_hand_that_lies_elsewhere_scores_low(scene, hand, rng, away):
    image, _ = painted(scene, textured(rng), rng, hand_shift=away)
    at_hand = segment(painted(scene, textured(rng), rng)[0], guides(scene, hand), 150, background="any").iou
    beside = segment(image, guides(scene, hand), 150, background="any").iou
    assert at_hand > 0.95
    assert beside < 0.8  # the rest lies deep inside the mesh, and is what the hand's colours are learnt from


def test_a_hand_that_is_not_there_scores_low(scene, hand, rng):
    image = textured(rng).clip(0, 255).astype(np.uint8)
    image[:, :120] = (30, 160, 60)
    found = segment(image, guides(scene, hand), 150, background="green")
    assert found.iou < 0.7


def test_a_nearer_hand_is_cut_out(scene, hand, rng):
    image, _ = painted(scene, textured(rng), rng)
    other = np.zeros(SIZE[::-1], np.uint8)
    other[:, 120:] = 255
    found = segment(image, guides(scene, hand, other=OtherHand(other, True)), 150)
    assert not found.mask[:, 120:].any()
    assert found.mask[:, :120].any()
    behind = segment(image, guides(scene, hand, other=OtherHand(other, False)), 150)
    assert behind.mask[:, 120:].any()


def test_the_same_image_gives_the_same_masks(scene, hand, rng):
    image, _ = painted(scene, textured(rng), rng)
    first = segment(image, guides(scene, hand), 150)
    cv2.setRNGSeed(77)
    second = segment(image, guides(scene, hand), 150)
    np.testing.assert_array_equal(second.mask, first.mask)
    np.testing.assert_array_equal(second.arm, first.arm)


def test_a_large_picture_gives_the_mask_of_a_small_one(scene, hand, rng):
    """Both grids, of models and of labels, are coarser than such a picture."""
    image, truth = painted(scene, textured(rng), rng)
    scaled = [cv2.resize(each, None, fx=4, fy=4, interpolation=cv2.INTER_LINEAR) for each in (image, *scene, truth)]
    image, forearm, mask, truth = scaled[0], *(np.where(m > 127, np.uint8(255), np.uint8(0)) for m in scaled[1:])
    large = guides_of(mask, forearm, np.full_like(mask, 255))
    assert iou(segment(image, large, 600).mask, truth) > 0.90


def test_what_is_behind_the_hand_is_said(scene, hand, rng):
    for color, said in (((40, 200, 60), "green"), ((30, 50, 190), "blue"), ((120, 110, 100), "any")):
        image, _ = painted(scene, np.broadcast_to(np.array(color), (*SIZE, 3)), rng)
        assert segment(image, guides(scene, hand), 150).screen == said
        assert segment(image, guides(scene, hand), 150, background="blue").screen == "blue"


def test_no_background_at_all_falls_back_to_the_mesh():
    full = np.full((20, 20), 255, np.uint8)
    none = np.zeros((20, 20), np.uint8)
    found = segment(np.full((20, 20, 3), 90, np.uint8), MeshGuides(full, none, none, none, full), 20, background="any")
    assert found.iou == 1.0
