"""Videos that hold more or fewer frames than their headers say."""

import os
import re
import sys
from dataclasses import replace

import av
import numpy as np
import pytest
from support.captures import identity, rotate_video, trim_video, write_timed_video, write_video

from handgen.errors import HandgenError
from handgen.media import video
from handgen.media.video import open_video
from handgen.storage import limits

FRAMES = 200


@pytest.fixture
def whole(tmp_path):
    return write_timed_video(tmp_path / "whole.mp4", 0, range(FRAMES), [i * 1000 / 30 for i in range(FRAMES)])


@pytest.mark.parametrize("suffix", [".mp4", ".MOV"])
def test_a_video_trimmed_by_an_edit_list_has_its_frames(suffix, whole, tmp_path):
    trimmed = trim_video(whole, tmp_path / "trimmed.mp4", 14 / 30)
    trimmed = trimmed.rename(tmp_path / f"trimmed{suffix}")
    video = open_video(trimmed)
    assert video.header_frame_count == FRAMES and video.frame_count == FRAMES - 14
    wanted = [0, 1, 90, 160, 185]
    assert [identity(image)[1] for image in video.images(wanted)] == [14 + i for i in wanted]


@pytest.mark.parametrize("start_s", [0, 14 / 30])
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_a_video_that_breaks_off_is_an_error_trimmed_or_not(start_s, kept, whole, tmp_path):
    path = trim_video(whole, tmp_path / "trimmed.mp4", start_s) if start_s else whole
    path = index_in_front(path, tmp_path / "fast.mp4")  # else what is broken off could not be opened at all
    assert open_video(path).frame_count == FRAMES - round(start_s * 30)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(HandgenError, match=re.escape("fast.mp4: decoding stopped at frame")):
        open_video(path)


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile pipe\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\npipe\n#EXT-X-ENDLIST\n",
        "v=0\nm=video 5004 RTP/AVP 96\n",
        "<?xml version='1.0'?><MPD/>",
    ],
)
@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_a_list_of_files_is_no_video(text, suffix, tmp_path):
    """FFmpeg would read what the list names, and wait for a pipe."""
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / f"list{suffix}"
    path.write_text(text)
    with pytest.raises(HandgenError, match="being no MP4, MOV, AVI, MKV or WebM"):
        open_video(path)


def test_a_raw_stream_is_read_as_before(tmp_path):
    """Cameras of single-board computers write one and call it .mp4; it names no other file."""
    path = tmp_path / "raw.mp4"
    with av.open(str(path), "w", format="h264") as file:
        stream = file.add_stream("libx264", rate=30, width=96, height=72, pix_fmt="yuv420p")
        for shade in range(12):
            frame = av.VideoFrame.from_ndarray(np.full((72, 96, 3), 20 * shade, np.uint8))
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    assert path.read_bytes()[:3] in (b"\0\0\1", b"\0\0\0")
    assert open_video(path).frame_count == 12


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems take no such names")
def test_a_name_that_is_not_utf_8_is_refused(whole, tmp_path):
    path = whole.rename(tmp_path / "\udcff.mp4")
    with pytest.raises(HandgenError, match="a name that is not UTF-8; rename it"):
        open_video(path)


def test_a_video_of_few_bytes_must_not_have_frames_without_end(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", 0, 30, (96, 72))
    assert open_video(path).frame_count == 30
    monkeypatch.setattr(limits, "VIDEO_FRAMES", replace(limits.VIDEO_FRAMES, amount=29 * 96 * 72 * 3))
    os.utime(path, (1, 1))  # what was read is remembered
    assert open_video(path).frame_count == 30  # it has bytes enough
    monkeypatch.setattr(video, "_DECODED_PER_BYTE", 1)
    os.utime(path, (2, 2))
    with pytest.raises(HandgenError, match=r"too many for \d+ bytes.*HANDGEN_MAX_FILE_MIB"):
        open_video(path)


def index_in_front(path, target):
    """Put the index (moov) of an mp4 before its pictures (mdat): their places in the file move by its length."""
    content = path.read_bytes()
    at = content.index(b"moov") - 4
    moov = bytearray(content[at:])
    table = moov.index(b"stco") + 8
    count = int.from_bytes(moov[table : table + 4], "big")
    for i in range(count):
        place = table + 4 + 4 * i
        moov[place : place + 4] = (int.from_bytes(moov[place : place + 4], "big") + len(moov)).to_bytes(4, "big")
    first = content.index(b"mdat") - 4
    first = first - 8 if content[first - 4 : first] == b"free" else first
    target.write_bytes(content[:first] + bytes(moov) + content[first:at])
    return target


def test_a_rotation_tag_turns_the_pictures_and_is_kept(tmp_path):
    path = write_video(tmp_path / "a.mp4", 0, 3)
    assert open_video(path).rotation_deg == 0
    video = open_video(rotate_video(path))
    assert video.rotation_deg == 90 and video.size_px == (96, 128)
    assert next(video.images([0])).shape == (128, 96, 3)
