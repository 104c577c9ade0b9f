"""Small captures of coloured frames."""

import json
import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from handgen.errors import HandgenError
from handgen.geometry.camera import Rig
from handgen.io.calibration_files.handgen_json import save_calibration
from handgen.io.capture.capture import Capture, load_capture
from support.cameras import look_at

SIZE_PX = (128, 96)


_CODECS = {".mp4": "mp4v", ".avi": "MJPG", ".webm": "VP80", ".mkv": "mp4v"}


BITS = 10


def numbered_image(camera: int, frame: int) -> np.ndarray:
    """BGR; blocks of black and white spell the frame number in binary, the corner's colour is the camera."""
    image = np.zeros((SIZE_PX[1], SIZE_PX[0], 3), np.uint8)
    for bit in range(BITS):
        if frame >> bit & 1:
            image[0:32, bit * 12 : (bit + 1) * 12] = 255
    image[40:, :, 2] = 40 + 40 * camera  # red
    return image


def write_video(path: Path, camera: int, frames: int, size_px=SIZE_PX, fps: float = 25.0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*_CODECS[path.suffix]), fps, size_px)
    assert writer.isOpened()
    for frame in range(frames):
        writer.write(cv2.resize(numbered_image(camera, frame), size_px))
    writer.release()
    return path


def small_rig(*names: str, size_px=SIZE_PX) -> Rig:
    angles = np.arange(len(names))
    return Rig(
        tuple(
            look_at(name, np.array([np.cos(a), 0.3, np.sin(a)]), np.zeros(3), focal=120.0, size_px=size_px)
            for name, a in zip(names, angles, strict=True)
        )
    )


def make_capture(folder: Path, frames=(30, 30), names=None, suffix=".mp4", settings=None, rig=None) -> Path:
    names = names or [f"cam{i}" for i in range(len(frames))]
    for camera, (name, count) in enumerate(zip(names, frames, strict=True)):
        write_video(folder / f"{name}{suffix}", camera, count)
    save_calibration(folder / "calibration.json", rig or small_rig(*names))
    if settings is not None:
        (folder / "capture.json").write_text(json.dumps({"format_version": 1, **settings}))
    return folder


def write_timed_video(path: Path, camera: int, frames, times_ms, size_px=SIZE_PX) -> Path:
    """Write the frames of these numbers at these times, as cameras that drop frames do."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast", "qp": "10"})
        stream.width, stream.height = size_px
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, 90_000)
        stream.codec_context.time_base = Fraction(1, 90_000)
        for number, time_ms in zip(frames, times_ms, strict=True):
            image = cv2.resize(numbered_image(camera, number), size_px)
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = round(time_ms * 90), Fraction(1, 90_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def trim_video(source: Path, target: Path, start_s: float) -> Path:
    """Copy a video's packets from the key frame before a time; an edit list leaves out what comes before it."""
    options = {"avoid_negative_ts": "disabled"}
    with av.open(str(source)) as whole, av.open(str(target), "w", options=options) as part:
        stream = whole.streams.video[0]
        copy, start = part.add_stream_from_template(stream), round(start_s / stream.time_base)
        whole.seek(start, stream=stream)
        for packet in whole.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - start, packet.dts - start, copy
                part.mux(packet)
    return target


def rotate_video(path: Path) -> Path:
    """Set the tag that makes players turn a video clockwise by 90 degrees (ISO 14496-12, tkhd)."""
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 2**16, 0, -(2**16), 0, 0, SIZE_PX[1] << 16, 0, 2**30)
    path.write_bytes(bytes(content))
    return path


def identity(image: np.ndarray) -> tuple[int, int]:
    """Camera and frame number that an RGB image says."""
    frame = sum(1 << bit for bit in range(BITS) if image[8:24, bit * 12 + 4 : bit * 12 + 8].mean() > 128)
    red, blue = image[60:, :, 0].mean(), image[60:, :, 2].mean()
    assert blue < 30  # RGB, not BGR
    return round((red - 40) / 40), frame


def seen(capture: Capture, start: int = 0, stop: int | None = None) -> list[tuple]:
    """Camera and frame number of every image, moment by moment."""
    return [
        tuple(None if image is None else identity(image) for image in images) for images in capture.read(start, stop)
    ]


def write_images(folder: Path, camera: int, frames, name: str = "image{}.png") -> None:
    """Write pictures of the frames of these numbers; a name says where the number is."""
    folder.mkdir(parents=True, exist_ok=True)
    for frame in range(frames) if isinstance(frames, int) else frames:
        cv2.imwrite(str(folder / name.format(frame)), numbered_image(camera, frame))


def message_of(path: Path, **options) -> str:
    with pytest.raises(HandgenError) as caught:
        load_capture(path, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text
