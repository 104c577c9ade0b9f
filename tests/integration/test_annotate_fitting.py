"""annotate goes beyond detections frame by frame: masks, silence, second looks, moved cameras, one view."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.annotate import config, errors_mm, rendered, true_keypoints

from handgen.detect import registry
from handgen.errors import HandgenError
from handgen.io.annotations import Annotations
from handgen.io.capture.capture import load_capture
from handgen.io.detections import write_detections
from handgen.plugins import Entry
from handgen.reconstruct import quality
from handgen.records.detection import Detection, DetectionRecord
from handgen.stages.annotate import stage as annotate
from handgen.stages.annotate.config import AnnotateConfig
from handgen.stages.inspect.detection import look
from handgen.stages.simulate import stage as simulate
from handgen.stages.simulate.config import SimulateConfig


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    return rendered(tmp_path_factory.mktemp("simulated") / "capture")


def test_masks_mend_what_detections_get_wrong(tmp_path):
    """Fingertips that the detector puts 4 px short of the skin, in all views and frames, of open hands."""
    capture = rendered(tmp_path / "capture", without=("poses",))
    rig = load_capture(capture).rig
    rows = []
    for _, record in Annotations(capture / "truth"):
        for camera in rig:
            pixels, _ = camera.project(record.keypoints_world_m)
            for tip in (4, 8, 12, 16, 20):
                back = pixels[tip - 1] - pixels[tip]
                pixels[tip] += 4 * back / max(np.linalg.norm(back), 1.0)
            rows.append(DetectionRecord(camera.name, record.frame, pixels, np.ones(21), 1.0))
    write_detections(tmp_path / "short.jsonl", rows)
    found = {}
    for refine in ("none", "silhouette"):
        annotate.run(capture, tmp_path / refine, config(str(tmp_path / "short.jsonl"), refine=refine))
        found[refine] = np.mean(list(errors_mm(capture, tmp_path / refine).values()))
    assert found["silhouette"] < 0.9 * found["none"]
    record = next(record for _, record in Annotations(tmp_path / "silhouette"))
    assert record.terms["silhouette"] > 0 and abs(sum(record.terms.values()) - 1) < 1e-3


def test_masks_carry_a_hand_when_the_detector_is_silent(capture, tmp_path):
    keypoints = true_keypoints(capture, tmp_path / "first.jsonl", frames=(0, 1))
    annotate.run(capture, tmp_path / "without", config(keypoints))
    assert sorted(r.frame for _, r in Annotations(tmp_path / "without")) == [0, 1]
    annotate.run(capture, tmp_path / "with", config(keypoints, track="silhouette"))
    records = {record.frame: record for _, record in Annotations(tmp_path / "with")}
    assert sorted(records) == list(range(8))
    assert [records[frame].source for frame in (1, 2, 7)] == ["keypoints", "silhouette", "silhouette"]
    errors = errors_mm(capture, tmp_path / "with")
    # Hands of 60 px: a pixel is 3 mm, and masks alone say nothing of a finger before the palm.
    assert np.mean(list(errors.values())) < 12.0


class ShortSighted:
    """Sees true hands, but those of one camera only when it is told where to look."""

    name = "short sighted"
    needs_images = True
    notes = ()
    offsets_m = np.zeros((21, 3))
    view_bias = None

    def __init__(self, capture, blind):
        rig = load_capture(capture).rig
        self._truth = {r.frame: r.keypoints_world_m for _, r in Annotations(capture / "truth")}
        self._rig, self._blind = rig, blind

    def fingerprint(self):
        return "0"

    def start(self, camera):
        return _View(self._rig[camera], self._truth, camera == self._blind)


class _View:
    def __init__(self, camera, truth, blind):
        self._camera, self._truth, self._blind = camera, truth, blind

    def detect(self, image, frame):
        assert image.ndim == 3
        pixels, _ = self._camera.project(self._truth[frame])
        return [] if self._blind else [Detection(pixels, np.ones(21), 0.9)]

    def detect_near(self, image, keypoints_px, right):
        frame = min(self._truth, key=lambda f: np.abs(self._camera.project(self._truth[f])[0] - keypoints_px).mean())
        pixels, _ = self._camera.project(self._truth[frame])
        near = np.abs(pixels - keypoints_px).mean() < 3
        return Detection(pixels, np.ones(21), 0.9) if near and right > 0.5 else None


def test_a_view_that_missed_the_hand_is_looked_at_again(capture, tmp_path, monkeypatch):
    short_sighted = Entry(lambda task, options: ShortSighted(capture, "cam_1"))
    monkeypatch.setitem(registry.DETECTORS.entries, "mediapipe", short_sighted)
    settings = AnnotateConfig(hands="right", workers=1, refine="none")
    report = annotate.run(capture, tmp_path / "twice", settings)
    assert report.views_detected_again == 8
    for _, record in Annotations(tmp_path / "twice"):
        assert record.views_detected == 3
        assert [view.camera.name for view in record.views if view.detected_again] == ["cam_1"]
    once = annotate.run(capture, tmp_path / "once", replace(settings, redetect=False))
    assert once.views_detected_again == 0
    assert all(record.views_detected == 2 for _, record in Annotations(tmp_path / "once"))


class Mistaken(ShortSighted):
    """Takes the fingers for the whole hand in one camera, unless it is told where to look."""

    def start(self, camera):
        return _Mistaken(self._rig[camera], self._truth, camera == self._blind)


class _Mistaken(_View):
    def detect(self, image, frame):
        pixels, _ = self._camera.project(self._truth[frame])
        tips = pixels[[8, 12, 16, 20]].mean(0)
        return [Detection(tips + 0.4 * (pixels - tips) if self._blind else pixels, np.ones(21), 0.9)]


def test_a_camera_in_which_the_detector_erred_is_no_suspect_after_a_second_look(capture, tmp_path, monkeypatch):
    mistaken = Entry(lambda task, options: Mistaken(capture, "cam_1"))
    monkeypatch.setitem(registry.DETECTORS.entries, "mediapipe", mistaken)
    document, notes = look(load_capture(capture), "mediapipe", None, lambda *_: None)
    assert document["suspects"] == [] and document["hands"] == dict.fromkeys(("cam_0", "cam_1", "cam_2"), 8)
    assert not [note for note in notes if "cam_1" in note]
    settings = AnnotateConfig(hands="right", workers=1, refine="none")
    report = annotate.run(capture, tmp_path / "out", settings)
    assert report.cameras_suspect == () and report.views_detected_again == 8
    without = annotate.run(capture, tmp_path / "without", replace(settings, redetect=False))
    assert [suspect["camera"] for suspect in without.cameras_suspect] == ["cam_1"]


def test_chunks_join_without_a_seam(capture, tmp_path):
    """Frames are fitted with those around their chunk: noise makes no step where one chunk ends."""
    keypoints = true_keypoints(capture, tmp_path / "noisy.jsonl", noise_px=1.0)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    annotate.run(capture, whole, config(keypoints, refine="none"))
    annotate.run(capture, cut, config(keypoints, refine="none", chunk_frames=3))
    one, other = ({r.frame: r.keypoints_world_m for _, r in Annotations(out)} for out in (whole, cut))
    assert max(np.abs(one[frame] - other[frame]).max() for frame in one) * 1e3 < 0.1  # mm


def test_a_bumped_camera_is_named_and_mended(tmp_path):
    path = tmp_path / "capture"
    simulate.run(path, SimulateConfig(views=4, frames=16, size=(320, 240), fps=8, video=False, workers=1))
    keypoints = true_keypoints(path, tmp_path / "truth.jsonl", frames=range(16), noise_px=0.5)
    document = json.loads((path / "calibration.json").read_text())
    bumped = document["cameras"][2]
    moved = np.eye(4)
    moved[:3, :3] = Rotation.from_rotvec([0.03, -0.04, 0.02]).as_matrix()  # 3 degrees
    bumped["cam_from_world"] = (moved @ np.array(bumped["cam_from_world"])).tolist()
    (path / "calibration.json").write_text(json.dumps(document))
    settings = config(keypoints, refine="none")
    report = annotate.run(path, tmp_path / "as_is", settings)
    assert [move["camera"] for move in report.cameras_moved] == [bumped["name"]]
    assert any("mend it with --refine-extrinsics" in note for note in report.notes)
    mended = annotate.run(path, tmp_path / "mended", replace(settings, refine_extrinsics=True))
    assert any(note.startswith(f"camera {bumped['name']} had moved") for note in mended.notes)
    before, after = (np.mean(list(errors_mm(path, tmp_path / name).values())) for name in ("as_is", "mended"))
    assert after < before
    truth = Annotations(path / "truth").rig[bumped["name"]].cam_from_world.rotation
    found = Annotations(tmp_path / "mended").rig[bumped["name"]].cam_from_world.rotation
    angle_deg = np.degrees(np.linalg.norm(Rotation.from_matrix(found @ truth.T).as_rotvec()))
    assert angle_deg < 1.0  # of 3; 60 px hands, and turning trades with shifting


def test_one_camera_is_enough_if_asked(tmp_path):
    one = tmp_path / "one"
    simulate.run(one, SimulateConfig(views=1, frames=8, size=(320, 240), fps=8, video=False, workers=1))
    keypoints = true_keypoints(one, tmp_path / "truth.jsonl")
    with pytest.raises(HandgenError, match="--min-views"):
        annotate.run(one, tmp_path / "two", config(keypoints))
    settings = config(keypoints, min_views=1, max_uncertainty_mm=200.0)
    report = annotate.run(one, tmp_path / "out", settings)
    assert report.records == {"right": 8}
    assert any("one camera alone" in note for note in report.notes)
    for _, record in Annotations(tmp_path / "out"):
        assert record.views_detected == 1 and record.reprojection_px < 2.0
        assert record.expected_error_mm > 20  # its distance is a guess
    assert annotate.run(one, tmp_path / "strict", replace(settings, max_uncertainty_mm=15.0)).accepted == {}


def test_a_hand_that_few_views_detect_needs_its_masks():
    assert quality.weak_reasons(2, 8, 0.75) == (quality.WEAK,)
    assert quality.weak_reasons(2, 8, 0.85) == ()
    assert quality.weak_reasons(2, 4, 0.75) == ()  # half of the views saw it
    assert quality.weak_reasons(0, 2, 0.75) == (quality.WEAK,)
