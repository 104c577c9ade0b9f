from dataclasses import replace

import numpy as np
import pytest
from support.cameras import in_units, look_at, ring
from support.hands import natural_poses

from handgen.geometry.camera import Rig
from handgen.multiview.association import NOISE_SHARE, keypoint_extent
from handgen.reconstruct import camera_hypotheses
from handgen.reconstruct.camera_agreement import AGREES, AS_GIVEN, Hypothesis, Miss, Misses, SeenHands
from handgen.reconstruct.camera_hypotheses import find_suspects, notes_of
from handgen.records.detection import Detection

FRAMES = 40


@pytest.fixture
def moving(hand, rng):
    """(40, 21, 3) keypoints of a hand that waves through 20 cm, twice a second at 30 frames a second."""
    points = np.repeat(hand(natural_poses(hand, 1, rng)).keypoints.numpy(), FRAMES, axis=0)
    phase = 2 * np.pi * np.arange(FRAMES) / 15
    return points + 0.1 * np.stack([np.sin(phase), np.cos(phase), np.sin(phase / 2)], -1)[:, None]


def seen(rig, points, rng, noise=NOISE_SHARE):
    """Detections by moment and camera, with the noise of a real detector (1.5 % of the hand)."""
    found = {}
    for frame, hand in enumerate(points):
        pixels = [camera.project(hand)[0] for camera in rig]
        found[frame] = [
            [Detection(p + rng.normal(0, noise * keypoint_extent(p), p.shape), np.full(21, 0.9), 0.95)] for p in pixels
        ]
    return found


def with_pictures(found, rig, v, turn):
    """The detections with those of camera v as they are in a picture that is turned."""
    width, height = rig.cameras[v].size_px

    def turned(detection):
        return replace(detection, keypoints_px=turn(detection.keypoints_px, width - 1, height - 1))

    return {f: [[turned(d) for d in one] if c == v else one for c, one in enumerate(all_)] for f, all_ in found.items()}


def delayed(found, v, frames):
    """Camera v shows what the others showed `frames` earlier."""
    return {
        f: [found.get(f - frames, [[]] * len(all_))[c] if c == v else one for c, one in enumerate(all_)]
        for f, all_ in found.items()
    }


TURNS = {
    "mirrored": lambda p, right, bottom: np.stack([right - p[:, 0], p[:, 1]], -1),
    "upside down": lambda p, right, bottom: np.stack([right - p[:, 0], bottom - p[:, 1]], -1),
    "mirrored top to bottom": lambda p, right, bottom: np.stack([p[:, 0], bottom - p[:, 1]], -1),
}


@pytest.mark.parametrize("views", [2, 3, 8])
@pytest.mark.parametrize("unit_m", [1.0, 0.024])
def test_cameras_that_are_as_the_capture_says_are_left_alone(moving, rng, views, unit_m):
    rig = ring(views)
    given = rig if unit_m == 1 else in_units(rig, unit_m)
    assert find_suspects(given, seen(rig, moving, rng)) == []


@pytest.mark.parametrize("views", [2, 3, 8])
@pytest.mark.parametrize("turn", TURNS)
def test_a_mirrored_or_turned_picture_is_named(moving, rng, views, turn):
    rig = ring(views)
    found = with_pictures(seen(rig, moving, rng), rig, 1, TURNS[turn])
    (suspect,) = find_suspects(rig, found)
    assert suspect.hypothesis.image == turn and suspect.left_out
    assert suspect.camera == rig.names[1] or rig.names[1] in suspect.alternatives
    assert f"looks {turn}" in suspect.note()


@pytest.mark.parametrize("width", [0.3, 0.5, 0.8])
def test_a_mirrored_picture_of_three_is_named_though_the_hand_looks_much_the_same(moving, rng, width):
    """Mirrored pictures of a hand seen from its edge, in the middle, miss what other cameras see by little."""
    rig = ring(3)
    hand = moving[:1] - moving[0].mean(0)
    right = rig.cameras[1].cam_from_world.rotation[0]
    narrow = hand - (1 - width) * (hand @ right)[..., None] * right
    up = 0.02 * np.linspace(-1, 1, FRAMES)[:, None, None] * rig.cameras[1].cam_from_world.rotation[1]
    found = with_pictures(seen(rig, narrow + up, rng, noise=0.003), rig, 1, TURNS["mirrored"])
    (suspect,) = find_suspects(rig, found)
    assert (suspect.camera, suspect.hypothesis.image) == (rig.names[1], "mirrored")


@pytest.mark.parametrize("clockwise", [True, False])
def test_a_square_picture_turned_by_90_degrees_is_named(moving, rng, clockwise):
    rig = Rig(tuple(replace(camera, size_px=(480, 480)) for camera in ring(4)))
    # A picture turned clockwise has its left column on top: what was at (x, y) is at (bottom - y, x).
    turn = (
        (lambda p, right, bottom: np.stack([bottom - p[:, 1], p[:, 0]], -1))
        if clockwise
        else (lambda p, right, bottom: np.stack([p[:, 1], right - p[:, 0]], -1))
    )
    (suspect,) = find_suspects(rig, with_pictures(seen(rig, moving, rng), rig, 2, turn))
    words = "rotated by 90 degrees " + ("clockwise" if clockwise else "counter-clockwise")
    assert (suspect.camera, suspect.hypothesis.image) == (rig.names[2], words)


@pytest.mark.parametrize("views", [3, 4])
def test_exchanged_calibrations_are_named(moving, rng, views):
    rig = ring(views)
    first, second = rig.cameras[0], rig.cameras[1]
    swapped = replace(second, name=first.name), replace(first, name=second.name)
    suspects = find_suspects(Rig((*swapped, *rig.cameras[2:])), seen(rig, moving, rng))
    pairs = {frozenset((suspect.camera, suspect.hypothesis.calibration)) for suspect in suspects}
    assert pairs == {frozenset(rig.names[:2])}
    assert all("look exchanged" in suspect.note() for suspect in suspects)


@pytest.mark.parametrize("views", [2, 4])
def test_inverted_extrinsics_are_named(moving, rng, views):
    rig = ring(views)
    inverted = Rig(tuple(replace(c, cam_from_world=c.cam_from_world.inverse()) for c in rig))
    suspects = find_suspects(inverted, seen(rig, moving, rng))
    assert any(s.hypothesis is not None and s.hypothesis.inverted for s in suspects)
    assert any("inverted" in s.note() for s in suspects)


@pytest.mark.parametrize("views", [2, 3, 4])
@pytest.mark.parametrize("frames", [1, 3, 5, -2])
def test_a_late_camera_is_named_with_the_number_of_frames(moving, rng, views, frames):
    rig = ring(views)
    (suspect,) = find_suspects(rig, delayed(seen(rig, moving, rng), 1, frames))
    assert suspect.camera == rig.names[1]
    assert abs(suspect.hypothesis.delay_frames - frames) < 0.3  # the noise of 39 hands, 1.5 % of their size each
    assert ("late" if frames > 0 else "early") in suspect.note()
    assert f'add {frames} to its "frame_offset"' in suspect.note()


def test_a_camera_late_by_less_than_a_frame_is_named_and_kept(moving, rng):
    rig = ring(4)
    found = seen(rig, moving, rng)
    between = seen(rig, 0.4 * moving + 0.6 * np.roll(moving, 1, axis=0), rng)
    late = {f: [between[f][c] if c == 2 else one for c, one in enumerate(all_)] for f, all_ in found.items() if f}
    (suspect,) = find_suspects(rig, late)
    assert suspect.camera == rig.names[2] and not suspect.left_out
    assert 0.3 < suspect.hypothesis.delay_frames < 0.9  # 0.6


@pytest.mark.parametrize(("rate", "shown"), [(0.5, lambda f: 2 * f), (2.0, lambda f: f // 2)])
def test_another_frame_rate_is_named(moving, rng, rate, shown):
    rig = ring(4)
    found = seen(rig, moving, rng)
    other = {f: [found[shown(f)][c] if c == 3 else one for c, one in enumerate(found[f])] for f in range(FRAMES // 2)}
    (suspect,) = find_suspects(rig, other)
    assert (suspect.camera, suspect.hypothesis.rate) == (rig.names[3], rate)
    assert "frame rate" in suspect.note()


def test_inverted_extrinsics_of_one_camera_are_named(moving, rng):
    rig = ring(4)
    wrong = rig.cameras[2]
    cameras = [replace(c, cam_from_world=c.cam_from_world.inverse()) if c is wrong else c for c in rig]
    (suspect,) = find_suspects(Rig(tuple(cameras)), seen(rig, moving, rng))
    assert suspect.camera == wrong.name and "its extrinsics look inverted" in suspect.note()


def test_what_all_cameras_have_is_said_once(moving, rng):
    """Videos that are all mirrored, and intrinsics that are all of pictures of twice the size.

    The cameras are no regular ring: a mirrored one is the same as one with two cameras exchanged.
    """
    rig = Rig(tuple(ring(9).cameras[v] for v in (0, 1, 3, 7)))
    found = seen(rig, moving, rng)
    mirrored = found
    for v in range(4):
        mirrored = with_pictures(mirrored, rig, v, TURNS["mirrored"])
    assert notes_of(find_suspects(rig, mirrored))[0].startswith("all cameras look mirrored")
    half = Rig(tuple(replace(c, intrinsics=np.diag([0.5, 0.5, 1.0]) @ c.intrinsics) for c in rig))
    suspects = find_suspects(half, found)
    assert [suspect.hypothesis.zoom for suspect in suspects] == [2.0] * 4
    (note,) = notes_of(suspects)
    assert "intrinsics look like those of pictures of another size" in note


def test_a_camera_with_the_keypoints_of_another_is_named(moving, rng):
    rig = ring(5)
    found = seen(rig, moving, rng)
    given = {f: [all_[3] if c == 1 else one for c, one in enumerate(all_)] for f, all_ in found.items()}
    (suspect,) = find_suspects(rig, given)
    assert (suspect.camera, suspect.hypothesis.calibration) == (rig.names[1], rig.names[3])
    assert f"sees what camera {rig.names[3]} sees" in suspect.note()


def test_a_camera_that_fits_nothing_is_named_without_a_cause(moving, rng):
    rig = ring(4)
    found = seen(rig, moving, rng)
    nonsense = seen(rig, moving[::-1] @ np.diag([-1.0, 1.0, -1.0]) + 0.05, rng)
    suspects = find_suspects(rig, {f: [*found[f][:3], nonsense[f][3]] for f in found})
    assert [(s.camera, s.hypothesis) for s in suspects] == [(rig.names[3], None)]
    assert "disagrees with the others" in suspects[0].note()


def test_too_little_says_nothing(moving, rng):
    rig = ring(2)
    found = seen(rig, moving[:2], rng)
    assert find_suspects(rig, with_pictures(found, rig, 1, TURNS["mirrored"])) == []
    assert find_suspects(rig, {}) == []


def test_the_keypoints_of_a_camera_near_by_are_named_where_all_others_agree_well(moving, rng):
    """Twenty cameras on a ring: the next one's rays miss the hand by less than bad detections do."""
    rig = Rig(ring(40).cameras[:6])
    found = seen(rig, moving, rng, noise=0.002)
    given = {f: [all_[3] if c == 2 else one for c, one in enumerate(all_)] for f, all_ in found.items()}
    (suspect,) = find_suspects(rig, given)
    assert suspect.before < AGREES
    assert (suspect.camera, suspect.hypothesis.calibration) == (rig.names[2], rig.names[3])


@pytest.mark.parametrize(("second", "differ"), [(0.8, True), (3.0, False)])
def test_clocks_that_differ_by_parts_of_a_frame_leave_no_camera_out(moving, rng, second, differ):
    rig = ring(8)
    found, whole = seen(rig, moving, rng, noise=0.005), int(second)
    parts = [
        seen(rig, (1 - part) * np.roll(moving, n, axis=0) + part * np.roll(moving, n + 1, axis=0), rng, noise=0.005)
        for n, part in ((0, 0.6), (whole, second - whole))
    ]
    given = {f: [parts[0][f][0], parts[1][f][1], *all_[2:]] for f, all_ in found.items() if second < f < 39}
    suspects = {suspect.camera: suspect for suspect in find_suspects(rig, given)}
    assert set(suspects) == set(rig.names[:2])
    assert {s.clocks_differ for s in suspects.values()} == {differ}, suspects
    assert [suspects[name].left_out for name in rig.names[:2]] == [False, not differ]


@pytest.mark.parametrize(("share", "named"), [(0.8, False), (1.0, True)])
def test_a_camera_is_blamed_without_a_cause_only_where_nearly_all_its_hands_miss(moving, rng, share, named):
    rig = ring(5)
    found = seen(rig, moving, rng)
    moved = np.array([0.0, 100.0])
    wrong = rng.permutation(FRAMES) < share * FRAMES
    given = {
        f: [[replace(d, keypoints_px=d.keypoints_px + wrong[f] * moved) for d in one] if c == 1 else one
            for c, one in enumerate(all_)]
        for f, all_ in found.items()
    }  # fmt: skip
    suspects = find_suspects(rig, given)
    assert [suspect.camera for suspect in suspects] == ([rig.names[1]] if named else [])
    assert all(suspect.hypothesis is None for suspect in suspects)


@pytest.mark.filterwarnings("error")
def test_hands_of_which_the_lens_shows_nothing_say_nothing(moving, rng):
    """Keypoints far outside of what the distortion can be undone for, or all missing: no warning, and no suspect."""
    rig = Rig(tuple(replace(c, distortion=np.array([-0.3, 0.1, 0, 0, 0])) for c in ring(4)))
    found = seen(rig, moving, rng)
    nowhere = Detection(np.full((21, 2), 9000.0), np.full(21, 0.9), 0.95)
    unseen = Detection(np.zeros((21, 2)), np.zeros(21), 0.95)
    for frame in range(0, FRAMES, 5):
        found[frame][1] = [nowhere]
        found[frame + 1][2] = [unseen]
        found[frame + 2][3] = [unseen, *found[frame + 2][3]]
    assert find_suspects(rig, found) == []


@pytest.mark.parametrize(("moved_px", "named"), [(0.0, False), (60.0, True)])
def test_a_second_look_tells_a_detector_that_errs_from_a_camera_that_moved(moving, rng, moved_px, named):
    """The first look took another part of the picture for the hand; the second one finds the hand where it is seen."""
    rig = ring(4)
    found, nonsense = seen(rig, moving, rng), seen(rig, moving[::-1] @ np.diag([-1.0, 1.0, -1.0]) + 0.05, rng)
    away = np.array([0.0, moved_px])
    first = {f: [*all_[:3], nonsense[f][3]] for f, all_ in found.items()}
    again = {
        f: [[replace(d, keypoints_px=d.keypoints_px + away, redetected=True) for d in one] for one in all_]
        for f, all_ in found.items()
    }
    assert [suspect.camera for suspect in find_suspects(rig, first)] == [rig.names[3]]
    both = {f: [*first[f][:3], [*first[f][3], *again[f][3]]] for f in found}
    assert [suspect.camera for suspect in find_suspects(rig, both)] == ([rig.names[3]] if named else [])


def test_a_part_of_a_frame_is_told_only_where_the_hand_moves(moving, rng):
    """Late by 0.6 frames: where the hand waves through 20 cm that is 25 mm, where through 4 mm half a millimetre."""
    rig = ring(4)
    for share, named in ((1.0, True), (0.02, False)):
        calm = moving[:1] + share * (moving - moving[:1])
        found = seen(rig, calm, rng, noise=0.002)
        between = seen(rig, 0.4 * calm + 0.6 * np.roll(calm, 1, axis=0), rng, noise=0.002)
        late = {f: [between[f][c] if c == 2 else one for c, one in enumerate(all_)] for f, all_ in found.items() if f}
        assert [s.camera for s in find_suspects(rig, late)] == ([rig.names[2]] if named else [])


def test_a_moved_camera_is_named_though_a_partner_sees_along_the_move(moving, rng):
    """Up and down, to which a camera straight above it is blind: its hands alone do not miss, the others' do."""
    others = ring(5).cameras  # none opposite another
    below, above = others[1], look_at("cam0", others[1].center_world + [0.0, 0.5, 0.0], np.zeros(3))
    rig = Rig((above, below, *others[2:]))
    found = seen(rig, moving, rng)
    for down_px in (0.0, 60.0):
        down = np.array([0.0, down_px])
        given = {
            f: [[replace(d, keypoints_px=d.keypoints_px + down) for d in one] if c == 1 else one
                for c, one in enumerate(all_)]
            for f, all_ in found.items()
        }  # fmt: skip
        assert [s.camera for s in find_suspects(rig, given)] == ([rig.names[1]] if down_px else [])


@pytest.mark.parametrize("share", [1.0, 0.7])
def test_two_cameras_that_barely_agree_are_asked_as_well(moving, rng, share):
    """One of two is calibrated wrong, so that its hands miss by 0.04 of their size: there is no third camera."""
    rig = Rig(ring(8).cameras[:2])
    found = seen(rig, moving, rng, noise=0.005)
    wrong = rng.permutation(FRAMES) < share * FRAMES
    up = np.array([0.0, 0.09])  # hand sizes, half of which each camera is off

    def moved(detection, frame):
        shift = wrong[frame] * up * keypoint_extent(detection.keypoints_px)
        return replace(detection, keypoints_px=detection.keypoints_px + shift)

    given = {f: [[moved(d, f) for d in one] if c else one for c, one in enumerate(all_)] for f, all_ in found.items()}
    suspects = find_suspects(rig, given)
    assert [s.hypothesis for s in suspects] == ([None, None] if share == 1.0 else [])
    assert all(AGREES > s.before > 0.035 for s in suspects)


@pytest.mark.parametrize(("left", "is_cause"), [(0.04, False), (0.02, True)])
def test_a_delay_that_leaves_the_hands_apart_is_no_cause(left, is_cause):
    """One camera of fifteen took the fingers for the hand; seven frames later they were a little nearer to it."""
    rig = ring(4)
    late = Hypothesis(delay_frames=7.0)

    class Measured(Misses):
        def of_camera(self, v, hypothesis, partners):
            return (left if hypothesis == late else 0.08), 40

        def of_pair(self, a, b, of_a=AS_GIVEN, of_b=AS_GIVEN):
            return Miss(np.full(40, 0.08))

    suspect = camera_hypotheses._explain_alone(Measured(SeenHands(rig, {})), 1, [0, 2, 3])
    assert suspect.hypothesis == (late if is_cause else None)
