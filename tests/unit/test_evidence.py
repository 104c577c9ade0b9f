from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from handgen.reconstruct import quality
from handgen.reconstruct.settings import QualityLimits
from handgen.segmentation.evidence import MaskEvidence, mask_evidence

SIZE, EXTENT_PX = 240, 90.0


def disc(x, y, radius=36):
    mask = np.zeros((SIZE, SIZE), np.uint8)
    cv2.circle(mask, (x, y), radius, 255, -1)
    return mask


def guides(mesh):
    nothing = np.zeros_like(mesh)
    return SimpleNamespace(hand=mesh, unknown=nothing, forearm=nothing)


def picture(rng, hand=(200, 150, 120), room=(90, 110, 140), noise=6):
    """A hand's disc in the middle of a room, both of one colour with noise."""
    image = np.where(disc(120, 120)[..., None] > 0, hand, room) + rng.normal(0, noise, (SIZE, SIZE, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def reasons(evidence, error=None, **more):
    return quality.view_reasons(np.ones(21, bool), error, 0.9, 1.0, QualityLimits(), evidence, **more)


@pytest.mark.parametrize("scale", [1, 3])
def test_a_hand_that_is_there_is_borne_out(rng, scale):
    """Also in a picture of three times the size, which is looked at smaller."""
    size = (SIZE * scale, SIZE * scale)
    image = cv2.resize(picture(rng), size, interpolation=cv2.INTER_CUBIC)
    mask = cv2.resize(disc(120, 120), size, interpolation=cv2.INTER_NEAREST)
    found = mask_evidence(image, mask, guides(mask), EXTENT_PX * scale)
    assert found.colour_overlap < 0.2 and found.background_share < 0.05 and found.edge_support > 3
    assert reasons(found) == ()


def test_a_mesh_beside_the_hand_is_not_borne_out(rng):
    """The mask that is guided by a mesh fills it, wherever it is."""
    beside = disc(136, 120)
    found = mask_evidence(picture(rng), beside, guides(beside), EXTENT_PX)
    assert quality.NO_EVIDENCE in reasons(found)
    assert quality.NO_EVIDENCE not in reasons(found, quality.ViewError(1.0, 0.01))  # then a detection speaks for it


@pytest.mark.parametrize("grey", [0, 128])
def test_a_picture_without_contrast_speaks_for_nothing(rng, grey):
    """Also not with a detection that came from a file."""
    image = np.full((SIZE, SIZE, 3), grey, np.uint8)
    found = mask_evidence(image, disc(120, 120), guides(disc(120, 120)), EXTENT_PX)
    assert found.colour_overlap == pytest.approx(1) and found.edge_support == 0
    assert quality.NO_CONTRAST in reasons(found, quality.ViewError(1.0, 0.01))


def test_a_mask_that_is_mostly_background_is_none(rng):
    """A mesh of twice the hand's area, half of it on the room."""
    mesh = disc(120, 120, 60)
    found = mask_evidence(picture(rng), mesh, guides(mesh), EXTENT_PX)
    assert found.background_share > 0.5
    assert quality.BACKGROUND in reasons(found, quality.ViewError(1.0, 0.01))


def test_nothing_around_a_mask_says_nothing():
    everywhere = np.full((SIZE, SIZE), 255, np.uint8)
    found = mask_evidence(np.zeros((SIZE, SIZE, 3), np.uint8), everywhere, guides(everywhere), EXTENT_PX)
    assert quality.NO_CONTRAST in reasons(found)


def test_a_contradicting_detection_and_a_late_camera_reject_a_view():
    good = MaskEvidence(0.1, 0.0, 5.0)
    assert reasons(good, contradicted=True) == (quality.CONTRADICTED,)
    assert reasons(good, late_share=0.05) == (quality.LATE,) and reasons(good, late_share=0.03) == ()
    assert reasons(None) == ()  # labels that are given are not judged by pictures


def test_a_hand_that_all_views_take_for_the_other_is_rejected():
    def judge(support):
        error = quality.ViewError(1.0, 0.01)
        return quality.record_reasons([error] * 3, 0, 0.0, 1.0, QualityLimits(), support)

    assert judge(0.05) == (quality.OTHER_SIDE,) and judge(0.6) == ()
