"""A folder of OpenPose's files per camera, made here."""

import numpy as np
import pytest
from support.keypoint_files import CAMERAS, OPENPOSE_PX, assert_hand, detector, hand, openpose_file, openpose_person

from handgen.errors import HandgenError


def test_openpose_people_and_gaps(tmp_path, rng):
    first, second, third = hand(rng), hand(rng), hand(rng)
    openpose_file(tmp_path / "cam0", 0, openpose_person(first, second), openpose_person(right=third))
    openpose_file(tmp_path / "cam0", 7, openpose_person(third, np.zeros((21, 3))))  # frames between them are missing
    openpose_file(tmp_path / "cam0", 8)
    openpose_file(tmp_path / "cam1_json", 3, openpose_person(right=first), name="v2_take9")
    found = detector(tmp_path)
    views = [found.start(camera) for camera in CAMERAS]
    a, b, c = views[0].detect(None, 0)
    for detection, values, right in ((a, first, 0), (b, second, 1), (c, third, 1)):
        assert_hand(detection, values, right, OPENPOSE_PX)
    (alone,) = views[0].detect(None, 7)
    assert_hand(alone, third, 0, OPENPOSE_PX)
    assert [len(views[0].detect(None, frame)) for frame in (1, 6, 8, 9)] == [0, 0, 0, 0]
    assert len(views[1].detect(None, 3)) == 1


def test_openpose_keypoints_that_were_not_seen(tmp_path, rng):
    values = hand(rng)
    values[4] = 0
    values[9, 2] = 1.04  # peaks of score maps go a little beyond 1
    openpose_file(tmp_path / "cam0", 0, openpose_person(values))
    (found,) = detector(tmp_path, cameras=("cam0",)).start("cam0").detect(None, 0)
    assert found.confidence[4] == 0 and found.confidence[9] == 1
    others = np.delete(values, 4, 0)
    np.testing.assert_allclose(found.keypoints_px[4], others[:, :2].mean(0), atol=OPENPOSE_PX)


@pytest.mark.parametrize(
    ("person", "message"),
    [
        ({"hand_left_keypoints_2d": [1.0] * 62}, "person 0: hand_left_keypoints_2d: expected 63 numbers"),
        ({"hand_left_keypoints_2d": ["x"] * 63}, "expected 63 numbers"),
        ({"hand_left_keypoints_2d": [[1.0]] * 63 + [2]}, "expected 63 numbers"),
        ({"hand_left_keypoints_2d": 5}, "expected 63 numbers"),
        ({"pose_keypoints_2d": []}, "run OpenPose with --hand"),
        ({"hand_left_keypoints_2d": [0.5] * 63}, "--keypoint_scale 0"),
        ({"hand_left_keypoints_2d": [1e30] * 63}, "frame 5, keypoint 0.*no place in pixels"),
        ("no object", "expected 63 numbers"),
    ],
)
def test_openpose_files_that_do_not_fit(tmp_path, person, message):
    openpose_file(tmp_path / "cam0", 5, person)
    with pytest.raises(HandgenError, match=message):
        detector(tmp_path, cameras=("cam0",))


def test_openpose_folders_that_do_not_fit(tmp_path, rng):
    path = openpose_file(tmp_path / "cam0", 5, openpose_person(hand(rng)))
    with pytest.raises(HandgenError, match=r"no keypoints of camera cam1.*or a folder cam1"):
        detector(tmp_path)
    with pytest.raises(HandgenError, match="put them into a folder per camera: cam0/, cam1/"):
        detector(path.parent)
    with pytest.raises(HandgenError, match="OpenPose's file of one frame"):
        detector(path)
    twice = path.with_name("other_05_keypoints.json")
    twice.write_bytes(path.read_bytes())
    with pytest.raises(HandgenError, match="both of frame 5"):
        detector(tmp_path, cameras=("cam0",))
    twice.rename(path.with_name("nonumber_keypoints.json"))
    with pytest.raises(HandgenError, match="no frame number in the name"):
        detector(tmp_path, cameras=("cam0",))
    path.with_name("nonumber_keypoints.json").unlink()
    for content, message in ((b'{"people": 3}', "no list `people`"), (b'{"people": [', "not valid JSON")):
        path.write_bytes(content)
        with pytest.raises(HandgenError, match=message):
            detector(tmp_path, cameras=("cam0",))


def test_a_folder_of_the_first_camera_names_the_other_folders(tmp_path):
    (tmp_path / "camera_zero").mkdir()
    with pytest.raises(HandgenError, match="there are the folders camera_zero"):
        detector(tmp_path)
    (tmp_path / "cam0").mkdir()
    with pytest.raises(HandgenError, match=r"cam0: no files _keypoints\.json of OpenPose in it"):
        detector(tmp_path, cameras=("cam0",))
