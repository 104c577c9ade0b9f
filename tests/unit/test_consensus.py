"""Views, and fingers in views, that contradict the others are left out of a few moments, and the fit follows none."""

from dataclasses import replace

import numpy as np
import pytest
from support.cameras import in_units, ring
from support.hands import natural_poses

from handgen.detect.view_bias import DetectorCalibration
from handgen.fit.observations import kinematics_of
from handgen.fit.pose_fit import fit_poses
from handgen.fit.subject import estimate_metres_per_unit, fit_subject
from handgen.geometry.triangulation import linear_information, solve_points
from handgen.hand.skeleton import FINGER_KEYPOINTS, FINGERS
from handgen.multiview.consensus import FEW_FRAMES
from handgen.multiview.tracking import hands_in_any_unit, hands_of_detections
from handgen.reconstruct.view_agreement import notes_left_out, why_none_sure
from handgen.records.detection import Detection

NOISE_PX = 0.7
# Millimetres: DLT of 0.7 px at 0.7 m is off by 0.7 to 1.3. The fit takes the detector for four times as noisy as that,
# so its priors cost up to 0.3 where the pixels are better than it believes.
FIT_MARGIN_MM = 0.35


def moment(hand, views, seed):
    """True keypoints of one hand, a rig, and what each camera's detector says: (views, 21, 2)."""
    rng = np.random.default_rng(seed)
    points = hand(natural_poses(hand, 1, rng)).keypoints.numpy()[0]
    rig = ring(views)
    pixels = np.stack([camera.project(points)[0] for camera in rig]) + rng.normal(0, NOISE_PX, (views, 21, 2))
    return rng, rig, points, pixels


def towards(rng, length):
    angle = rng.uniform(0, 2 * np.pi)
    return length * np.array([np.cos(angle), np.sin(angle)])


def detected(pixels):
    return [[Detection(each, np.ones(21), 0.9)] for each in pixels]


def seen(rig, pixels, frames=1):
    """The hand of the first frame, as association and consensus leave it."""
    hands = hands_of_detections(rig, range(frames), [detected(pixels)] * frames, "right")
    return hands[0].seen_hands[0]


def fitted(rig, seen_hand):
    """Keypoints of the fit of one moment with the shape learnt from it."""
    shape, person = fit_subject("open", DetectorCalibration(np.zeros((21, 3))), rig, {"right": [seen_hand]})
    kinematics = kinematics_of("open", "right", person.offsets_m)
    return fit_poses(kinematics, rig, [seen_hand], shape.betas).hands().keypoints[0]


def dlt(rig, pixels, weight):
    """Plain linear triangulation, weighted, without any robustness."""
    projections = np.stack([camera.ideal_px_from_world for camera in rig])
    return solve_points((linear_information(projections, pixels) * weight[..., None, None]).sum(0))


def error_mm(points, truth):
    return float(np.linalg.norm(points - truth, axis=-1).mean()) * 1e3


@pytest.mark.parametrize("off_px", [20, 60])
@pytest.mark.parametrize("views", [3, 4])
@pytest.mark.parametrize("seed", range(8))
def test_a_bad_finger_in_one_view_is_left_out_and_the_fit_is_as_good_as_without_it(hand, views, off_px, seed):
    rng, rig, points, pixels = moment(hand, views, seed)
    view, finger = int(rng.integers(views)), FINGERS[rng.integers(5)]
    places = list(FINGER_KEYPOINTS[finger])
    weight = np.ones((views, 21))
    pixels[view, places] += towards(rng, off_px)
    weight[view, places] = 0
    seen_hand = seen(rig, pixels)
    named = {(out.view, out.finger) for out in seen_hand.left_out}
    assert named <= {(view, finger)}  # of three views, a shift along the lines of sight may not be noticeable
    assert named or views == 3
    assert seen_hand.view_count == views and not seen_hand.conflicting_views
    without = error_mm(dlt(rig, pixels, weight), points)
    assert error_mm(fitted(rig, seen_hand), points) < without + FIT_MARGIN_MM


@pytest.mark.parametrize("off_px", [20, 60])
@pytest.mark.parametrize("views", [3, 4])
@pytest.mark.parametrize("seed", range(8))
def test_a_bad_view_is_left_out_or_the_hand_is_unsure(hand, views, off_px, seed):
    rng, rig, points, pixels = moment(hand, views, seed)
    view = int(rng.integers(views))
    pixels[view] += towards(rng, off_px)
    weight = np.ones((views, 21))
    weight[view] = 0
    seen_hand = seen(rig, pixels)
    assert len(seen_hand.left_out) == 1 or off_px == 60  # 60 px beside a small hand, it is no view of it at all
    if any(
        not out.sure for out in seen_hand.left_out
    ):  # shifted along the others' lines of sight: of three views, any two may be the right ones
        assert views == 3 and seen_hand.view_count <= 2 * seen_hand.conflicting_views
        return
    assert {(out.view, out.finger) for out in seen_hand.left_out} <= {(view, None)}
    assert seen_hand.views[view] is None and not seen_hand.conflicting_views
    assert error_mm(fitted(rig, seen_hand), points) < error_mm(dlt(rig, pixels, weight), points) + FIT_MARGIN_MM


@pytest.mark.parametrize("seed", range(8))
def test_two_views_that_contradict_each_other_in_a_finger_leave_the_hand_unsure(hand, seed):
    _, rig, _, pixels = moment(hand, 2, seed)
    across = np.array([0.0, 60.0])  # cameras beside each other see the same rows: across those, it shows
    pixels[1, list(FINGER_KEYPOINTS["ring"])] += across
    seen_hand = seen(rig, pixels)
    if seen_hand.left_out:
        assert {(out.view, out.finger, out.sure) for out in seen_hand.left_out} <= {
            (view, "ring", False) for view in (0, 1)
        }
        assert seen_hand.view_count <= 2 * seen_hand.conflicting_views


@pytest.mark.parametrize("views", [2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_views_that_agree_stay_as_they_are(hand, views, seed):
    """Noise of the size that the detector is known to have, 1.5 % of the hand, leaves nothing out."""
    rng, rig, _, pixels = moment(hand, views, seed)
    seen_hand = seen(rig, pixels + rng.normal(0, 1.8, pixels.shape))
    assert seen_hand.view_count == views and not seen_hand.left_out and not seen_hand.conflicting_views


def test_many_moments_are_left_to_the_fit(hand):
    rng, rig, _, pixels = moment(hand, 4, 0)
    pixels[2] += towards(rng, 20)
    assert seen(rig, pixels, FEW_FRAMES).left_out
    assert not seen(rig, pixels, FEW_FRAMES + 1).left_out


def test_what_is_left_out_is_named_with_its_figure_and_the_limit(hand):
    rng, rig, _, pixels = moment(hand, 4, 1)
    pixels[2, list(FINGER_KEYPOINTS["thumb"])] += towards(rng, 40)
    seen_hand = seen(rig, pixels)
    [note] = notes_left_out({"right": [seen_hand]}, rig.names)
    share = 100 * seen_hand.left_out[0].share
    assert note.startswith(
        f"frame 0, right hand: cam2's thumb contradicts the other views by {share:.2g} % of the hand"
    )
    assert "(limit 7.5 %): it is left out" in note and 10 < share < 40
    unsure = replace(seen_hand, left_out=(replace(seen_hand.left_out[0], finger=None, sure=False),))
    assert notes_left_out({"right": [unsure]}, rig.names)[0].endswith("cannot be told from so few views")
    many = notes_left_out({"right": [seen_hand] * 40}, rig.names)
    assert len(many) == 13 and many[-1].startswith("28 more")


def test_why_no_hand_is_sure_says_what_is_true(hand):
    rng, rig, _, pixels = moment(hand, 3, 0)
    none = [[], [], []]
    alone = [detected(pixels)[0], [], []]
    apart = detected(pixels + rng.normal(0, 150, pixels.shape))
    assert why_none_sure(rig, {}, [none, alone]) == "no hand was seen by two cameras"
    said = why_none_sure(rig, {}, [none, apart])
    assert said.startswith("two cameras or more saw hands in 1 frame, but none agree where") and "limit 15 %" in said
    rough = replace(seen(rig, pixels), error_share=0.055)
    assert "see 1 hand disagree by 5.5 % of the hand or more (limit 5 %)" in why_none_sure(rig, {"right": [rough]}, [])
    contradicted = replace(seen(rig, pixels), conflicting_views=1)
    assert "none is without a camera that contradicts" in why_none_sure(rig, {"right": [contradicted]}, [])


@pytest.mark.parametrize("seed", range(3))
def test_the_scale_of_one_moment_says_how_sure_it_is(hand, seed):
    """People's hands differ by 6 %: that is what is said, and the truth is within three times that."""
    _, rig, _, pixels = moment(hand, 3, seed)
    unscaled = in_units(rig, 0.01)
    [found] = hands_in_any_unit(unscaled, [0], [detected(pixels)], "right")
    hands = {"right": list(found.seen_hands.values())}
    detector = DetectorCalibration(np.zeros((21, 3)))
    unit, share = estimate_metres_per_unit("open", detector, unscaled, hands)
    assert 0.055 < share < 0.07
    assert abs(unit / 0.01 - 1) < 3 * share
    rough = {"right": [replace(each, error_share=0.05) for each in hands["right"]]}
    assert estimate_metres_per_unit("open", detector, unscaled, rough)[1] == pytest.approx(
        np.hypot(share, 0.05), rel=0.01
    )
