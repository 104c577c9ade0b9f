import numpy as np
import pytest
import torch
from support.annotations import BETAS, open_hand, random_pose
from support.cameras import ring
from support.commands import invoke

from handgen.errors import HandgenError
from handgen.geometry.camera import Rig
from handgen.hand.model import HandPose
from handgen.io import annotations as store
from handgen.io.calibration_files.handgen_json import save_calibration
from handgen.io.camera_json import camera_document
from handgen.io.capture.capture import load_capture
from handgen.io.detections import write_detections
from handgen.media import images
from handgen.records.detection import Detection, DetectionRecord
from handgen.stages.evaluate.leave_one_out import _without_view, leave_one_out, nearest, open_setting
from handgen.storage.documents import write_json

FRAMES, CHUNK_FRAMES = 8, 4
OFFSET_PX = np.array([4.0, 3.0])  # 5 px


def write_capture(root, rig, late_camera=None):
    """Grey pictures of each camera; one camera may have started a frame early, so that its numbers differ."""
    cameras = {}
    for i, camera in enumerate(rig):
        early = int(camera.name == late_camera)
        for frame in range(FRAMES + early):
            picture = np.full((camera.size_px[1], camera.size_px[0], 3), 40 + i, np.uint8)
            path = root / camera.name / f"{frame:03d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(images.encode_jpeg(picture, 50))
        cameras[camera.name] = {"file": camera.name, "frame_offset": early}
    save_calibration(root / "calibration.json", rig)
    settings = {"format_version": 1, "cameras": cameras, "calibration": "calibration.json"}
    write_json(root / "capture.json", settings, "capture")
    return root


def write_run(root, capture_path, rig, wrong_view=None):
    """Write what `annotate` leaves behind of a moving right hand that every view sees exactly, but `wrong_view`."""
    capture = load_capture(capture_path)
    first, last = (random_pose("right", np.random.default_rng(seed)) for seed in (1, 2))
    for chunk in range(FRAMES // CHUNK_FRAMES):
        rows = []
        for frame in range(chunk * CHUNK_FRAMES, (chunk + 1) * CHUNK_FRAMES):
            t = 0.3 * frame / FRAMES
            pose = HandPose(
                torch.lerp(first.rotations, last.rotations, t), first.translation, torch.tensor(BETAS)[None]
            )
            keypoints = open_hand("right")(pose).keypoints[0].numpy()
            for v, camera in enumerate(rig):
                pixels, visible = camera.project(keypoints)
                assert visible.all()
                pixels = pixels + OFFSET_PX * (v == wrong_view)
                number = int(capture.source_frames[frame, v])
                rows.append(DetectionRecord(camera.name, number, pixels, np.ones(21), 0.99))
        path = root / store.DETECTIONS / f"{chunk:06d}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_detections(path, rows)
        store.write_chunk(root, chunk, [], [])
    depends_on = {
        "capture": capture.fingerprint(),
        "detector": {"offsets_m": np.zeros((21, 3))},
        "configuration": {"chunk_frames": CHUNK_FRAMES, "hands": "right"},
    }
    write_json(root / "run.json", {"kind": "annotations", "depends_on": depends_on}, "run")
    chunks = [
        {"index": i, "first_frame": i * CHUNK_FRAMES, "frames": CHUNK_FRAMES, "records": 0, "accepted": 0}
        for i in range(FRAMES // CHUNK_FRAMES)
    ]
    manifest = {
        "kind": "annotations",
        "format_version": 1,
        "created_by": "handgen test",
        "capture": {
            "path": "drawn",
            "frame_count": FRAMES,
            "calibration_format": "handgen",
            "fps": None,
            "scale": "calibrated",
            "metres_per_unit": 1.0,
        },
        "cameras": [camera_document(camera) for camera in rig],
        "hand_model": {"name": "open", "sha256": {"right": open_hand("right").arrays.sha256}},
        "subjects": {},
        "configuration": {},
        "chunks": chunks,
        "summary": {},
    }
    write_json(root / "manifest.json", manifest, store.MANIFEST_SCHEMA)
    return root


@pytest.fixture(scope="module")
def rig4():
    return ring(4)


@pytest.fixture(scope="module")
def capture(rig4, tmp_path_factory):
    return write_capture(tmp_path_factory.mktemp("evaluate") / "capture", rig4, late_camera="cam2")


def test_a_consistent_hand_is_found_where_the_left_out_view_saw_it(capture, rig4, tmp_path):
    annotations = write_run(tmp_path / "a", capture, rig4)
    found = leave_one_out(annotations, capture)
    assert found.hands == 4 * FRAMES and [view.hands for view in found.views] == [FRAMES] * 4
    assert found.error_px.median < 1.0  # detections are exact; priors on pose and shape pull a little
    ratio = found.error_mm.mean / found.error_px.mean
    assert ratio == pytest.approx(1e3 * 0.75 / 800, rel=0.2)  # depth about 0.75 m, focal length 800 px


def test_the_left_out_view_takes_no_part(capture, rig4, tmp_path):
    honest = open_setting(write_run(tmp_path / "a", capture, rig4), capture)
    wrong = open_setting(write_run(tmp_path / "b", capture, rig4, wrong_view=1), capture)
    (exact_px, exact_mm), (wrong_px, wrong_mm) = (_without_view(setting, 1) for setting in (honest, wrong))
    assert len(exact_px) == len(wrong_px) == FRAMES
    assert np.abs(wrong_px - 5.0).max() < exact_px.max() + 1e-3  # the same fit, seen against a detection 5 px off
    np.testing.assert_allclose(wrong_mm / wrong_px, exact_mm / exact_px, rtol=1e-9)  # the same depths: the same fit


def test_detections_are_found_by_each_cameras_own_frame_numbers(capture, rig4, tmp_path):
    setting = open_setting(write_run(tmp_path / "a", capture, rig4), capture)
    assert setting.capture.source_frames[0].tolist() == [0, 0, 1, 0]
    rows = setting.detections(range(3, 6))  # of both chunks
    assert [[len(seen) for seen in views] for views in rows] == [[1] * 4] * 3


def test_three_views_are_enough_and_two_are_not(tmp_path):
    for count in (3, 2):
        rig = Rig(ring(5).cameras[:count])
        capture = write_capture(tmp_path / f"capture{count}", rig)
        annotations = write_run(tmp_path / f"annotations{count}", capture, rig)
        if count == 3:
            assert leave_one_out(annotations, capture).hands == 3 * FRAMES
        else:
            with pytest.raises(HandgenError, match="has 2 views .* leaving one out takes 3, since two must remain"):
                leave_one_out(annotations, capture)


def test_another_capture_is_refused(capture, rig4, tmp_path):
    annotations = write_run(tmp_path / "a", capture, rig4)
    other = write_capture(tmp_path / "other", rig4)
    with pytest.raises(HandgenError, match="is not the capture"):
        leave_one_out(annotations, other)
    (annotations / "run.json").unlink()
    with pytest.raises(HandgenError, match=r"has no run\.json"):
        leave_one_out(annotations, capture)


def test_the_command_measures_without_truth(capture, rig4, tmp_path):
    annotations = write_run(tmp_path / "a", capture, rig4)
    report = tmp_path / "report"
    arguments = ("--leave-one-view-out", "--capture", capture, "--workers", 1, "--report", report)
    result = invoke("evaluate", annotations, *arguments)
    assert result.exit_code == 0, result.output
    assert f"left-out view, {4 * FRAMES} hands" in result.output and "MPJPE" not in result.output
    assert (report / "plots" / "left_out.png").is_file() and "One view left out" in (report / "report.html").read_text()


def test_the_nearest_detection_within_half_a_hand_is_taken():
    pixels = np.stack(np.meshgrid(np.arange(7.0), np.arange(3.0)), -1).reshape(21, 2) * 10
    near, far = (Detection(pixels + shift, np.ones(21), 0.5) for shift in (6.0, 300.0))
    assert nearest(pixels, [far, near]) is near
    assert nearest(pixels, [far]) is None and nearest(pixels, []) is None
