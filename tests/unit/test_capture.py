"""Small videos whose every frame says its camera and number in its pixels."""

import json
import pickle
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.captures import _CODECS, SIZE_PX, identity, make_capture, seen, small_rig, write_images, write_video

from handgen.errors import HandgenError
from handgen.io.calibration_files.handgen_json import save_calibration
from handgen.io.capture import synchronization
from handgen.io.capture.capture import load_capture
from handgen.media import video as video_module
from handgen.media.video import open_video


def message_of(path: Path, **options) -> str:
    with pytest.raises(HandgenError) as caught:
        load_capture(path, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


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


@pytest.mark.parametrize("suffix", _CODECS)
def test_truncated_videos(suffix, tmp_path):
    make_capture(tmp_path, frames=(200, 200), suffix=suffix)
    video = tmp_path / f"cam1{suffix}"
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    text = message_of(tmp_path)
    assert f"cam1{suffix}" in text and "truncated or damaged" in text


@pytest.mark.parametrize(("content", "expected"), [(b"", "empty"), (b"#EXTM3U\nhttp://x/y.ts\n", "cannot be opened")])
def test_files_that_are_no_videos(content, expected, tmp_path):
    make_capture(tmp_path, frames=(5, 5))
    (tmp_path / "cam1.mp4").write_bytes(content)
    text = message_of(tmp_path)
    assert expected in text and "cam1.mp4" in text


@pytest.mark.parametrize("claimed", [20, 31])
def test_frames_are_counted_and_not_read_from_the_header(claimed, tmp_path):
    path = write_video(tmp_path / "a.avi", 0, 30)
    content = bytearray(path.read_bytes())
    at = content.index(b"strh") + 8 + 32  # dwLength of the stream header
    assert int.from_bytes(content[at : at + 4], "little") == 30
    content[at : at + 4] = claimed.to_bytes(4, "little")
    path.write_bytes(bytes(content))
    video = open_video(path)
    assert video.header_frame_count == claimed
    assert video.frame_count == 30
    assert [identity(image) for image in video.images([0, 29])] == [(0, 0), (0, 29)]


class CarelessReader:
    """A decoder that lands some frames off when it seeks."""

    def __init__(self, reader: cv2.VideoCapture, miss: int):
        self.reader, self.miss = reader, miss

    def set(self, key: int, value: float) -> bool:
        return self.reader.set(key, value + self.miss)

    def __getattr__(self, name: str):
        return getattr(self.reader, name)


@pytest.mark.parametrize("miss", [-7, 9, 90, 10_000])
def test_inaccurate_seeking_is_noticed_and_repaired(miss, tmp_path, monkeypatch):
    video = open_video(write_video(tmp_path / "a.mp4", 0, 300))
    opened = video_module._open
    monkeypatch.setattr(video_module, "_open", lambda path: CarelessReader(opened(path), miss))
    assert [identity(image) for image in video.images([200, 203, 290])] == [(0, 200), (0, 203), (0, 290)]


def test_a_video_of_unknown_rate_is_read_from_the_start(tmp_path):
    video = replace(open_video(write_video(tmp_path / "a.mp4", 0, 300)), fps=None)
    assert [identity(image) for image in video.images([250])] == [(0, 250)]


def test_a_video_that_changes_under_us_is_named(tmp_path):
    video = open_video(write_video(tmp_path / "a.avi", 0, 40))
    write_video(tmp_path / "a.avi", 0, 20)
    with pytest.raises(HandgenError, match=r"a\.avi: decoding stopped at frame 20 of 40"):
        list(video.images(range(40)))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("parent", ["", "images"])
def test_image_folders(suffix, parent, tmp_path):
    for camera in (0, 1):
        write_images(tmp_path / parent / f"cam{camera}", camera, 12 - camera, f"image{{}}{suffix}")  # 2 sorts before 10
    save_calibration(tmp_path / "calibration.json", small_rig("cam0", "cam1"))
    capture = load_capture(tmp_path)
    assert capture.frame_count == 11 and capture.fps is None
    assert seen(capture, 1) == [((0, i), (1, i)) for i in range(1, 11)]


def test_bad_image_folders(tmp_path):
    for camera in (0, 1):
        write_images(tmp_path / f"cam{camera}", camera, 4)
    save_calibration(tmp_path / "calibration.json", small_rig("cam0", "cam1"))
    capture = load_capture(tmp_path)
    cv2.imwrite(str(tmp_path / "cam1" / "image2.png"), np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(HandgenError, match=r"image2\.png: 10x10"):
        list(capture.read())
    (tmp_path / "cam1" / "image1.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(HandgenError, match=r"image1\.png"):
        list(capture.read())


def test_videos_in_a_sub_folder(tmp_path):
    make_capture(tmp_path, frames=(5, 5))
    (tmp_path / "videos").mkdir()
    for name in ("cam0.mp4", "cam1.mp4"):
        (tmp_path / name).rename(tmp_path / "videos" / name)
    assert load_capture(tmp_path).frame_count == 5


def test_no_videos_at_all(tmp_path):
    save_calibration(tmp_path / "calibration.json", small_rig("cam0", "cam1"))
    assert "no videos" in message_of(tmp_path)
    assert "no such folder" in message_of(tmp_path / "gone")


def test_own_output_inside_the_capture_is_no_camera(tmp_path):
    for camera in (0, 1):
        write_images(tmp_path / f"cam{camera}", camera, 3)
    write_images(tmp_path / "annotations", 0, 3)
    (tmp_path / "annotations" / "manifest.json").write_text("{}")
    save_calibration(tmp_path / "calibration.json", small_rig("cam0", "cam1"))
    assert load_capture(tmp_path).rig.names == ("cam0", "cam1")


@pytest.mark.captures
def test_real_captures_seek_exactly(captures):
    for name, count in (("desk_two_views", 378), ("room_four_views", 111)):
        capture = load_capture(captures / name, metres_per_unit="auto")
        assert capture.frame_count == count
        whole = [[zlib.crc32(image) for image in images] for images in capture.read()]
        for start in range(3, count, 37):
            assert [zlib.crc32(image) for image in next(capture.read(start, start + 1))] == whole[start]


@pytest.mark.captures
def test_timestamps_of_the_real_room_agree_with_the_index(captures, tmp_path):
    for file in (captures / "room_four_views").iterdir():
        (tmp_path / file.name).symlink_to(file)
    document = {"format_version": 1, "timestamps": {"file": "timestamps.csv"}}
    (tmp_path / "capture.json").write_text(json.dumps(document))
    capture = load_capture(tmp_path)
    assert (capture.source_frames == np.arange(111)[:, None]).all()
    document["timestamps"]["tolerance_s"] = 0.02
    (tmp_path / "capture.json").write_text(json.dumps(document))
    assert 0 < (load_capture(tmp_path).source_frames < 0).sum() < 60
