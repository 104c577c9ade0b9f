import json
import shutil

import numpy as np
import pytest
from support.commands import invoke
from support.evaluate import changed, moved, with_manifest, with_points, write_truth

from handgen.errors import HandgenError
from handgen.hand.conversions import reorder_keypoints
from handgen.stages.evaluate.config import EvaluateConfig
from handgen.stages.evaluate.stage import run

ONE = EvaluateConfig(workers=1)


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return write_truth(tmp_path_factory.mktemp("evaluate") / "truth")


def refused(annotations, truth, match, config=ONE):
    with pytest.raises(HandgenError, match=match) as caught:
        run(annotations, truth, config)
    assert "\n" not in str(caught.value) and str(annotations) in str(caught.value)


def test_millimetres_are_refused(truth, tmp_path):
    in_mm = changed(truth, tmp_path / "a", lambda r: with_points(r, r.keypoints_world_m * 1000))
    refused(in_mm, truth, "look like millimetres")
    refused(truth, in_mm, "look like millimetres")


def test_another_unit_is_refused(truth, tmp_path):
    in_feet = changed(truth, tmp_path / "a", lambda r: with_points(r, r.keypoints_world_m * 3.28))
    refused(in_feet, truth, "3.28 times as large")


@pytest.mark.parametrize("order", ["interhand", "mano", "rhd"])
def test_another_order_of_the_keypoints_is_named(truth, tmp_path, order):
    def reordered(record):
        return with_points(record, reorder_keypoints(record.keypoints_world_m, "handgen", order))

    refused(changed(truth, tmp_path / "a", reordered), truth, f"order `{order}`")


def test_mirrored_coordinates_are_refused(truth, tmp_path):
    mirrored = changed(truth, tmp_path / "a", lambda r: with_points(r, r.keypoints_world_m * [-1, 1, 1]))
    refused(mirrored, truth, "mirror images")


def test_another_world_is_refused_with_the_way_out(truth, tmp_path):
    other = changed(truth, tmp_path / "a", lambda r: moved(r, np.array([0.0, 0.0, 0.8])))
    refused(other, truth, "--align-world")


def test_bad_annotations_are_measured_not_refused(truth, tmp_path):
    """Hands somewhere else every time are no other world."""
    rng = np.random.default_rng(0)
    lost = changed(truth, tmp_path / "a", lambda r: moved(r, rng.normal(0, 0.6, 3)))
    report = run(lost, truth, EvaluateConfig(workers=1, match_distance_mm=50))
    assert report.annotated_share == 0 and report.false_hands == 12 and report.keypoints is None
    assert any("no annotated hand lies within 50 mm" in note for note in report.notes)


def test_frames_in_common_there_must_be(truth, tmp_path):
    def later(manifest):
        for chunk in manifest["chunks"]:
            chunk["first_frame"] += 100

    other = with_manifest(
        changed(truth, tmp_path / "a", lambda r: type(r)(**{**vars(r), "frame": r.frame + 100})), later
    )
    refused(other, truth, "frames 100 to 105 and .* frames 0 to 5: no frame in common")


def test_records_outside_their_chunk_are_refused(truth, tmp_path):
    other = changed(truth, tmp_path / "a", lambda r: type(r)(**{**vars(r), "frame": r.frame + 3}))
    refused(other, truth, "outside its frames")


def test_chunks_that_share_frames_are_refused(truth, tmp_path):
    def overlap(manifest):
        manifest["chunks"][1]["first_frame"] = 2

    refused(with_manifest(changed(truth, tmp_path / "a", lambda r: r), overlap), truth, "hold frame 2")


def test_an_unknown_subject_is_named(truth, tmp_path):
    refused(changed(truth, tmp_path / "a", lambda r: type(r)(**{**vars(r), "subject": "x"})), truth, "subject 'x'")


def test_what_differs_is_stated(truth, tmp_path):
    def other(manifest):
        manifest["capture"]["fps"] = 25.0
        manifest["capture"]["path"] = "renamed"
        manifest["cameras"][0]["size_px"] = [480, 360]
        manifest["cameras"][1]["name"] = "elsewhere"
        manifest["hand_model"]["sha256"]["left"] = "0" * 64

    notes = " ".join(run(with_manifest(changed(truth, tmp_path / "a", lambda r: r), other), truth, ONE).notes)
    for part in (
        "25 frames/s, the truth of 30",
        "camera cam0: pictures of 480x360",
        "have camera elsewhere",
        "'renamed'",
    ):
        assert part in notes
    assert "is not the one that the annotations were made with" in notes


def test_without_frame_rates_jitter_is_left_out(truth, tmp_path):
    def unknown(manifest):
        manifest["capture"]["fps"] = None

    still = with_manifest(changed(truth, tmp_path / "a", lambda r: r), unknown)
    report = run(still, still, ONE)
    assert report.jitter is None and any("--fps" in note for note in report.notes)
    assert run(still, still, EvaluateConfig(workers=1, fps=10.0)).jitter.fps == 10.0


def test_a_missing_hand_model_leaves_surfaces_out(truth, tmp_path):
    def elsewhere(manifest):
        manifest["hand_model"]["name"] = "gone_{side}.npz"

    report = run(truth, with_manifest(changed(truth, tmp_path / "t", lambda r: r), elsewhere), ONE)
    assert report.vertices is None and report.mean_absolute_mm == 0
    assert any("hand model cannot be read" in note for note in report.notes)


def test_empty_annotations_give_a_report(truth, tmp_path):
    report = run(changed(truth, tmp_path / "a", lambda r: None), truth, ONE)
    assert report.annotated_share == 0 and report.truth_hands == 12 and report.worst == ()
    assert run(truth, changed(truth, tmp_path / "t", lambda r: None), ONE).false_hands == 12


def test_a_damaged_tar_is_named(truth, tmp_path):
    broken = changed(truth, tmp_path / "a", lambda r: r)
    (broken / "chunks" / "000000.tar").write_bytes(b"x" * 2000)
    refused(broken, truth, "not a readable tar")


def test_the_command_says_what_is_wrong(truth, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, status, message in (
        (("evaluate", truth), 2, "nothing to compare with"),
        (("evaluate", truth, "--truth", truth, "--capture", empty), 2, "--leave-one-view-out"),
        (("evaluate", truth, "--truth", tmp_path / "gone"), 2, "does not exist"),
        (("evaluate", truth, "--truth", truth, "--match-distance", "0"), 2, "match-distance"),
        (("evaluate", truth, "--truth", truth, "--fps", "nan"), 2, "fps"),
        (("evaluate", empty, "--truth", truth), 1, "handgen annotate"),
        (("evaluate", truth, "--truth", empty), 1, "holds no truth"),
    ):
        result = invoke(*arguments)
        assert result.exit_code == status, result.output
        assert message in result.output
        if status == 1:
            assert result.output.startswith("Error: ") and result.output.count("\n") == 1


def test_a_capture_with_truth_in_it_is_truth(truth, tmp_path):
    shutil.copytree(truth, tmp_path / "capture" / "truth")
    result = invoke("evaluate", truth, "--truth", tmp_path / "capture", "--workers", 1, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["coverage"]["annotated_share"] == 1


def test_configuration_is_checked():
    for wrong in (
        {"match_distance_mm": 0},
        {"fingertip_frames": 0},
        {"fps": float("nan")},
        {"worst": -1},
        {"workers": 0},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            EvaluateConfig(**wrong)
    with pytest.raises(ValueError, match="neither"):
        run(None, None, ONE)
