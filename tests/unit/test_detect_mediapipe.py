from dataclasses import replace

import cv2
import numpy as np
import pytest
from support.landmarks import open_hand, to_crop

from handgen.detect.mediapipe import networks
from handgen.detect.mediapipe.detector import (
    OUTSIDE_CONFIDENCE,
    SEARCH_INTERVAL,
    MediaPipeDetector,
    MediaPipeView,
    drop_duplicates,
    load_offsets_m,
    search_levels,
)
from handgen.detect.mediapipe.landmarks import Landmarks, region_from_keypoints
from handgen.detect.mediapipe.palm import Palms

IMAGE = np.zeros((720, 1280, 3), np.uint8)


class FakeWorld:
    """Stands in for both networks: knows where hands are, and counts how often it is asked."""

    def __init__(self, *hands):
        self.hands = [Landmarks(points, 0.9, 0.8) for points in hands]
        self.windows = []
        self.regions = 0
        self.in_the_mirror = 0.0  # px: how far off the mirror image's keypoints are

    def find(self, image, place, min_score=None, mirrored=False):
        if mirrored:
            asked = self.regions
            seen = self._landmarks(place)
            self.regions = asked  # only first looks are counted
            return replace(seen, keypoints_px=seen.keypoints_px + self.in_the_mirror)
        return self._landmarks(place) if min_score is None else self._palms(place)

    def _palms(self, window):
        self.windows.append(window)
        left, top, right, bottom = window
        points = np.array([hand.keypoints_px[[0, 5, 9, 13, 17, 1, 2]] for hand in self.hands]).reshape(-1, 7, 2)
        inside = ((points > (left, top)) & (points < (right, bottom))).all((1, 2))
        points = points[inside]
        return Palms(np.concatenate([points.min(1), points.max(1)], 1), points, np.full(len(points), 0.9))

    def _landmarks(self, region):
        self.regions += 1
        for hand in self.hands:
            crop = to_crop(region, hand.keypoints_px)
            if ((crop > -20) & (crop < 244)).all():
                return hand
        return Landmarks(region.center_px + np.zeros((21, 2)), 0.01, 0.5)


def view_of(world, max_hands=2):
    return MediaPipeView(world, world, max_hands)


def test_hands_are_found_then_tracked_without_searching():
    world = FakeWorld(open_hand((300, 300)), open_hand((900, 400), angle=1.0))
    view = view_of(world)
    assert len(view.detect(IMAGE, 0)) == 2
    searched = len(world.windows)
    assert searched == 1  # both in the whole frame: no tiles
    for frame in range(1, SEARCH_INTERVAL):
        world.hands = [replace(hand, keypoints_px=hand.keypoints_px + 5) for hand in world.hands]
        detections = view.detect(IMAGE, frame)
        np.testing.assert_allclose(detections[0].keypoints_px, world.hands[0].keypoints_px)
    assert len(world.windows) == searched
    assert len(view.detect(IMAGE, SEARCH_INTERVAL)) == 2
    assert len(world.windows) == searched + 1


def test_a_lost_hand_is_searched_for_everywhere_once_then_in_turn():
    world = FakeWorld(open_hand((300, 300)), open_hand((900, 400)))
    view = view_of(world)
    view.detect(IMAGE, 0)
    world.windows.clear()
    world.hands.pop()
    assert len(view.detect(IMAGE, 1)) == 1
    everywhere = {window for level in search_levels(1280, 720) for window in level}
    assert set(world.windows) == everywhere
    world.windows.clear()
    assert len(view.detect(IMAGE, 2)) == 1
    assert len(world.windows) == 2  # the whole frame and one tile
    world.hands.append(Landmarks(open_hand((1000, 200)), 0.9, 0.2))
    assert len(view.detect(IMAGE, 3)) == 2


def test_runs_do_not_remember_one_another():
    world = FakeWorld(open_hand((300, 300)))
    first = [view_of(world).detect(IMAGE, frame) for frame in (0, 0)]
    np.testing.assert_array_equal(first[0][0].keypoints_px, first[1][0].keypoints_px)


def test_more_candidates_than_hands_are_reported_but_not_without_end():
    world = FakeWorld(*(open_hand((150 + 200 * k, 300)) for k in range(5)))
    detections = view_of(world, max_hands=1).detect(IMAGE, 0)
    assert len(detections) == 2


def test_confidence_is_less_outside_the_image():
    world = FakeWorld(open_hand((300, 60)))  # the fingers leave through the upper edge
    (detection,) = view_of(world, max_hands=1).detect(IMAGE, 0)
    outside = detection.keypoints_px[:, 1] < -0.5
    assert outside.any() and not outside.all()
    np.testing.assert_allclose(detection.confidence, np.where(outside, 0.9 * OUTSIDE_CONFIDENCE, 0.9))


def test_a_second_opinion_from_the_mirror_counts_half_unless_it_is_far_off():
    truth = open_hand((400, 300))
    world = FakeWorld(truth)
    for off, expected in ((4.0, 2.0), (60.0, 0.0)):
        world.in_the_mirror = off
        (detection,) = view_of(world, max_hands=1).detect(IMAGE, 0)
        np.testing.assert_allclose(detection.keypoints_px, truth + expected)


def test_detect_near_finds_the_hand_and_nothing_else():
    truth = open_hand((400, 300))
    view = view_of(FakeWorld(truth))
    found = view.detect_near(IMAGE, truth + 8)
    assert found is not None
    np.testing.assert_allclose(found.keypoints_px, truth)
    assert view.detect_near(IMAGE, truth + 500) is None
    assert view.detect_near(IMAGE, np.full((21, 2), np.nan)) is None
    assert view.detect_near(IMAGE, open_hand((400, 330), size=300)) is None  # of another size
    assert view.detect_near(IMAGE, truth + 18, right=0.0) is not None  # right 0.8 against 0: not surely the other


def test_detect_near_prefers_no_hand_to_the_other_one():
    world = FakeWorld(open_hand((400, 300)))
    world.hands = [replace(world.hands[0], right=0.99)]
    guess = open_hand((430, 300))
    assert view_of(world).detect_near(IMAGE, guess, right=1.0) is not None
    assert view_of(world).detect_near(IMAGE, guess, right=0.0) is None


def test_the_same_hand_twice_is_one():
    hand = Landmarks(open_hand(), 0.7, 0.8)
    surer = replace(hand, keypoints_px=hand.keypoints_px + 3, presence=0.9)
    other = replace(hand, keypoints_px=hand.keypoints_px + 60)
    assert drop_duplicates([hand, surer, other]) == [surer, other]


@pytest.mark.parametrize("size", [(1280, 720), (720, 1280), (720, 720), (1920, 1080), (33, 17), (1, 1)])
def test_tiles_cover_the_frame(size):
    width, height = size
    for level in search_levels(width, height):
        covered = np.zeros((height, width), bool)
        for left, top, right, bottom in level:
            assert 0 <= left < right <= width and 0 <= top < bottom <= height
            covered[top:bottom, left:right] = True
        assert covered.all()


def test_offsets():
    offsets = load_offsets_m()
    assert offsets.shape == (21, 3) and np.abs(offsets).max() < 0.03


@pytest.fixture(scope="module")
def detector():
    """The real one, or a skip."""
    if len(networks.installed()) < 2:
        pytest.skip("the keypoint networks are not in the cache; run `handgen models fetch`")
    return MediaPipeDetector(max_hands=1)


def frames_of(path, numbers):
    video = cv2.VideoCapture(str(path))
    images = []
    for number in range(max(numbers) + 1):
        ok, image = video.read()
        assert ok
        if number in numbers:
            images.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    return images


@pytest.mark.captures
def test_a_real_hand_is_found_as_a_right_one(detector, captures):
    images = frames_of(captures / "desk_two_views" / "cam0.mp4", range(60, 65))
    runs = []
    for _ in range(2):
        view = detector.start("cam0")
        runs.append([view.detect(image, frame) for frame, image in enumerate(images)])
    assert all(found and found[0].right > 0.9 and found[0].confidence.max() > 0.9 for found in runs[0])
    for first, second in zip(*runs, strict=True):
        np.testing.assert_array_equal(first[0].keypoints_px, second[0].keypoints_px)
    mirrored = detector.start("cam0").detect(np.ascontiguousarray(images[0][:, ::-1]), 0)
    assert mirrored[0].right < 0.1
    turned = detector.start("cam0").detect(np.ascontiguousarray(images[0][::-1, ::-1]), 0)
    expected = np.array(images[0].shape[1::-1]) - 1 - runs[0][0][0].keypoints_px
    away_px = np.linalg.norm(turned[0].keypoints_px - expected, axis=1)
    assert np.median(away_px) < 3.0  # regions turn with the hand; what is left is the palm network's first guess
    near = detector.start("cam0").detect_near(images[1], runs[0][0][0].keypoints_px + 10, right=1.0)
    assert near is not None
    assert np.median(np.linalg.norm(near.keypoints_px - runs[0][1][0].keypoints_px, axis=1)) < 3.0


@pytest.mark.captures
def test_two_real_hands_of_100_px_are_found(detector, captures):
    (image,) = frames_of(captures / "room_four_views" / "cam_2.mp4", [20])
    found = MediaPipeDetector(max_hands=2).start("cam_2").detect(image, 20)
    assert len(found) == 2
    by_x = sorted(found, key=lambda d: d.keypoints_px[:, 0].mean())
    assert by_x[0].right > 0.5 > by_x[1].right  # he faces the camera
    assert region_from_keypoints(found[0].keypoints_px).side_px < 400


def test_nothing_is_found_in_noise(detector, rng):
    noise = rng.integers(0, 255, (240, 320, 3), dtype=np.uint8)
    assert detector.start("any").detect(noise, 0) == []
