"""Detections of a run go back in, corrected or not; and the convention of keypoints decides the fit."""

import json
import shutil

import numpy as np
import pytest
from support.annotate import config, rendered, true_keypoints

from handgen.errors import HandgenError
from handgen.io import annotations as store
from handgen.stages.annotate import stage as annotate


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    return rendered(tmp_path_factory.mktemp("keypoints_of") / "capture")


@pytest.fixture(scope="module")
def first(capture, tmp_path_factory):
    """A run with MediaPipe's convention, whatever made the keypoints."""
    folder = tmp_path_factory.mktemp("first")
    keypoints = true_keypoints(capture, folder / "hands.jsonl", noise_px=0.5)
    report = annotate.run(capture, folder / "out", config(keypoints, keypoints_of="mediapipe", chunk_frames=4))
    assert not any("taken for" in note for note in report.notes)
    return folder / "out"


def test_uncorrected_detections_give_the_same_records(capture, first, tmp_path):
    report = annotate.run(capture, tmp_path / "out", config(first / "detections", chunk_frames=4))
    assert not any("taken for" in note for note in report.notes)
    for index in range(2):
        name = f"{index:06d}.jsonl"
        assert (tmp_path / "out" / "chunks" / name).read_bytes() == (first / "chunks" / name).read_bytes()
        assert (tmp_path / "out" / "detections" / name).read_bytes() == (first / "detections" / name).read_bytes()


def test_corrected_detections_decide(capture, first, tmp_path):
    """A finger that was moved in a view is fitted as moved, or left out: the records are others."""
    corrected = tmp_path / "run"
    shutil.copytree(first, corrected)
    path = corrected / "detections" / "000001.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line["keypoints_px"] = (np.array(line["keypoints_px"]) + 3).tolist()
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    annotate.run(capture, tmp_path / "out", config(corrected / "detections", chunk_frames=4))
    before, after = (list(store.read_chunk(place, 1)) for place in (first, tmp_path / "out"))
    assert [record.frame for record in before] == [record.frame for record in after]
    moved = [a.keypoints_world_m - b.keypoints_world_m for a, b in zip(before, after, strict=True)]
    assert np.linalg.norm(moved, axis=-1).mean() > 1e-3


def test_other_conventions_give_other_hands_and_the_assumed_one_is_said(capture, first, tmp_path):
    keypoints = true_keypoints(capture, tmp_path / "hands.jsonl", noise_px=0.5)
    report = annotate.run(capture, tmp_path / "out", config(keypoints, chunk_frames=4))
    assert any("taken for the model's own joints" in note for note in report.notes)
    offsets = [
        json.loads((place / "run.json").read_text())["depends_on"]["detector"]["offsets_m"]
        for place in (first, tmp_path / "out")
    ]
    assert np.abs(offsets[0]).max() > 0.01 and np.abs(offsets[1]).max() == 0
    with pytest.raises(HandgenError, match="overwrite"):  # another convention is another run
        annotate.run(capture, tmp_path / "out", config(keypoints, keypoints_of="mediapipe", chunk_frames=4))


def test_a_run_does_not_read_what_it_writes(capture, first):
    before = (first / "detections" / "000000.jsonl").read_bytes()
    with pytest.raises(HandgenError, match="lies in the output"):
        annotate.run(capture, first, config(first / "detections", chunk_frames=4), overwrite=True)
    assert (first / "detections" / "000000.jsonl").read_bytes() == before
