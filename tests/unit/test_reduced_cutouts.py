"""Cutouts larger than a sample needs are read smaller; what they show stays in its place."""

from dataclasses import replace

import numpy as np
import pytest
from support.annotations import draw_hand, open_hand, write_annotations
from support.synthesize import PLAIN, maker_of

from handgen.geometry.camera import Camera
from handgen.hand.model import single_pose
from handgen.media import images

FINER = 8  # sub-pixels per pixel of the mask that is drawn to compare with


@pytest.fixture(scope="module")
def annotations(tmp_path_factory):
    return write_annotations(tmp_path_factory.mktemp("reduced") / "annotations", flat=True)


def middle(mask) -> np.ndarray:
    return np.argwhere(mask)[:, ::-1].mean(0)


def drawn_middle(document) -> np.ndarray:
    """The middle of the hand that the labels say, in pixels of the sample."""
    hand, camera = document["hand"], document["camera"]
    model = open_hand(document["side"])
    fine = Camera("sample", tuple(camera["size_px"]), np.array(camera["intrinsics"]))
    fine = fine.resized(tuple(FINER * n for n in camera["size_px"]))
    posed = model(single_pose(hand["pose"], hand["translation_m"], hand["betas"]))
    return (middle(draw_hand(fine, posed, model.faces, flat=True).mask > 0) + 0.5) / FINER - 0.5


@pytest.mark.parametrize("share", [0.35, 0.8])
def test_a_reduced_cutout_is_not_shifted(annotations, monkeypatch, share):
    """A block of 8 pixels becomes one, whose centre lies between theirs: 3.5 pixels on."""
    config = replace(
        PLAIN, size=64, rotation_deg=0.0, flip_probability=0.0, hand_share=(share, share), other_hand=False
    )
    maker, unit = maker_of(annotations, config)
    read, used = maker._pixels, set()

    def noted(source, scale):
        pixels, factor = read(source, scale)
        used.add(factor)
        return pixels, factor

    monkeypatch.setattr(maker, "_pixels", noted)
    off = []
    for place in range(len(unit.views)):
        sample = maker.sample(unit, place)
        off.append(middle(images.decode_grey(sample.mask_png, "mask") > 127) - drawn_middle(sample.document))
    assert min(used) > 1
    # Pixels of the sample: each mask is off by 0.1, at random; a cutout laid at its corner by 0.3 to the left and up.
    assert np.abs(np.mean(off, 0)).max() < 0.12
