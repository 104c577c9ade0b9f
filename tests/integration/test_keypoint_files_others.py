"""Keypoint files by names, of programs and with values that are not the usual ones."""

import json

import numpy as np
import pytest
from support.captures import make_capture, small_rig, write_images
from support.keypoint_files import (
    OPENPOSE_PX,
    assert_hand,
    detector,
    hand,
    mmpose_instance,
    openpose_person,
    whole_body,
)

from handgen.detect.base import CameraFrames
from handgen.errors import HandgenError
from handgen.hand.skeleton import KEYPOINT_NAMES
from handgen.options import make_config
from handgen.stages.annotate import job as annotate_job
from handgen.stages.annotate.config import AnnotateConfig

ONE = ("cam0",)


def people_file(path, *people, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"people": people, **more}))


def frames_with_hands(found, camera="cam0", count=12):
    view = found.start(camera)
    return [frame for frame in range(count) if view.detect(None, frame)]


def rtmlib_person(left, right):
    """Pose2Sim's save_to_openpose: the hands' lists stay empty."""
    whole = whole_body(left, right)
    return openpose_person() | {"pose_keypoints_2d": whole.ravel().tolist()}


@pytest.mark.parametrize(
    ("stems", "files", "expected"),
    [
        (["im_1", "im_2", "im_3"], ["im_1_keypoints", "im_2_keypoints", "im_3_keypoints"], [0, 1, 2]),
        (["im_1", "im_2", "im_5"], ["im_1_keypoints", "im_5_keypoints"], [0, 2]),
        (["im_1", "im_2", "im_5"], ["im_1", "im_3", "im_5"], [0, 2]),  # picture 3 is not there
        (["left", "right"], ["right_keypoints"], [1]),
        (["im_7", "im_8", "im_9"], ["im_7_000000", "im_8_000001", "im_9_000002"], [0, 1, 2]),  # Pose2Sim of images
        (["im_1", "im_2", "im_3"], ["take_000001", "take_000003"], [0, 2]),  # by number
        (["im_4", "im_5", "im_9"], ["take_000005", "take_000009"], [1, 2]),
        (["im_1", "im_2", "im_3"], ["take_000000", "take_000001", "take_000002"], [0, 1, 2]),  # counted from 0
        (["im_0", "im_1", "im_4"], ["take_0000", "take_0001", "take_0002"], [0, 1, 2]),  # by order
        ([], ["cam01.0000", "cam01.0002"], [0, 2]),
        ([], ["cam01.0001", "cam01.0002", "cam01.0012"], [0, 1, 11]),  # of 12 frames: counted from 1
        ([], ["000004_cam01", "000005_cam01"], [4, 5]),
    ],
)
def test_files_of_a_frame_belong_to_the_picture_of_their_name(stems, files, expected, tmp_path, rng):
    for file in files:
        people_file(tmp_path / "cam0" / f"{file}.json", openpose_person(hand(rng)))
    frames = {"cam0": CameraFrames(len(stems) or 12, tuple(stems))}
    assert frames_with_hands(detector(tmp_path, cameras=ONE, frames=frames)) == expected


def test_annotate_says_the_pictures_names_to_the_detector(tmp_path, rng):
    for camera in (0, 1):
        write_images(tmp_path / f"cam{camera}", camera, range(1, 5), "f{:03d}.png")
        for number in (1, 4):
            file = tmp_path / "kp" / f"cam{camera}" / f"f{number:03d}_keypoints.json"
            people_file(file, openpose_person(hand(rng)))
    make_capture(tmp_path, frames=(), rig=small_rig("cam0", "cam1"))
    config = make_config(AnnotateConfig, detector="keypoints", keypoints=str(tmp_path / "kp"), hands="left")
    found = annotate_job.open_job(tmp_path, tmp_path / "out", config, lambda *_: None)
    assert frames_with_hands(found.detector()) == [0, 3]


@pytest.mark.parametrize("numbers", [1.0, np.nan])
def test_pose2sim_folders_are_known_by_content(tmp_path, rng, numbers):
    left, right = hand(rng), hand(rng)
    left[4] = numbers if np.isnan(numbers) else left[4]
    for name, camera in (("cam1_json", "cam01"), ("cam2_json", "cam02")):
        people_file(tmp_path / name / f"{camera}.0000.json")
        people_file(tmp_path / name / f"{camera}.0001.json", rtmlib_person(left, right))
    (tmp_path / "cam1_img").mkdir()
    (tmp_path / "cam1_pose.mp4").write_bytes(b"")
    found = detector(tmp_path, cameras=("cam_1", "cam_2"))
    first, second = found.start("cam_2").detect(None, 1)
    assert_hand(second, right, 1, OPENPOSE_PX)
    if np.isnan(numbers):
        assert first.confidence[4] == 0
    else:
        assert_hand(first, left, 0, OPENPOSE_PX)
    assert frames_with_hands(found, "cam_1") == [1]


def test_a_body_without_hands_is_told(tmp_path):
    people_file(tmp_path / "cam0" / "cam0_000001.json", openpose_person() | {"pose_keypoints_2d": [1.0] * 78})
    with pytest.raises(HandgenError, match="1 people and not one hand; .* whole-body model"):
        detector(tmp_path, cameras=ONE)


def test_dwpose_is_multiplied_by_its_canvas(tmp_path, rng):
    values = hand(rng)
    values[:, 2] = 1
    person = openpose_person(values / (1280, 720, 1)) | {"hand_right_keypoints_2d": None}
    people_file(tmp_path / "cam0" / "0003.json", person, canvas_width=1280, canvas_height=720)
    (found,) = detector(tmp_path, cameras=ONE).start("cam0").detect(None, 3)
    np.testing.assert_allclose(found.keypoints_px, values[:, :2], atol=0.01)  # six digits of 1: a thousandth of 1280 px
    people_file(tmp_path / "bare" / "cam0" / "0003.json", person)
    with pytest.raises(
        HandgenError, match="cam0: all coordinates are within 0 to 1: .*multiply x by the picture's width"
    ):
        detector(tmp_path / "bare", cameras=ONE)


def test_sapiens_hands_are_known_by_their_place(tmp_path, rng):
    """Goliath's order: 21 right_thumb4 (the tip), 24 right_thumb_third_joint, 25 right_forefinger4, 41 right_wrist."""
    left, right = hand(rng), hand(rng)
    values = np.ones((308, 3))
    for first, side in ((21, right), (42, left)):
        values[first + 20] = side[KEYPOINT_NAMES.index("wrist")]
        for finger, name in enumerate(("thumb", "index", "middle", "ring", "pinky")):
            joints = [n for n in KEYPOINT_NAMES if n.startswith(name)]  # from the palm
            for place, joint in enumerate(reversed(joints)):
                values[first + 4 * finger + place] = side[KEYPOINT_NAMES.index(joint)]
    folder = tmp_path / "cam0"
    folder.mkdir()
    (folder / "000005.json").write_text(json.dumps({"instance_info": [mmpose_instance(values)]}))
    (folder / "000006.json").write_text(json.dumps({"instance_info": []}))
    found = detector(tmp_path, cameras=ONE)
    first, second = found.start("cam0").detect(None, 5)
    assert_hand(first, left, 0)
    assert_hand(second, right, 1)
    assert frames_with_hands(found) == [5]


def test_json_of_another_kind_is_named(tmp_path):
    (tmp_path / "cam0").mkdir()
    (tmp_path / "cam0" / "0001.json").write_text('{"shapes": []}')
    with pytest.raises(HandgenError, match=r"0001\.json: neither `people` .* nor `keypoint_scores`"):
        detector(tmp_path, cameras=ONE)


def test_upper_case_endings_and_numbers_find_their_camera(tmp_path, rng):
    values = hand(rng)
    for number in (1, 2):
        np.save(tmp_path / f"hands_cam{number:02d}.npy", values[None])
        (tmp_path / f"hands_cam{number:02d}.npy").rename(tmp_path / f"HANDS_CAM{number:02d}.NPY")
    found = detector(tmp_path, "left", ("cam_1", "cam_2"))
    assert_hand(found.start("cam_2").detect(None, 0)[0], values, 0)


@pytest.mark.parametrize("missing", [(-1, -1), (np.nan, np.nan), (0, 0)])
@pytest.mark.parametrize("columns", [2, 3])
def test_missing_keypoints_of_arrays_have_no_confidence(missing, columns, tmp_path, rng):
    values = np.stack([hand(rng), hand(rng)])[..., :columns]
    values[0, 4, :2] = missing
    values[1, :, :2] = missing  # a hand that was not seen at all
    if missing == (-1, -1):
        values[0, 4], values[1] = -1, -1
    np.save(tmp_path / "cam0.npy", values)
    found = detector(tmp_path, "left", ONE)
    assert frames_with_hands(found) == [0]
    (seen,) = found.start("cam0").detect(None, 0)
    assert seen.confidence[4] == 0 and (np.delete(seen.confidence, 4) > 0).all()
    np.testing.assert_allclose(seen.keypoints_px[4], np.delete(values[0, :, :2], 4, 0).mean(0), rtol=1e-5)


def test_keypoints_of_a_longer_video_are_an_error(tmp_path, rng):
    np.save(tmp_path / "cam0.npy", np.stack([hand(rng)] * 20))
    assert frames_with_hands(detector(tmp_path, "left", ONE, {"cam0": CameraFrames(19)}), count=20)[-1] == 19
    with pytest.raises(HandgenError, match=r"cam0\.npy: has keypoints of frame 19, but camera cam0 only 15 frames"):
        detector(tmp_path, "left", ONE, {"cam0": CameraFrames(15)})


def test_normalised_arrays_are_an_error(tmp_path, rng):
    np.save(tmp_path / "cam0.npy", rng.uniform(0, 1, (5, 21, 2)))
    with pytest.raises(HandgenError, match=r"cam0\.npy: all coordinates are within 0 to 1: normalised"):
        detector(tmp_path, "left", ONE)
