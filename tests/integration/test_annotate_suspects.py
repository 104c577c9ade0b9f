"""Cameras that are not what the capture says are named and left out; inspect --detect says so before."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from support.annotate import config, rendered, true_keypoints

from handgen.cli.main import main
from handgen.io.annotations import Annotations
from handgen.io.capture.capture import load_capture
from handgen.io.detections import read_detections, write_detections
from handgen.reconstruct.camera_agreement import Hypothesis
from handgen.reconstruct.camera_hypotheses import Suspect
from handgen.stages.annotate import stage as annotate
from handgen.stages.annotate import subject


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    return rendered(tmp_path_factory.mktemp("simulated") / "capture")


@pytest.fixture(scope="module")
def mirrored(capture, tmp_path_factory):
    """Keypoints of which those of the second camera are of a mirrored picture."""
    folder = tmp_path_factory.mktemp("mirrored")
    names = load_capture(capture).cameras.names
    rows = list(read_detections(Path(true_keypoints(capture, folder / "true.jsonl", noise_px=0.5))))
    for row in rows:
        if row.camera == names[1]:
            row.keypoints_px[:, 0] = 319 - row.keypoints_px[:, 0]
    write_detections(folder / "mirrored.jsonl", rows)
    return folder / "mirrored.jsonl", names[1]


def views_of(out):
    return [view for _, record in Annotations(out) for view in record.views if record.accepted and view.accepted]


def test_a_mirrored_camera_is_named_and_left_out(capture, mirrored, tmp_path):
    keypoints, name = mirrored
    report = annotate.run(capture, tmp_path / "out", config(keypoints))
    assert any(f"camera {name} looks mirrored" in note for note in report.notes)
    assert [(s["camera"], s["left_out"]) for s in report.cameras_suspect] == [(name, True)]
    cameras = {view.camera.name for view in views_of(tmp_path / "out")}
    assert cameras and name not in cameras
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["summary"]["cameras_suspect"][0]["camera"] == name


def test_keep_suspects_uses_it_all_the_same_and_says_so(capture, mirrored, tmp_path):
    keypoints, name = mirrored
    report = annotate.run(capture, tmp_path / "out", config(keypoints, keep_suspects=True))
    assert [(s["camera"], s["left_out"]) for s in report.cameras_suspect] == [(name, False)]


def test_inspect_detect_names_it(capture, mirrored):
    keypoints, name = mirrored
    arguments = ["inspect", str(capture), "--detect", "--detector", "keypoints", "--keypoints", str(keypoints)]
    done = CliRunner().invoke(main, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert [s["camera"] for s in document["detected"]["suspects"]] == [name]
    assert any("looks mirrored" in note for note in document["notes"])


def test_hands_of_another_size_are_said_with_the_factor(capture, tmp_path):
    keypoints = true_keypoints(capture, tmp_path / "true.jsonl")
    report = annotate.run(capture, tmp_path / "out", config(keypoints, refine="none", metres_per_unit=1.3))
    (note,) = [note for note in report.notes if "times as long as people's" in note]
    # The simulated hand is a person's, not the mean: 12 % at most from it, on top of 1.3.
    assert 1.3 / 1.12 < float(note.split("the hands are ")[1].split()[0]) < 1.3 * 1.12
    done = CliRunner().invoke(
        main,
        [
            *("annotate", str(capture), "--out", str(tmp_path / "small"), "--detector", "keypoints"),
            *("--keypoints", keypoints, "--hands", "right", "--metres-per-unit", "0.01", "--workers", "1"),
        ],
    )
    assert done.exit_code == 1 and "the hands suggest" in done.output


def test_pictures_without_contrast_give_nothing_and_exit_1(capture, tmp_path):
    """Keypoints from a file, of pictures that are all grey: nothing in them speaks for a hand."""
    import cv2

    grey = tmp_path / "grey"
    shutil.copytree(capture, grey, ignore=shutil.ignore_patterns("truth", ".journal"))
    pictures = [path for path in grey.rglob("*") if path.suffix in (".jpg", ".png")]
    for path in pictures:
        cv2.imwrite(str(path), np.full((240, 320, 3), 128, np.uint8))
    assert pictures
    keypoints = true_keypoints(capture, tmp_path / "true.jsonl")
    arguments = ["--out", str(tmp_path / "out"), "--detector", "keypoints", "--keypoints", keypoints]
    done = CliRunner().invoke(main, ["annotate", str(grey), *arguments, "--hands", "right", "--workers", "1"])
    assert done.exit_code == 1
    assert "nothing was accepted" in done.output and "picture without contrast" in done.output


def test_keypoints_of_a_right_hand_are_no_left_hand(capture, tmp_path):
    """A file does not say the side, and the user says the wrong one: the shape tells."""
    keypoints = true_keypoints(capture, tmp_path / "true.jsonl", noise_px=0.5)
    arrays = tmp_path / "arrays"
    arrays.mkdir()
    rows = list(read_detections(Path(keypoints)))
    for name in load_capture(capture).cameras.names:
        np.save(arrays / f"{name}.npy", np.stack([row.keypoints_px for row in rows if row.camera == name]))
    arguments = ["--detector", "keypoints", "--keypoints", str(arrays), "--refine", "none", "--workers", "1"]
    done = {
        side: CliRunner().invoke(
            main, ["annotate", str(capture), "--out", str(tmp_path / side), "--hands", side, *arguments]
        )
        for side in ("left", "right")
    }
    assert done["left"].exit_code == 1 and "give --hands right" in done["left"].output
    assert done["right"].exit_code == 0, done["right"].output


def test_a_camera_of_which_no_view_is_good_is_named(capture, tmp_path):
    """One camera with grey pictures beside good ones: the others' hands stay, and it is said."""
    import cv2

    grey = tmp_path / "grey"
    shutil.copytree(capture, grey, ignore=shutil.ignore_patterns("truth", ".journal"))
    name = load_capture(capture).cameras.names[0]
    pictures = [path for path in grey.rglob("*") if path.suffix in (".jpg", ".png") and name in path.parent.name]
    for path in pictures:
        cv2.imwrite(str(path), np.full((240, 320, 3), 128, np.uint8))
    assert pictures
    keypoints = true_keypoints(capture, tmp_path / "true.jsonl")
    report = annotate.run(grey, tmp_path / "out", config(keypoints))
    assert sum(report.accepted.values()) == 8
    assert any(f"all views of camera {name} were rejected: " in note for note in report.notes)
    assert any("picture without contrast" in note for note in report.notes)


def test_a_camera_late_by_half_a_frame_pulls_hands_less_along(capture, tmp_path, monkeypatch):
    """Its keypoints lie between those of two frames: moved to the moment they say what the other cameras say."""
    rows = list(read_detections(Path(true_keypoints(capture, tmp_path / "true.jsonl", noise_px=0.2))))
    name = load_capture(capture).cameras.names[1]
    annotate.run(capture, tmp_path / "intact", config(tmp_path / "true.jsonl", refine="none"))
    before = {row.frame + 1: row.keypoints_px.copy() for row in rows if row.camera == name}
    for row in rows:
        if row.camera == name and row.frame in before:
            row.keypoints_px[:] = (row.keypoints_px + before[row.frame]) / 2
    write_detections(tmp_path / "late.jsonl", rows)
    suspect = Suspect(name, Hypothesis(delay_frames=0.5), 0.02, 0.01)
    off = {}
    for what, suspects in {"unknown": [], "known": [suspect]}.items():
        monkeypatch.setattr(subject, "find_suspects", lambda *_, known=suspects: known)
        annotate.run(capture, tmp_path / what, config(tmp_path / "late.jsonl", refine="none"))
        off[what] = mean_distance_mm(tmp_path / what, tmp_path / "intact")
    assert off["known"] < 0.6 * off["unknown"]


def mean_distance_mm(out, other):
    """Mean distance between the keypoints of two annotations of the same frames but the first and the last."""
    first, second = ([r.keypoints_world_m for _, r in Annotations(path)][1:-1] for path in (out, other))
    return 1e3 * float(np.linalg.norm(np.array(first) - np.array(second), axis=-1).mean())
