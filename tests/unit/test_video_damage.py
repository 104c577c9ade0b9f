"""Videos with wrong bytes inside: which frames are no evidence, and whole videos of which all frames are."""

import json
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from support.captures import make_capture, seen, small_rig, trim_video, write_video

from handgen.cli.main import main
from handgen.io.calibration_files.handgen_json import save_calibration
from handgen.io.capture.capture import load_capture
from handgen.media.video import _scan, open_video
from handgen.media.video_damage import decode_all

FRAMES, GROUP, SIZE_PX = 60, 20, (128, 96)
ENCODERS = {
    "libx264": "yuv420p",
    "libx265": "yuv420p",
    "mpeg4": "yuv420p",
    "mjpeg": "yuvj420p",
    "libvpx": "yuv420p",
    "libvpx-vp9": "yuv420p",
    "prores_ks": "yuv422p10le",
    "ffv1": "yuv420p",
}


def has_encoder(name: str) -> bool:
    try:
        av.Codec(name, "w")
    except ValueError:  # of codecs that PyAV's FFmpeg lacks
        return False
    return True


def write(path: Path, codec: str, options: dict[str, str] | None = None, times_ms=None) -> Path:
    """Write noisy frames, which need many bytes, with a key frame every `GROUP`."""
    if not has_encoder(codec):
        pytest.skip(f"this FFmpeg has no {codec}")
    rng = np.random.default_rng(0)
    base = cv2.GaussianBlur(rng.integers(0, 255, (*SIZE_PX[::-1], 3), dtype=np.uint8), (0, 0), 2)
    options = {"g": str(GROUP), "x265-params": f"log-level=none:keyint={GROUP}", "b": "800k"} | (options or {})
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = SIZE_PX
        stream.pix_fmt = ENCODERS[codec]
        for i in range(FRAMES):
            noise = rng.integers(-12, 13, base.shape)
            image = np.clip(np.roll(base, 3 * i, 1).astype(int) + noise, 0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            if times_ms is not None:
                frame.pts, frame.time_base = times_ms[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def damage(path: Path, target: Path, packet: int = 25) -> Path:
    """Copy a video with wrong bytes in the middle of a packet."""
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        codec = container.streams.video[0].codec_context.name
        packets = [p for p in container.demux(container.streams.video[0]) if p.size]
    found = packets[packet]
    first = 12 if codec == "hevc" else found.size // 3  # of HEVC little else than the header is checked
    for at in range(first, 2 * found.size // 3):
        content[found.pos + at] = 0 if at % 16 < 12 else at % 251
    target.write_bytes(bytes(content))
    return target


def by_opencv(path: Path) -> tuple[list[np.ndarray], list[float]]:
    reader, images, times = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), [], []
    while reader.grab():
        images.append(cv2.cvtColor(reader.retrieve()[1], cv2.COLOR_BGR2RGB))
        times.append(reader.get(cv2.CAP_PROP_POS_MSEC))
    return images, times


NAMES = [
    ("a.mp4", "libx264", {}),
    ("a.mkv", "libx264", {}),
    ("a.avi", "libx264", {}),
    ("open.mp4", "libx264", {"x264-params": "open-gop=1:bframes=3:b-pyramid=normal"}),
    ("low.mp4", "libx264", {"bf": "0"}),
    ("a.mp4", "libx265", {}),
    ("open.mp4", "libx265", {"x265-params": f"log-level=none:keyint={GROUP}:open-gop=1"}),
    ("a.mp4", "mpeg4", {}),
    ("a.avi", "mpeg4", {"bf": "2"}),
    ("a.avi", "mjpeg", {}),
    ("a.webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "10"}),
    ("a.webm", "libvpx-vp9", {}),
    ("a.mov", "prores_ks", {}),
    ("a.mkv", "ffv1", {}),
]


@pytest.mark.parametrize(("name", "codec", "options"), NAMES, ids=[f"{c}-{n}" for n, c, _ in NAMES])
def test_a_whole_video_has_no_damage_and_the_times_that_opencv_says(name, codec, options, tmp_path):
    path = write(tmp_path / name, codec, options)
    images, times = by_opencv(path)
    video = open_video(path)
    assert video.damaged is None
    np.testing.assert_array_equal(video.times_ms, times)
    for image, expected in zip(video.images(range(0, FRAMES, 7)), images[::7], strict=True):
        assert np.array_equal(image, expected)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv", ".webm"])
def test_videos_that_opencv_writes_have_no_damage(suffix, tmp_path):
    path = write_video(tmp_path / f"a{suffix}", 0, 40)
    assert open_video(path).damaged is None
    np.testing.assert_array_equal(open_video(path).times_ms, by_opencv(path)[1])


def test_a_trimmed_video_and_one_of_varying_rate_have_no_damage(tmp_path):
    whole = write(tmp_path / "whole.mp4", "libx264")
    assert open_video(trim_video(whole, tmp_path / "trimmed.mp4", 25 / 25)).damaged is None
    times_ms = np.cumsum(np.random.default_rng(1).integers(20, 60, FRAMES)).tolist()
    assert open_video(write(tmp_path / "varying.mkv", "libx264", times_ms=times_ms)).damaged is None


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("options", [{}, {"open-gop": "1"}])
def test_what_was_cut_off_before_the_first_key_frame_is_no_damage(codec, options, tmp_path):
    """Cut in the middle of a group: the frames up to the next key frame cannot be decoded."""
    more = ":open-gop=1" if options else ""
    whole = write(
        tmp_path / "whole.mkv",
        codec,
        {"x264-params": f"bframes=3{more}", "x265-params": f"log-level=none:keyint={GROUP}{more}"},
    )
    cut = tmp_path / "cut.mkv"
    with av.open(str(whole)) as source, av.open(str(cut), "w") as part:
        stream = source.streams.video[0]
        copy = part.add_stream_from_template(stream)
        kept = [packet for packet in source.demux(stream) if packet.size][GROUP - 2 :]
        start = kept[0].dts
        for packet in kept:
            packet.pts, packet.dts, packet.stream = packet.pts - start, packet.dts - start, copy
            part.mux(packet)
    decoded = decode_all(cut)
    assert decoded is not None and not decoded.damaged_of(np.array(by_opencv(cut)[1])).any()


CONCEALING = [entry for entry in NAMES if entry[1] in ("libx264", "libx265", "mpeg4", "mjpeg", "prores_ks")]


@pytest.mark.parametrize(("name", "codec", "options"), CONCEALING, ids=[f"{c}-{n}" for n, c, _ in CONCEALING])
def test_damage_is_found_up_to_the_next_key_frame_and_every_time_the_same(name, codec, options, tmp_path):
    """Not all is: some wrong bytes decode to wrong pictures, which nobody can tell, most often in HEVC."""
    path = write(tmp_path / name, codec, options)
    images, times = by_opencv(path)
    has_times, found = len(set(times)) == FRAMES, 0
    whole = dict(zip(times if has_times else range(FRAMES), images, strict=True))
    for packet in range(GROUP + 1, 2 * GROUP - 6, 2):
        damaged = damage(path, tmp_path / f"damaged_{packet}_{name}", packet)
        images, times = by_opencv(damaged)
        verdicts = []
        for _ in range(2):
            _scan.cache_clear()
            video = open_video(damaged)
            verdicts.append(np.zeros(len(times), bool) if video.damaged is None else video.damaged)
        np.testing.assert_array_equal(video.times_ms, times)
        assert np.array_equal(*verdicts)
        assert not verdicts[0][: GROUP - 3].any()
        assert codec == "libx265" or not verdicts[0][2 * GROUP + 3 :].any()  # whose groups are as long as it likes
        if verdicts[0].any():
            keys = times if has_times else range(FRAMES)
            changed = [not np.array_equal(image, whole[key]) for image, key in zip(images, keys, strict=True)]
            assert not (np.array(changed) & ~verdicts[0]).any()
            found += 1
    assert found >= 2


def damaged_capture(folder: Path) -> Path:
    """Two cameras, of which the second has a hole from frame 25 to the next key frame."""
    folder.mkdir()
    good = write(folder / "cam0.mp4", "mpeg4")
    damage(good, folder / "cam1.mp4")
    save_calibration(folder / "calibration.json", small_rig("cam0", "cam1", size_px=SIZE_PX))
    return folder


def test_a_damaged_frame_is_none_in_its_camera_wherever_reading_starts(tmp_path):
    capture = load_capture(damaged_capture(tmp_path / "capture"))
    missing = [i for i, images in enumerate(capture.read()) if images[1] is None]
    assert missing == list(range(25, 40))
    assert all(images[0] is not None for images in capture.read())
    for start in (24, 25, 30, 39, 40):
        assert (next(capture.read(start, start + 1))[1] is None) == (start in missing)
    (note,) = [note for note in capture.notes if "damaged" in note]
    assert note == (
        "camera cam1: 15 of 60 frames of cam1.mp4 are damaged, the first is 25; they are left out: copy or record the "
        "video again"
    )


def test_inspect_and_validate_name_the_damage(tmp_path):
    folder = damaged_capture(tmp_path / "capture")
    result = CliRunner().invoke(main, ["inspect", str(folder), "--json"])
    document = json.loads(result.stdout)
    assert [camera["frames_damaged"] for camera in document["cameras"]] == [0, 15]
    assert any("cam1: 15 of 60 frames" in note for note in document["notes"])
    result = CliRunner().invoke(main, ["validate", str(folder), "--json"])
    assert result.exit_code == 1
    (finding,) = [one for one in json.loads(result.stdout)["findings"] if one["kind"] == "damaged frames"]
    assert "the first is 25" in finding["what"]


def test_a_whole_capture_reads_as_before(tmp_path):
    capture = load_capture(make_capture(tmp_path))
    assert seen(capture) == [((0, i), (1, i)) for i in range(30)]
    assert not any("damaged" in note for note in capture.notes)
