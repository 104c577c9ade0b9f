"""Keypoints made elsewhere carry the convention of what made them: asked for, said by the files, or assumed."""

import json

import numpy as np
import pytest
from support.keypoint_files import CAMERAS, hand, openpose_file, openpose_person

from handgen.detect.keypoint_files.detector import KeypointsDetector
from handgen.detect.mediapipe.detector import load_offsets_m, load_view_bias
from handgen.detect.registry import KeypointFilesOptions
from handgen.errors import HandgenError
from handgen.io.detections import write_detections
from handgen.records.detection import DetectionRecord

NONE = np.zeros((21, 3))


def rows(rng, frames, again=()):
    return [
        DetectionRecord(camera, frame, hand(rng)[:, :2], np.ones(21), 0.9, frame in again)
        for frame in frames
        for camera in CAMERAS
    ]


def run_folder(path, rng, detector=None, again=()):
    """A folder as a run of annotate leaves it: two chunks, and what the run's detector was like."""
    (path / "detections").mkdir(parents=True)
    write_detections(path / "detections" / "000000.jsonl", rows(rng, range(2), again))
    write_detections(path / "detections" / "000001.jsonl", rows(rng, range(2, 4), again))
    described = detector or {"offsets_m": load_offsets_m().tolist(), "view_bias": load_view_bias().to_json()}
    (path / "run.json").write_text(json.dumps({"depends_on": {"detector": described}}))
    return path


@pytest.fixture
def jsonl(tmp_path, rng):
    write_detections(tmp_path / "hands.jsonl", rows(rng, range(2)))
    return tmp_path / "hands.jsonl"


def test_what_is_asked_for_decides(jsonl):
    for name in ("mediapipe", "openpose"):
        found = KeypointsDetector(jsonl, CAMERAS, keypoints_of=name)
        np.testing.assert_array_equal(found.offsets_m, load_offsets_m())
        assert found.view_bias is not None and not found.notes
    found = KeypointsDetector(jsonl, CAMERAS, keypoints_of="model")
    np.testing.assert_array_equal(found.offsets_m, NONE)
    assert found.view_bias is None and not found.notes
    with pytest.raises(ValueError, match="keypoints_of"):
        KeypointFilesOptions(keypoints="x", keypoints_of="mine")


def test_what_no_file_says_is_the_models_own_with_a_note(jsonl):
    found = KeypointsDetector(jsonl, CAMERAS)
    np.testing.assert_array_equal(found.offsets_m, NONE)
    assert "taken for the model's own joints" in found.notes[0] and "--keypoints-of" in found.notes[0]


def test_openpose_files_are_openposes(tmp_path, rng):
    for camera in CAMERAS:
        openpose_file(tmp_path / camera, 0, openpose_person(right=hand(rng)))
    found = KeypointsDetector(tmp_path, CAMERAS)
    np.testing.assert_array_equal(found.offsets_m, load_offsets_m())
    assert "taken for OpenPose's" in found.notes[0]
    assert KeypointsDetector(tmp_path, CAMERAS, keypoints_of="model").view_bias is None


@pytest.mark.parametrize("place", ["detections", "."])
def test_the_detections_of_a_run_are_read_back_with_its_convention(tmp_path, rng, place):
    run = run_folder(tmp_path / "run", rng, again=(3,))
    found = KeypointsDetector(run / place, CAMERAS)
    np.testing.assert_array_equal(found.offsets_m, load_offsets_m())
    assert found.view_bias.to_json() == load_view_bias().to_json() and not found.notes
    view = found.start(CAMERAS[1])
    assert [len(view.detect(None, frame)) for frame in range(5)] == [1, 1, 1, 1, 0]
    assert [view.detect(None, frame)[0].redetected for frame in (0, 3)] == [False, True]
    alone = KeypointsDetector(run / "detections" / "000000.jsonl", CAMERAS)
    assert "taken for the model's own" in alone.notes[0]  # one file may be anybody's


def test_a_run_of_another_detector_says_its_own_offsets(tmp_path, rng):
    offsets = NONE.copy()
    offsets[0, 0] = 0.004
    run = run_folder(tmp_path / "run", rng, {"offsets_m": offsets.tolist(), "view_bias": None})
    found = KeypointsDetector(run / "detections", CAMERAS)
    np.testing.assert_array_equal(found.offsets_m, offsets)
    assert found.view_bias is None


@pytest.mark.parametrize(
    "described",
    [
        {"view_bias": None},
        {"offsets_m": [[0, 0]], "view_bias": None},
        {"offsets_m": [[9, 0, 0]] * 21, "view_bias": None},
        {"offsets_m": [["a", 0, 0]] * 21, "view_bias": None},
        {"offsets_m": [[0, 0, 0]] * 21, "view_bias": {"offset_m": 3}},
        [],
    ],
)
def test_a_run_that_says_nonsense_is_named(tmp_path, rng, described):
    run = run_folder(tmp_path / "run", rng, {"offsets_m": [[0, 0, 0]] * 21, "view_bias": None})
    (run / "run.json").write_text(json.dumps({"depends_on": {"detector": described}}))
    with pytest.raises(HandgenError, match=r"run.json: does not say .*--keypoints-of"):
        KeypointsDetector(run / "detections", CAMERAS)
    assert KeypointsDetector(run / "detections", CAMERAS, keypoints_of="model").view_bias is None


def test_chunks_without_their_run_are_read_with_a_note(tmp_path, rng):
    run = run_folder(tmp_path / "run", rng)
    (run / "run.json").unlink()
    found = KeypointsDetector(run / "detections", CAMERAS)
    assert found.start(CAMERAS[0]).detect(None, 3) and "taken for the model's own" in found.notes[0]


def test_the_fingerprint_tells_detections_of_a_second_look_apart(tmp_path, rng):
    runs = [run_folder(tmp_path / f"{again}", np.random.default_rng(0), again=again) for again in ((), (1,), (2,))]
    assert len({KeypointsDetector(run, CAMERAS).fingerprint() for run in runs}) == 3
