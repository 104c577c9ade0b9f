"""Videos that are damaged, careless or of unknown rate, folders of pictures, and the real captures."""

import json
import zlib
from dataclasses import replace

import cv2
import numpy as np
import pytest
from support.captures import (
    _CODECS,
    identity,
    make_capture,
    message_of,
    seen,
    small_rig,
    write_images,
    write_video,
)

from handgen.errors import HandgenError
from handgen.io.calibration_files.handgen_json import save_calibration
from handgen.io.capture.capture import load_capture
from handgen.media import video as video_module
from handgen.media.video import open_video


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
