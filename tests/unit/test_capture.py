"""Small videos whose every frame says its camera and number in its pixels."""

import pickle
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.captures import _CODECS, SIZE_PX, make_capture, message_of, seen, small_rig

from handgen.io.calibration_files.handgen_json import save_calibration
from handgen.io.capture import synchronization
from handgen.io.capture.capture import load_capture


@pytest.mark.parametrize("suffix", _CODECS)
def test_reads_every_frame_in_order_as_rgb(suffix, tmp_path):
    capture = load_capture(make_capture(tmp_path, suffix=suffix))
    assert capture.frame_count == 30
    assert capture.fps == pytest.approx(25)
    assert capture.notes == ()
    assert seen(capture) == [((0, i), (1, i)) for i in range(30)]


@pytest.mark.parametrize("suffix", _CODECS)
def test_seeking_is_frame_accurate(suffix, tmp_path):
    capture = load_capture(make_capture(tmp_path, frames=(400, 400), suffix=suffix))
    for start in (0, 1, 59, 60, 61, 62, 100, 128, 255, 256, 399):
        stop = min(start + 2, 400)
        assert seen(capture, start, stop) == [((0, i), (1, i)) for i in range(start, stop)]


def test_same_pixels_wherever_reading_starts_also_after_pickling(tmp_path):
    capture = load_capture(make_capture(tmp_path, frames=(150, 150)))
    whole = [[zlib.crc32(image) for image in images] for images in capture.read()]
    copy = pickle.loads(pickle.dumps(capture))
    for start in (70, 99, 149):
        assert [zlib.crc32(image) for image in next(copy.read(start, start + 1))] == whole[start]


def test_reading_outside_is_misuse(tmp_path):
    capture = load_capture(make_capture(tmp_path))
    for start, stop in ((-1, 3), (0, 31), (5, 4)):
        with pytest.raises(ValueError):
            next(capture.read(start, stop))
    assert list(capture.read(5, 5)) == []


def test_a_shorter_camera_limits_the_range_and_is_noted(tmp_path):
    capture = load_capture(make_capture(tmp_path, frames=(30, 22)))
    assert capture.frame_count == 22
    assert capture.notes == ("camera cam1 has 22 frames, cam0 30: using the first 22",)
    assert seen(capture)[-1] == ((0, 21), (1, 21))


@pytest.mark.parametrize("offsets", [(0, 3), (5, 2), (-4, 0), (-2, -7)])
def test_frame_offsets(offsets, tmp_path):
    settings = {"cameras": {f"cam{i}": {"file": f"cam{i}.mp4", "frame_offset": offsets[i]} for i in (0, 1)}}
    capture = load_capture(make_capture(tmp_path, settings=settings))
    first = np.array(offsets) - min(0, *offsets)
    assert capture.frame_count == 30 - first.max()
    assert seen(capture) == [((0, f + first[0]), (1, f + first[1])) for f in range(capture.frame_count)]


@given(
    counts=st.lists(st.integers(1, 50), min_size=1, max_size=5),
    data=st.data(),
)
def test_schedule_by_index_stays_inside_every_video(counts, data):
    offsets = data.draw(st.lists(st.integers(-60, 60), min_size=len(counts), max_size=len(counts)))
    frames = synchronization.schedule_by_index(counts, offsets)
    assert (frames >= 0).all() and (frames < counts).all()
    if len(frames):
        assert (np.diff(frames, axis=0) == 1).all()
        assert (frames[0] - frames[0, 0] == np.array(offsets) - offsets[0]).all()
        assert (frames[-1] == np.array(counts) - 1).any()  # the range cannot be longer


@given(data=st.data(), tolerance=st.floats(0, 0.2))
@settings(max_examples=200)
def test_schedule_by_time_finds_the_nearest_within_the_tolerance(data, tolerance):
    steps = st.lists(st.floats(0.01, 0.3), min_size=1, max_size=20)
    times = [np.cumsum(data.draw(steps)) for _ in range(3)]
    frames = synchronization.schedule_by_time(times, tolerance)
    assert (frames[:, 0] == np.arange(len(times[0]))).all()
    for view in (1, 2):
        gaps = np.abs(times[0][:, None] - times[view][None])
        assert ((frames[:, view] >= 0) == (gaps.min(1) <= tolerance)).all()
        for moment, frame in enumerate(frames[:, view]):
            if frame >= 0:
                assert gaps[moment, frame] == gaps[moment].min()
        found = frames[:, view][frames[:, view] >= 0]
        assert (np.diff(found) >= 0).all()


def timestamp_settings(**more) -> dict:
    return {"timestamps": {"file": "times.csv", **more}}


def test_timestamps_match_by_time_and_leave_gaps(tmp_path):
    make_capture(tmp_path, settings=timestamp_settings(tolerance_s=0.015))
    lines = ["camera,frame,time_s"] + [f"cam0,{i},{100 + i * 0.04}" for i in range(30)]
    # cam1 runs at half the rate from the second moment on
    lines += [f"cam1,{i},{100.04 + i * 0.08 + 0.005}" for i in range(14)]
    (tmp_path / "times.csv").write_text("\n".join(lines))
    capture = load_capture(tmp_path)
    assert capture.frame_count == 30
    frames = seen(capture)
    assert frames[:5] == [((0, 0), None), ((0, 1), (1, 0)), ((0, 2), None), ((0, 3), (1, 1)), ((0, 4), None)]
    assert frames[29] == ((0, 29), None)
    assert any("cam1 has no frame near 16 of 30" in note for note in capture.notes)
    assert seen(capture, 7, 8) == frames[7:8]


def test_a_frame_can_serve_two_moments(tmp_path):
    make_capture(tmp_path, frames=(6, 6), settings=timestamp_settings(tolerance_s=0.1))
    lines = ["camera,frame,time_s"] + [f"cam{c},{i},{(i * 0.04, i * 0.08 + 0.01)[c]}" for c in (0, 1) for i in range(6)]
    (tmp_path / "times.csv").write_text("\n".join(lines))
    assert [row[1] for row in seen(load_capture(tmp_path))] == [
        (1, 0),
        (1, 0),
        (1, 1),
        (1, 1),
        (1, 2),
        (1, 2),
    ]


def test_caliscope_timestamps_count_from_the_first_row(tmp_path):
    make_capture(tmp_path, frames=(10, 10), names=["cam_0", "cam_1"], settings=timestamp_settings())
    lines = ["sync_index,cam_id,frame_index,frame_time"]
    lines += [f"{26 + i},{c},{26 + i},{5 + (i + c) * 0.1}" for i in range(10) for c in (0, 1)]
    (tmp_path / "times.csv").write_text("\n".join(lines))
    frames = seen(load_capture(tmp_path))
    assert frames[0] == ((0, 0), None)
    assert frames[1:] == [((0, i), (1, i - 1)) for i in range(1, 10)]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["camera,frame,seconds", "cam0,0,1"], "time_s"),
        (["camera,frame,time_s", "cam0,0,1", "cam1,0,x"], "line 3"),
        (["camera,frame,time_s", "cam0,0,1", "cam1,0,nan"], "line 3"),
        (["camera,frame,time_s", "cam0,0,1", "cam0,0,2"], "twice"),
        (["camera,frame,time_s", "cam0,0,1"], "no line for camera cam1"),
        (["camera,frame,time_s", "cam0,0,1", "cam1,30,1"], "frame 30"),
        (["camera,frame,time_s", "cam0,0,2", "cam0,1,1", "cam1,0,1"], "backwards at frame 1"),
        (["cam_id,frame_index,frame_time", f"cam0,{10**30},1", f"cam0,{10**30 + 1},2", "cam1,0,1"], "line 2"),
        (["cam_id,frame_index,frame_time", f"cam0,{2**63 - 1},1", f"cam0,{2**63},2", "cam1,0,1"], "line 2"),
    ],
)
def test_bad_timestamps(lines, expected, tmp_path):
    make_capture(tmp_path, settings=timestamp_settings())
    (tmp_path / "times.csv").write_text("\n".join(lines))
    text = message_of(tmp_path)
    assert expected in text and "times.csv" in text


@pytest.mark.parametrize(
    ("files", "names"),
    [(("cam_0", "cam_1"), ("0", "1")), (("port_7", "port_12"), ("c7", "c12")), (("a", "b"), ("b", "a"))],
)
def test_files_are_matched_to_cameras_by_name_or_number(files, names, tmp_path):
    make_capture(tmp_path, names=files, rig=small_rig(*names))
    capture = load_capture(tmp_path)
    assert capture.rig.names == names
    assert capture.notes == ()
    expected = names if set(files) == set(names) else files
    assert [source.path.stem for source in capture.sources] == list(expected)


def test_files_are_matched_by_order_when_nothing_else_is_left_and_it_is_noted(tmp_path):
    make_capture(tmp_path, names=["left", "right"], rig=small_rig("a", "b"))
    capture = load_capture(tmp_path)
    assert capture.notes == ("matched files to cameras by order: left.mp4 = camera a, right.mp4 = camera b",)


def test_a_calibrated_camera_without_video(tmp_path):
    make_capture(tmp_path, rig=small_rig("cam0", "cam1", "cam2"))
    text = message_of(tmp_path)
    assert "camera cam2" in text and "calibration.json" in text and "capture.json" in text


def test_a_video_without_calibration(tmp_path):
    make_capture(tmp_path, frames=(5, 5, 5), rig=small_rig("cam0", "cam1"))
    text = message_of(tmp_path)
    assert "cam2.mp4" in text and "calibration.json" in text and "capture.json" in text


def test_capture_json_lists_a_subset(tmp_path):
    settings = {"cameras": {"cam2": {"file": "cam2.mp4"}, "cam0": {"file": "cam0.mp4"}}, "hands": "both"}
    make_capture(tmp_path, frames=(5, 5, 5), settings=settings, rig=small_rig("cam0", "cam1", "cam2"))
    capture = load_capture(tmp_path)
    assert capture.rig.names == ("cam2", "cam0")
    assert seen(capture)[3] == ((2, 3), (0, 3))
    assert capture.hands == "both"
    assert any("cam1" in note for note in capture.notes)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"cameras": {"camX": {"file": "cam0.mp4"}}}, "camX"),
        ({"cameras": {"cam0": {"file": "../cam0.mp4"}}}, "leads out"),
        ({"cameras": {"cam0": {"file": "/etc/passwd"}}}, "leads out"),
        ({"cameras": {"cam0": {"file": "gone.mp4"}}}, "gone.mp4"),
        ({"cameras": {"cam0": {"file": "cam0.mp4"}, "cam1": {"file": "cam0.mp4"}}}, "same file"),
        ({"cameras": {"cam0": {"path": "cam0.mp4"}}}, "cameras/cam0"),
        ({"calibration": "../../calibration.json"}, "leads out"),
        ({"calibration": "gone.json"}, "gone.json"),
        ({"hands": "three"}, "three"),
        ({"metres_per_unit": -1}, "-1"),
        ({"unknown": 1}, "unknown"),
        (
            {
                "cameras": {"cam0": {"file": "cam0.mp4", "frame_offset": 1}, "cam1": {"file": "cam1.mp4"}},
                **timestamp_settings(),
            },
            "keep one",
        ),
        (
            {
                "cameras": {
                    "cam0": {"file": "cam0.mp4", "frame_offset": 100},
                    "cam1": {"file": "cam1.mp4"},
                }
            },
            "no frame in common",
        ),
    ],
)
def test_bad_capture_json(settings, expected, tmp_path):
    assert expected in message_of(make_capture(tmp_path, frames=(5, 5), settings=settings))


def test_capture_json_names_calibration_and_unit(tmp_path):
    make_capture(tmp_path, frames=(5, 5), settings={"calibration": "calibration.json", "metres_per_unit": 0.5})
    save_calibration(tmp_path / "other.json", small_rig("cam0", "cam1"))
    capture = load_capture(tmp_path)
    assert capture.scale == "given" and capture.metres_per_unit == 0.5
    assert capture.rig.baselines_m()[0, 1] == pytest.approx(0.5 * small_rig("cam0", "cam1").baselines_m()[0, 1])


def test_unknown_unit(tmp_path):
    make_capture(tmp_path, frames=(5, 5))
    rig = small_rig("cam0", "cam1")
    save_calibration(tmp_path / "calibration.json", rig, metres_per_unit=None)
    text = message_of(tmp_path)
    assert "unit is unknown" in text and "--metres-per-unit auto" in text and "calibration.json" in text
    auto = load_capture(tmp_path, metres_per_unit="auto")
    assert not auto.scale_known and auto.scale == "unknown"
    assert auto.cameras.baselines() == pytest.approx(rig.baselines_m())
    with pytest.raises(ValueError, match="unit of the calibration is unknown"):
        _ = auto.rig
    assert auto.in_metres(0.03).rig.baselines_m() == pytest.approx(0.03 * rig.baselines_m())
    assert not load_capture(tmp_path, require_scale=False).scale_known
    given = load_capture(tmp_path, metres_per_unit=0.03)
    assert given.scale_known and given.scale == "given"
    assert given.rig.baselines_m() == pytest.approx(0.03 * rig.baselines_m())
    assert "positive" in message_of(tmp_path, metres_per_unit=-1.0)


def test_a_number_overrides_a_known_unit_and_is_noted(tmp_path):
    capture = load_capture(make_capture(tmp_path, frames=(5, 5)), metres_per_unit=2.0)
    assert capture.metres_per_unit == 2.0
    assert any("instead of 1" in note for note in capture.notes)


def test_calibration_given_by_name(tmp_path):
    (tmp_path / "capture").mkdir()
    capture = make_capture(tmp_path / "capture", frames=(5, 5))
    (capture / "calibration.json").rename(tmp_path / "elsewhere.json")
    assert "--calibration" in message_of(capture)
    assert load_capture(capture, calibration=tmp_path / "elsewhere.json").frame_count == 5


def test_intrinsics_are_rescaled_when_the_aspect_agrees(tmp_path):
    rig = small_rig("cam0", "cam1", size_px=(256, 192))
    capture = load_capture(make_capture(tmp_path, frames=(5, 5), rig=rig))
    assert capture.rig.cameras[0].size_px == SIZE_PX
    assert capture.rig.cameras[0].intrinsics[0, 0] == 60.0
    assert "camera cam0: scaled intrinsics 256x192 -> 128x96" in capture.notes


def test_another_aspect_is_an_error_that_says_both(tmp_path):
    text = message_of(make_capture(tmp_path, frames=(5, 5), rig=small_rig("cam0", "cam1", size_px=(200, 100))))
    assert "128x96" in text and "200x100" in text and "cam0.mp4" in text
