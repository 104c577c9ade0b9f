"""The arm that `segment` gives: forearm and sleeve from the wrist on."""

import cv2
import numpy as np
import pytest
from support.skin_pictures import SIZE, guides, painted, textured

from handgen.segmentation.segment import OtherHand, guides_of, iou, segment

GREEN = np.broadcast_to(np.array([40, 200, 60]), (*SIZE, 3))


def beyond(scene):  # noqa: F811
    """The painted forearm without the hand."""
    return cv2.bitwise_and(scene[0], cv2.bitwise_not(scene[1]))


@pytest.mark.parametrize("background", ["screen", "texture"])
def test_the_arm_is_the_forearm_without_the_hand(scene, hand, rng, background):  # noqa: F811
    image, _ = painted(scene, GREEN if background == "screen" else textured(rng), rng)
    found = segment(image, guides(scene, hand), 150)
    assert iou(found.arm, beyond(scene)) > 0.85  # a short forearm's rim of a pixel is a tenth of it
    assert not (found.arm & found.mask).any()


def test_on_a_screen_a_sleeve_goes_on_to_the_border(scene, hand, rng):  # noqa: F811
    image, _ = painted(scene, GREEN, rng)
    rows, columns = np.nonzero(beyond(scene))
    low = rows > rows.max() - 25
    sleeve = np.zeros_like(scene[0])
    left, right = max(columns[low].min() - 25, 0), columns[low].max() + 25
    sleeve[rows.max() - 20 :, left:right] = 255
    image[sleeve > 0] = (60, 60, 140)
    found = segment(image, guides(scene, hand), 150, background="green")
    assert (found.arm[(sleeve > 0) & (found.mask == 0)] > 0).mean() > 0.99
    assert found.arm[-1].any()


def test_what_does_not_begin_at_the_wrist_is_no_arm(scene, hand, rng):  # noqa: F811
    image, _ = painted(scene, GREEN, rng)
    image[5:35, 5:35] = (200, 40, 40)
    arm = segment(image, guides(scene, hand), 150, background="green").arm
    assert arm.any()
    assert not arm[:40, :40].any()


def test_the_other_hand_is_no_arm(scene, hand, rng):  # noqa: F811
    image, _ = painted(scene, GREEN, rng)
    other = np.zeros_like(scene[0])
    other[:, : SIZE[0] // 2] = 255
    found = segment(image, guides(scene, hand, other=OtherHand(other, False)), 150, background="green")
    assert not (found.arm & other).any()


def test_no_arm_where_there_is_no_forearm_or_none_is_wanted(scene, hand, rng):  # noqa: F811
    image, _ = painted(scene, GREEN, rng)
    nothing = np.zeros_like(scene[0])
    without = guides_of(scene[1], nothing, np.full_like(nothing, 255))
    assert not segment(image, without, 150, background="green").arm.any()
    assert not segment(image, without, 150, background="any").arm.any()
    assert not segment(image, guides(scene, hand), 150, with_arm=False).arm.any()
