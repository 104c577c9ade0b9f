import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from handgen.detect import registry
from handgen.detect.base import DetectionTask, Detector
from handgen.detect.keypoint_files import detector as keypoints
from handgen.detect.keypoint_files.detector import KeypointsDetector
from handgen.detect.registry import KeypointFilesOptions
from handgen.errors import HandgenError
from handgen.io.detections import read_detections, write_detections
from handgen.records.detection import DetectionRecord

CAMERAS = ("left", "right")


def record(camera="left", frame=0, right=1.0, offset=0.0):
    keypoints = np.arange(42, dtype=float).reshape(21, 2) + offset
    return DetectionRecord(camera, frame, keypoints, np.linspace(0, 1, 21), right)


@pytest.fixture
def jsonl(tmp_path):
    path = tmp_path / "hands.jsonl"
    write_detections(
        path, [record(), record(offset=50, right=0.1), record("right", 3), record("left", 2, offset=0.1234)]
    )
    return path


@given(
    npst.arrays(float, (21, 2), elements=st.floats(-1e4, 1e4)),
    npst.arrays(float, 21, elements=st.floats(0, 1)),
    st.floats(0, 1),
    st.integers(0, 10**6),
)
def test_records_round_trip(tmp_path_factory, keypoints_px, confidence, right, frame):
    path = tmp_path_factory.getbasetemp() / "round_trip.jsonl"
    assert write_detections(path, [DetectionRecord("a b", frame, keypoints_px, confidence, right)]) == 1
    (found,) = read_detections(path)
    assert (found.camera, found.frame) == ("a b", frame)
    np.testing.assert_allclose(found.keypoints_px, keypoints_px, atol=0.00051)
    np.testing.assert_allclose(found.confidence, confidence, atol=0.000051)
    assert abs(found.right - right) <= 0.000051


def test_a_bad_record_leaves_no_file_behind(tmp_path):
    path = tmp_path / "hands.jsonl"
    bad = DetectionRecord("left", 1, np.full((21, 2), np.nan), np.ones(21), 1.0)
    with pytest.raises(HandgenError, match="line 2: keypoints_px/0/0"):
        write_detections(path, [record(), bad])
    assert list(tmp_path.iterdir()) == []


def test_detections_come_by_camera_and_frame(jsonl):
    detector: Detector = KeypointsDetector(jsonl, CAMERAS)
    assert not detector.needs_images and not detector.offsets_m.any() and detector.offsets_m.shape == (21, 3)
    view = detector.start("left")
    assert [d.right for d in view.detect(None, 0)] == [1.0, 0.1]
    assert view.detect(None, 1) == [] and len(view.detect(None, 2)) == 1
    np.testing.assert_allclose(view.detect(None, 2)[0].keypoints_px[0], [0.123, 1.123])
    assert len(detector.start("right").detect(None, 3)) == 1


def test_an_unknown_camera_is_an_error(jsonl):
    with pytest.raises(HandgenError, match=r"line 3: no camera is called 'right'; expected left, middle"):
        KeypointsDetector(jsonl, ("left", "middle"))
    with pytest.raises(ValueError, match="none of"):
        KeypointsDetector(jsonl, CAMERAS).start("middle")


def test_a_truncated_file_names_the_line(jsonl):
    jsonl.write_bytes(jsonl.read_bytes()[:-30])
    with pytest.raises(HandgenError, match=r"line 4: not valid JSON .*truncated"):
        KeypointsDetector(jsonl, CAMERAS)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"right":1.0', b'"right":1.5', "line 1: right"),
        (b'"right":1.0', b'"right":1.0,"extra":1', "line 1: .*extra"),
        (b'"frame":0', b'"frame":-1', "line 1: frame"),
        (b"[[0.0,1.0],", b"[", "line 1: keypoints_px"),
        (b"[[0.0,1.0],", b"[[null,1.0],", "line 1: keypoints_px/0/0"),
        (b'{"camera"', b" " * 70000 + b'{"camera"', "line 1: a line of detections larger than 64 KiB"),
    ],
)
def test_lines_that_do_not_fit_the_schema(jsonl, old, new, message):
    assert jsonl.read_bytes().count(old)
    jsonl.write_bytes(jsonl.read_bytes().replace(old, new, 1))
    with pytest.raises(HandgenError, match=message):
        KeypointsDetector(jsonl, CAMERAS)


def test_arrays_with_confidence_and_missing_keypoints(tmp_path, rng):
    values = np.concatenate([rng.uniform(0, 500, (2, 4, 21, 2)), rng.uniform(0.1, 1, (2, 4, 21, 1))], -1)
    values[0, 1] = np.nan  # no hand
    values[0, 2, 5] = np.nan  # one keypoint missing
    values[1, 3, :, 2] = 0  # seen by nobody
    np.save(tmp_path / "hands.npy", values)
    detector = KeypointsDetector(tmp_path / "hands.npy", CAMERAS, side="left")
    left, right = detector.start("left"), detector.start("right")
    (first,) = left.detect(None, 0)
    # Kept in 32 bit: 500 px to within 0.00002.
    np.testing.assert_allclose(first.keypoints_px, values[0, 0, :, :2], atol=2e-5)
    np.testing.assert_allclose(first.confidence, values[0, 0, :, 2], atol=1e-7)
    assert first.right == 0.0
    assert left.detect(None, 1) == [] and right.detect(None, 3) == [] and left.detect(None, 4) == []
    (partial,) = left.detect(None, 2)
    assert partial.confidence[5] == 0 and (np.delete(partial.confidence, 5) > 0).all()
    assert np.isfinite(partial.keypoints_px).all()


@pytest.mark.parametrize(("hands_with_tip", "said"), [(0, True), (9, True), (10, False), (100, False)])
def test_keypoints_that_the_files_lack_are_said(tmp_path, rng, hands_with_tip, said):
    values = rng.uniform(10, 600, (2, 50, 21, 2))
    values[:, :, 20].reshape(100, 2)[: 100 - hands_with_tip] = -1
    file = tmp_path / "hands.npy"
    np.save(file, values)
    (note,) = [n for n in KeypointsDetector(file, CAMERAS, "right").notes if "pinky_tip" in n] or [""]
    assert note.startswith(f"{file}: pinky_tip: missing in {100 - hands_with_tip} of 100 hands") == said


def test_npz_and_folders_of_files_per_camera(tmp_path, rng):
    values = rng.uniform(0, 500, (2, 3, 21, 2)).astype(np.float32)
    np.savez(tmp_path / "hands.npz", keypoints_px=values, other=np.zeros(3))
    folder = tmp_path / "folder"
    folder.mkdir()
    np.save(folder / "left.npy", values[0])
    write_detections(folder / "right.jsonl", [record("right", 2)])
    (folder / "notes.txt").write_text("ignored")
    whole = KeypointsDetector(tmp_path / "hands.npz", CAMERAS, side="right")
    parts = KeypointsDetector(folder, CAMERAS, side="right")
    np.testing.assert_array_equal(
        whole.start("left").detect(None, 1)[0].keypoints_px,
        parts.start("left").detect(None, 1)[0].keypoints_px,
    )
    assert whole.start("right").detect(None, 1)[0].confidence.tolist() == [1.0] * 21
    assert len(parts.start("right").detect(None, 2)) == 1


def test_an_array_of_one_camera_needs_no_views(tmp_path, rng):
    values = rng.uniform(0, 500, (3, 21, 2)).astype(np.float32)
    for name, array in (("flat", values), ("view", values[None])):
        np.save(tmp_path / f"{name}.npy", array)
        found = KeypointsDetector(tmp_path / f"{name}.npy", CAMERAS[:1], side="right").start("left")
        np.testing.assert_array_equal(found.detect(None, 2)[0].keypoints_px, values[2])
    np.save(tmp_path / "two.npy", np.stack([values, values]))
    with pytest.raises(HandgenError, match="expected frames x 21 x 2 or 3"):
        KeypointsDetector(tmp_path / "two.npy", CAMERAS[:1], side="right")


def test_folders_that_do_not_fit(tmp_path):
    with pytest.raises(HandgenError, match="no keypoints of camera left, right"):
        KeypointsDetector(tmp_path, CAMERAS, side="right")
    np.save(tmp_path / "left.npy", np.zeros((3, 21, 2)))
    with pytest.raises(HandgenError, match="no keypoints of camera right"):
        KeypointsDetector(tmp_path, CAMERAS, side="right")
    np.save(tmp_path / "middle.npy", np.zeros((3, 21, 2)))
    with pytest.raises(HandgenError, match=r"no camera is called 'middle'; the cameras are left, right"):
        KeypointsDetector(tmp_path, CAMERAS, side="right")
    (tmp_path / "middle.npy").rename(tmp_path / "left.npz")
    with pytest.raises(HandgenError, match="are of one camera"):
        KeypointsDetector(tmp_path, CAMERAS, side="right")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((3, 4, 21, 2)), r"expected 2 views x frames"),
        (np.zeros((2, 4, 20, 2)), r"shape \(2, 4, 20, 2\)"),
        (np.zeros((2, 4, 21, 2), complex), "complex128"),
        (np.zeros((4, 21, 2)), "expected 2 views"),
        (np.full((2, 4, 21, 3), 1.5), "frame 0, keypoint 0: confidence 1.5, expected 0 to 1"),
        (np.array([{"a": 1}], object), "cannot be read as a numpy array"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, values, message):
    np.save(tmp_path / "hands.npy", values, allow_pickle=True)
    with pytest.raises(HandgenError, match=message):
        KeypointsDetector(tmp_path / "hands.npy", CAMERAS, side="right")


def test_other_files_that_do_not_fit(tmp_path):
    path = tmp_path / "hands.npy"
    with pytest.raises(HandgenError, match="not found"):
        KeypointsDetector(path, CAMERAS, side="right")
    np.save(path, np.zeros((2, 4, 21, 2)))
    with pytest.raises(HandgenError, match="give the side"):
        KeypointsDetector(path, CAMERAS)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(HandgenError, match="truncated"):
        KeypointsDetector(path, CAMERAS, side="right")
    np.savez(tmp_path / "hands.npz", a=np.zeros(3), b=np.zeros(3))
    with pytest.raises(HandgenError, match="call the keypoints keypoints_px"):
        KeypointsDetector(tmp_path / "hands.npz", CAMERAS, side="right")
    (tmp_path / "hands.npz").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(HandgenError, match="cannot be read"):
        KeypointsDetector(tmp_path / "hands.npz", CAMERAS, side="right")
    (tmp_path / "hands.csv").write_text("1,2")
    with pytest.raises(HandgenError, match="not a file of keypoints"):
        KeypointsDetector(tmp_path / "hands.csv", CAMERAS, side="right")
    with pytest.raises(HandgenError, match="not found"):
        KeypointsDetector(tmp_path / "missing.jsonl", CAMERAS)


def test_registry(jsonl):
    task = DetectionTask(CAMERAS, max_hands=1)
    detector = registry.create_detector("keypoints", task, KeypointFilesOptions(keypoints=jsonl))
    assert detector.name == "keypoints"
    assert registry.create_detector("mediapipe", task).needs_images
    with pytest.raises(HandgenError, match="choose one of mediapipe, keypoints, cpm"):
        registry.create_detector("openpose", task)


def test_a_file_is_parsed_once_until_it_changes(jsonl, monkeypatch):
    read = []
    monkeypatch.setattr(keypoints.keypoint_files.jsonl, "read_detections", lambda *args: read.append(args) or iter(()))
    for _ in range(3):
        KeypointsDetector(jsonl, CAMERAS)
    assert len(read) == 1
    os.utime(jsonl, ns=(1, 1))
    KeypointsDetector(jsonl, CAMERAS)
    assert len(read) == 2
