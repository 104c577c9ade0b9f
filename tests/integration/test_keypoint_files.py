"""Rules that hold for files of keypoints of every format."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.annotate import config as annotate_config
from support.annotate import rendered, true_keypoints
from support.keypoint_files import (
    OPENPOSE_PX,
    assert_hand,
    detector,
    dlc_csv,
    hand,
    mmpose_instance,
    mmpose_video,
    openpose_file,
    openpose_person,
    whole_body,
)

from handgen.errors import HandgenError
from handgen.io.annotations import Annotations
from handgen.io.detections import read_detections, write_detections
from handgen.records.detection import DetectionRecord
from handgen.stages.annotate import stage as annotate
from handgen.storage import filesystem
from handgen.storage.local_copies import local_path


def test_formats_may_be_mixed_and_the_fingerprint_covers_all(tmp_path, rng):
    values = hand(rng)
    openpose_file(tmp_path / "cam0", 2, openpose_person(right=values))
    write_detections(tmp_path / "cam1.jsonl", [DetectionRecord("cam1", 2, values[:, :2], values[:, 2], 1.0)])
    before = detector(tmp_path)
    assert_hand(before.start("cam1").detect(None, 2)[0], values.round(4), 1, 6e-4)  # files of ours have 0.001 px
    digest = before.fingerprint()
    openpose_file(tmp_path / "cam0", 900)  # nobody: nothing to read in it
    assert detector(tmp_path).fingerprint() == digest
    openpose_file(tmp_path / "cam0", 2, openpose_person(right=values + np.array([0.1, 0, 0])))  # the file is there
    changed = detector(tmp_path)
    assert changed.fingerprint() != digest
    assert_hand(changed.start("cam0").detect(None, 2)[0], values + np.array([0.1, 0, 0]), 1, OPENPOSE_PX)
    np.testing.assert_array_equal(
        changed.start("cam0").detect(None, 2)[0].keypoints_px,
        detector(tmp_path).start("cam0").detect(None, 2)[0].keypoints_px,
    )
    (tmp_path / "cam0.csv").write_text("scorer")
    with pytest.raises(HandgenError, match=r"cam0 and cam0\.csv are of one camera"):
        detector(tmp_path)


def test_a_folder_of_folders_in_a_store(tmp_path, rng, monkeypatch):
    """The copies are links to files in handgen's cache."""
    monkeypatch.setenv("HANDGEN_CACHE", str(tmp_path / "cache"))
    values = hand(rng)
    openpose_file(tmp_path / "hands" / "cam0", 2, openpose_person(right=values))
    (tmp_path / "hands" / "cam1.json").write_text(json.dumps(mmpose_video([[mmpose_instance(values)]], 1)))
    place = filesystem.location("memory://bucket/keypoint_files")
    for file in (tmp_path / "hands").rglob("*.json"):
        filesystem.put(place / file.relative_to(tmp_path / "hands").as_posix(), file.read_bytes())
    found, here = detector(local_path(place), "right"), detector(tmp_path / "hands", "right")
    assert_hand(found.start("cam0").detect(None, 2)[0], values, 1, OPENPOSE_PX)
    assert found.fingerprint() == here.fingerprint()


def test_a_file_of_nothing_known_says_what_was_looked_for(tmp_path):
    path = tmp_path / "cam0.json"
    for content in (b'{"annotations": []}', b"", b"\x00" * 100, b"[]"):
        path.write_bytes(content)
        with pytest.raises(
            HandgenError, match="not a file of keypoints; expected handgen's JSONL, .* CSV of DeepLabCut"
        ):
            detector(tmp_path, "left", ("cam0",))


def test_jsonl_is_known_by_its_content_too(tmp_path, rng):
    values = hand(rng)
    write_detections(tmp_path / "x.jsonl", [DetectionRecord("cam1", 0, values[:, :2], values[:, 2], 0.25)])
    path = (tmp_path / "x.jsonl").rename(tmp_path / "hands.json")
    assert detector(path).start("cam1").detect(None, 0)[0].right == 0.25


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_files_never_give_anything_but_a_handgen_error(tmp_path_factory, data):
    kind = data.draw(st.sampled_from(["openpose", "mmpose", "deeplabcut"]))
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    folder = tmp_path_factory.mktemp("damaged")
    if kind == "openpose":
        path = openpose_file(folder / "cam0", 3, openpose_person(hand(rng), hand(rng)))
    elif kind == "mmpose":
        path = folder / "cam0.json"
        path.write_text(json.dumps(mmpose_video([[mmpose_instance(hand(rng))], []], 1)))
    else:
        path = dlc_csv(folder / "cam0.csv", {0: [hand(rng)], 1: [hand(rng)]})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(
            st.sampled_from(b'",:[]{}0123456789.-eNI\n\\\x00\xff')
        )
    path.write_bytes(content[: data.draw(st.sampled_from([len(content), len(content) // 2]))])
    try:
        for detection in detector(folder, "left", ("cam0",)).start("cam0").detect(None, 0):
            assert np.isfinite(detection.keypoints_px).all() and (detection.confidence <= 1).all()
    except HandgenError as error:
        assert str(folder) in str(error)


def test_a_pipe_is_not_waited_for(tmp_path, rng):
    os.mkfifo(tmp_path / "cam0.json")
    with pytest.raises(HandgenError, match="cam0.json: not a file"):
        detector(tmp_path, "left", ("cam0",))
    (tmp_path / "cam0.json").unlink()
    os.mkfifo(openpose_file(tmp_path / "cam0", 0).with_name("x_1_keypoints.json"))
    with pytest.raises(HandgenError, match="x_1_keypoints.json: not a file"):
        detector(tmp_path, "left", ("cam0",))


@pytest.mark.slow
def test_annotate_makes_the_same_of_every_format(tmp_path):
    """The truth about a rendered capture, written as each tool would: the same hands to within the tools' digits."""
    capture = rendered(tmp_path / "capture")
    write = true_keypoints(capture, tmp_path / "hands.jsonl", frames=range(4))
    rows = list(read_detections(Path(write)))
    cameras = sorted({row.camera for row in rows})
    for tool in ("openpose", "mmpose", "deeplabcut"):
        folder = tmp_path / tool
        folder.mkdir()
        for camera in cameras:
            hands = {
                row.frame: np.concatenate([row.keypoints_px, row.confidence[:, None]], 1)
                for row in rows
                if row.camera == camera
            }
            if tool == "openpose":
                for frame, values in hands.items():
                    openpose_file(folder / camera, frame, openpose_person(right=values))
            elif tool == "mmpose":
                nobody = np.zeros((21, 3))
                frames = [[mmpose_instance(whole_body(nobody, hands[frame]))] for frame in sorted(hands)]
                (folder / f"results_{camera}.json").write_text(json.dumps(mmpose_video(frames, 1, ["x"] * 133)))
            else:
                dlc_csv(folder / f"{camera}DLC_x.csv", {frame: [values] for frame, values in hands.items()})
    expected = None
    for source in ("hands.jsonl", "openpose", "mmpose", "deeplabcut"):
        out = tmp_path / f"annotations_{source}"
        annotate.run(capture, out, annotate_config(str(tmp_path / source), refine="none", keypoints_of="model"))
        found = [record.keypoints_world_m for _, record in Annotations(out)]
        expected = found if expected is None else expected
        assert len(found) == len(expected) >= 4
        np.testing.assert_allclose(found, expected, atol=2e-5)  # 0.02 mm
