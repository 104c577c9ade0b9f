"""Votes over pictures: which of them do not belong to their masks and labels."""

from dataclasses import replace

import numpy as np
import pytest
from support.annotations import open_hand
from support.label_checks import MODELS, K, found, hand_in_front

from handgen.geometry.meshes import mesh_mask
from handgen.hand.model import single_pose
from handgen.label_checks.checks import conclude, examine
from handgen.label_checks.evidence import Tolerances
from handgen.label_checks.pixels import inspect_picture
from handgen.media import images
from handgen.records.labelled_image import LabelledImage


def a_picture(image: LabelledImage, color: tuple[int, int, int], shift: int = 0) -> LabelledImage:
    """The hand's mesh in one colour, and its mask; shift: of the picture against the mask."""
    hand = image.hands[0]
    given = hand.parameters
    posed = open_hand(hand.side)(single_pose(given.pose, given.translation_m, given.betas))
    rays = posed.vertices[0].numpy() @ K.T
    mask = mesh_mask(rays[:, :2] / rays[:, 2:], open_hand(hand.side).faces, image.size_px)
    pixels = np.full((480, 640, 3), 128, np.uint8)
    pixels[np.roll(mask > 0, shift, 1)] = color
    return replace(image, image=images.encode_jpeg(pixels, 95), mask=images.encode_mask_png(mask))


def in_view(count: int) -> list[LabelledImage]:
    pictures = (hand_in_front("right", seed, name=f"p{seed}") for seed in range(10 * count))
    return [picture for picture in pictures if picture.hands[0].visible.all()][:count]


@pytest.mark.parametrize(
    ("color", "check"), [((70, 120, 190), {"colours"}), ((160, 160, 160), set()), ((190, 120, 70), set())]
)
def test_blue_hands_are_told_and_grey_ones_are_not(color, check):
    assert found(*(a_picture(image, color) for image in in_view(8))).keys() == check
    assert found(*(a_picture(image, color) for image in in_view(7))) == {}  # too few to say


def test_pictures_that_do_not_belong_to_their_masks_are_told():
    told = found(*(a_picture(image, (190, 120, 70), 150) for image in in_view(12)))
    assert told.keys() == {"picture against mask"}


def given_by(pictures: list[LabelledImage], sources: list[LabelledImage], masks: bool = True) -> list[LabelledImage]:
    """Pictures and, with `masks`, masks of other ones."""
    pairs = zip(pictures, sources, strict=True)
    return [replace(one, image=other.image, mask=other.mask if masks else one.mask) for one, other in pairs]


def test_pictures_that_are_moved_by_less_than_a_finger_are_told_with_their_shift():
    told = found(*(a_picture(image, (190, 120, 70), -5) for image in in_view(8)))
    assert "shifted by (-5, 0) px" in told["picture against mask"]


def test_labels_of_other_pictures_are_told_by_their_meshes():
    pictures = [a_picture(image, (190, 120, 70)) for image in in_view(10)]
    assert found(*pictures) == {}
    told = found(*given_by(pictures, pictures[1:] + pictures[:1]))
    assert "the labels belong to other pictures" in told["mesh against mask"]
    moved = [a_picture(replace(image, name=f"q{k}"), (190, 120, 70)) for k, image in enumerate(in_view(10))]
    both = []
    for picture in moved:
        pixels, mask = images.decode_rgb(picture.image, "picture"), images.decode_grey(picture.mask, "mask")
        pixels, mask = np.roll(pixels, 30, 0), np.roll(mask, 30, 0)
        both.append(replace(picture, image=images.encode_jpeg(pixels, 95), mask=images.encode_mask_png(mask)))
    assert "shifted by about (0, 30) px" in found(*both)["mesh against mask"]


def test_one_part_of_a_set_is_told_where_the_others_are_right():
    right = [a_picture(image, (190, 120, 70)) for image in in_view(24)]
    blue = [a_picture(image, (70, 120, 190)) for image in in_view(32)[24:]]
    parts = [examine(some, "", MODELS, Tolerances()) for some in (right[:12], right[12:], blue)]
    [finding] = conclude(parts, "")[0].kept
    assert (finding.kind, finding.where) == ("colours", f"{blue[0].name} to {blue[-1].name}")
    parts = [examine(some, "", MODELS, Tolerances()) for some in (right[:12], [*right[12:], *blue[:2]])]
    assert conclude(parts, "")[0].kept == []  # two gloves


def test_a_damaged_picture_is_one_finding():
    image = a_picture(in_view(1)[0], (190, 120, 70))
    assert "picture" in inspect_picture(replace(image, image=image.image[:300])).faults
    assert (
        "640x480, its labels say 320x240" in inspect_picture(replace(image, size_px=(320, 240))).faults["picture"].what
    )
    assert "not a readable image" in inspect_picture(replace(image, mask=b"no png")).faults["mask"].what
