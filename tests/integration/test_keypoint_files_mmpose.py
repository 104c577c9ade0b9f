"""MMPose's files of videos and images, made here."""

import json
import tracemalloc

import numpy as np
import pytest
from support.keypoint_files import (
    CAMERAS,
    EXACT_PX,
    MMPOSE_NAMES,
    assert_hand,
    detector,
    hand,
    mmpose_instance,
    mmpose_video,
    whole_body,
)

from handgen.errors import HandgenError
from handgen.hand.skeleton import KEYPOINT_ORDERS


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("indent", [None, "\t"])
def test_mmpose_whole_bodies_have_sides(tmp_path, rng, first, indent):
    a, b = hand(rng), hand(rng)
    frames = [[], [mmpose_instance(whole_body(a, b))]]
    names = [f"kp{k}" for k in range(133)]
    document = mmpose_video(frames, first, names, "coco_wholebody")
    (tmp_path / "results_cam0.json").write_text(json.dumps(document, indent=indent))
    (tmp_path / "cam1.json").write_text(json.dumps(document["instance_info"]))  # older inferencers
    found = detector(tmp_path)
    for camera in CAMERAS:
        view = found.start(camera)
        assert view.detect(None, 0) == [] and view.detect(None, 2) == []
        left, right = view.detect(None, 1)
        assert_hand(left, a, 0)
        assert_hand(right, b, 1)


def test_mmpose_hands_of_21_keypoints_need_a_side(tmp_path, rng):
    values = hand(rng)
    path = tmp_path / "cam0.json"
    path.write_text(json.dumps(mmpose_video([[mmpose_instance(values)]], 1)))
    with pytest.raises(HandgenError, match="cam0.json: frame 0: .*give --hands left or --hands right"):
        detector(tmp_path, cameras=("cam0",))
    for side, right in (("left", 0), ("right", 1)):
        for place in (tmp_path, path):  # the one file of one camera may be named itself
            assert_hand(detector(place, side, ("cam0",)).start("cam0").detect(None, 0)[0], values, right)
    path.write_text(json.dumps(mmpose_video([[mmpose_instance(values, hand_type="Left")]], 1)))
    for side in (None, "right"):
        assert_hand(detector(tmp_path, side, ("cam0",)).start("cam0").detect(None, 0)[0], values, 0)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("order", ["interhand", "rhd"])
def test_mmpose_orders_of_other_data_sets(tmp_path, rng, order, last):
    """Names say InterHand's order; RHD's count from the tip, and only the data set's name tells."""
    values = hand(rng)
    theirs = values[list(KEYPOINT_ORDERS[order])]
    if order == "interhand":
        names, dataset = [MMPOSE_NAMES[k] for k in KEYPOINT_ORDERS["interhand"]], "interhand2d"
    else:
        names, dataset = MMPOSE_NAMES, "rhd2d"
    document = mmpose_video([[mmpose_instance(theirs)], [mmpose_instance(theirs)]], 0, names, dataset)
    document = dict(sorted(document.items())) if last else document  # the names may come after the instances
    (tmp_path / "cam0.json").write_text(json.dumps(document))
    view = detector(tmp_path, "left", ("cam0",)).start("cam0")
    for frame in (0, 1):
        assert_hand(view.detect(None, frame)[0], values, 0)


def test_mmpose_files_of_images(tmp_path, rng):
    values = hand(rng)
    folder = tmp_path / "cam0"
    folder.mkdir()
    (folder / "frame_0003.json").write_text(json.dumps([mmpose_instance(values), mmpose_instance(values)]))
    (folder / "frame_0004.json").write_text("[]")
    view = detector(tmp_path, "right", ("cam0",)).start("cam0")
    assert [len(view.detect(None, frame)) for frame in (2, 3, 4)] == [0, 2, 0]
    assert_hand(view.detect(None, 3)[1], values, 1)
    (folder / "frame_0005.json").write_text('{"note": "mine"}')
    with pytest.raises(HandgenError, match="frame_0005.json: no list of instances"):
        detector(tmp_path, "right", ("cam0",))


def test_mmpose_scores_are_clipped_and_nan_is_not_seen(tmp_path, rng):
    values = hand(rng)
    values[:4, 2] = 1.08, -0.2, np.nan, np.inf
    values[4, 0] = np.nan
    (tmp_path / "cam0.json").write_text(json.dumps(mmpose_video([[mmpose_instance(values)]], 0)))
    (found,) = detector(tmp_path, "left", ("cam0",)).start("cam0").detect(None, 0)
    assert found.confidence[:5].tolist() == [1, 0, 0, 0, 0]
    np.testing.assert_allclose(found.keypoints_px[5:], values[5:, :2], atol=EXACT_PX)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["instance_info"][0].update(frame_id=50), "first frame_id is 50; MMPose counts from 1 or 0"),
        (lambda d: d["instance_info"][1].update(frame_id=1), "frame_id 1 is there twice"),
        (lambda d: d["instance_info"][0].update(frame_id="1"), "an entry has no frame_id"),
        (lambda d: d["instance_info"][0].update(frame_id=True), "an entry has no frame_id"),
        (lambda d: d.update(instance_info={}), "cam0.json: has no list 'instance_info'"),
        (lambda d: d.pop("instance_info"), "cam0.json: has no list 'instance_info'"),
        (lambda d: d["instance_info"].insert(0, 5), "an entry has no frame_id"),
        (lambda d: d["instance_info"][0]["instances"].append(7), "an instance without keypoints"),
        (lambda d: d["instance_info"][0]["instances"][0].pop("keypoint_scores"), "an instance without keypoints"),
        (lambda d: d["instance_info"][0]["instances"][0]["keypoints"].pop(), "as many keypoint_scores"),
        (
            lambda d: d["instance_info"][0].update(instances=[{}] * 201),
            "frame_id 1: the people in a picture are more than 200",
        ),
        (lambda d: d["meta_info"]["keypoint_id2name"].update({"3": "elbow"}), "unknown names: elbow; missing"),
        (lambda d: d["meta_info"].update(keypoint_id2name=dict.fromkeys("abcdefghijklmnopqrstu", "x")), "no numbers"),
    ],
)
def test_mmpose_files_that_do_not_fit(tmp_path, rng, change, message):
    document = mmpose_video([[mmpose_instance(hand(rng))]] * 2, 1)
    document = json.loads(json.dumps(document))
    change(document)
    (tmp_path / "cam0.json").write_text(json.dumps(document))
    with pytest.raises(HandgenError, match=message):
        detector(tmp_path, "left", ("cam0",))


def test_mmpose_numbers_of_keypoints(tmp_path):
    path = tmp_path / "cam0.json"
    path.write_text(json.dumps(mmpose_video([[mmpose_instance(np.ones((17, 3)))]], 0)))
    with pytest.raises(HandgenError, match=r"an instance of 17 keypoints, expected 21 \(a hand\), 133"):
        detector(tmp_path, "left", ("cam0",))
    with pytest.raises(HandgenError, match="a file of one camera, but there are 2; .*cam0.json, cam1.json"):
        detector(path, "left")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(HandgenError, match=r"cam0.json: not the JSON .*truncated"):
        detector(tmp_path, "left", ("cam0",))


def test_many_frames_take_little_memory(tmp_path, rng):
    """4,000 frames: 252 bytes a hand are kept, 1 MB; while they are read 1.5 KB a hand, and a window of the text."""
    frames = [[mmpose_instance(hand(rng).round(3))] for _ in range(4000)]
    (tmp_path / "cam0.json").write_text(json.dumps(mmpose_video(frames, 1)))
    tracemalloc.start()
    found = detector(tmp_path, "left", ("cam0",))
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 2e6 and peak < 12e6
    assert len(found.start("cam0").detect(None, 3999)) == 1
