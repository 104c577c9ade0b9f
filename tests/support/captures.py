"""Small captures of coloured frames."""

import json
from pathlib import Path

import cv2
import numpy as np

# from support import SIZE_PX, make_capture, small_rig, write_video
from handgen.geometry.camera import Rig
from handgen.io.calibration_files.handgen_json import save_calibration
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
