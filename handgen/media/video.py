"""Read video files frame by frame; frame `i` is the same image however it is reached.

A video is scanned once: every frame is decoded (not converted) to learn how many there really are and the timestamp of
each, because headers lie, files get truncated and seeking by number goes wrong where the frame rate varies. The scan
also learns which frames are damaged (`handgen.media.video_damage`). Later a seek is believed only if the frame it lands
on has the timestamp that the scan saw; otherwise frames are counted.

FFmpeg comes twice: OpenCV's gives the pictures, PyAV's the scan, since it names damage. Where PyAV's scan leaves any
doubt about the frames, OpenCV's decides which there are, and when.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import av
import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from handgen.errors import HandgenError, explain_unreadable
from handgen.media.video_damage import SAME_MS, check_pixels, container_of, decode_all, open_container
from handgen.storage import limits

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")
_SEEK_FROM = 60  # frames ahead from which a seek is faster than decoding
_BACK_OFF = (0, 40, 400)  # frames to retreat when a seek lands too late
_MOST_STREAMS = 64  # of one file, to which the bound of pixels is given
_DECODED_PER_BYTE = 200_000  # of a file: twice what x264 makes of black frames, and a hundred times usual videos
_quiet = threading.Lock()  # OpenCV's log level is the process's
_DAMAGED = "the file is truncated or damaged; copy or record it again"


@dataclass(frozen=True)
class VideoFile:
    """A video as the scan found it. times_ms: (frames,), the timestamp of each frame that can be decoded.

    rotation_deg: clockwise, as a tag in the file asks for; images are turned by it, and `size_px` is theirs.
    damaged: which frames the decoder had to guess; None for none.
    """

    path: Path
    size_px: tuple[int, int]
    fps: float | None
    times_ms: Float[np.ndarray, " frames"]
    header_frame_count: int
    rotation_deg: int = 0
    damaged: Bool[np.ndarray, " frames"] | None = None

    @property
    def frame_count(self) -> int:
        """Number of frames that can be decoded."""
        return len(self.times_ms)

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the frames, which those of a video have not."""
        return ()

    def relocate(self, old: Path, new: Path) -> VideoFile:
        """Return the video with its file in folder `new` instead of `old`."""
        return replace(self, path=new / self.path.relative_to(old))

    def images(self, indices: Iterable[int]) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        """Yield the frames of these numbers (which must not decrease) as RGB, one in memory at a time."""
        reader = _open(self.path)
        position, image = -1, None
        try:
            for index in indices:
                if index < position or not 0 <= index < self.frame_count:
                    raise ValueError(f"{self.path}: frame {index} after {position} of {self.frame_count}")
                if index > position:
                    if index - position > _SEEK_FROM:
                        reader, position = self._seek(reader, index)
                    while position < index:
                        position += 1
                        if not reader.grab() or self._is_other_frame(reader, position):
                            where = f"frame {position} of {self.frame_count}"
                            raise HandgenError(f"{self.path}: decoding stopped at {where}; {_DAMAGED}")
                    image = self._retrieve(reader, position)
                assert image is not None
                yield image
        finally:
            reader.release()

    def _is_other_frame(self, reader: cv2.VideoCapture, position: int) -> bool:
        return abs(_timestamp_ms(reader) - self.times_ms[position]) > SAME_MS

    def _seek(self, reader: cv2.VideoCapture, index: int) -> tuple[cv2.VideoCapture, int]:
        """Return a reader whose last grabbed frame is known, not after `index` and, if possible, near it."""
        if self.fps and (np.diff(self.times_ms) > 2 * SAME_MS).all():
            for back in _BACK_OFF:
                at = index - back
                if at <= 0:
                    break
                reader.set(cv2.CAP_PROP_POS_FRAMES, round((self.times_ms[at] - self.times_ms[0]) * self.fps / 1e3))
                if not reader.grab():
                    continue
                landed = int(np.abs(self.times_ms - _timestamp_ms(reader)).argmin())
                if landed <= index and not self._is_other_frame(reader, landed):
                    return reader, landed
        reader.release()
        return _open(self.path), -1

    def _retrieve(self, reader: cv2.VideoCapture, position: int) -> UInt8[np.ndarray, "height width 3"]:
        ok, image = reader.retrieve()
        if not ok or image is None:
            raise HandgenError(f"{self.path}: frame {position} of {self.frame_count} cannot be decoded; {_DAMAGED}")
        if image.shape[1::-1] != self.size_px:
            here, first = (f"{width}x{height}" for width, height in (image.shape[1::-1], self.size_px))
            fact = f"frame {position} is {here} but the first is {first}"
            raise HandgenError(f"{self.path}: {fact}; record or convert it at one size")
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def open_video(path: Path) -> VideoFile:
    """Scan a video. Raises HandgenError if it cannot be opened, is truncated or has no frame.

    The result is remembered within the process for as long as the file does not change.
    """
    with explain_unreadable(path, "check the path of the video"):
        status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise HandgenError(f"{path}: a pipe or a device, and not a file; give the video's own file")
    if status.st_size == 0:
        raise HandgenError(f"{path}: the file is empty; copy or record it again")
    if any("\ud800" <= letter <= "\udfff" for letter in str(path.absolute())):  # of which OpenCV ends the process
        raise HandgenError(f"{path}: a name that is not UTF-8; rename it")
    return _scan(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _scan(path: Path, size: int, mtime_ns: int) -> VideoFile:
    container = container_of(path)
    if container is None:  # FFmpeg might take it for a list of files
        raise HandgenError(
            f"{path}: cannot be opened as a video, being no MP4, MOV, AVI, MKV or WebM; the file is damaged, or of "
            f"another kind: convert it (ffmpeg -i IN -c copy OUT.mp4), or copy or record it again"
        )
    _check_frame_size(path, container or None)
    frames = limits.VIDEO_FRAMES
    most_pixels = max(frames.allowed, _DECODED_PER_BYTE * size * frames.allowed // frames.amount) // 3
    reader = _open(path)
    try:
        header_count = round(reader.get(cv2.CAP_PROP_FRAME_COUNT))
        fps = float(reader.get(cv2.CAP_PROP_FPS))
        rotation = round(reader.get(cv2.CAP_PROP_ORIENTATION_META)) % 360
        fps = fps if np.isfinite(fps) and 0.1 <= fps <= 10_000 else 0.0
        ok, first = reader.retrieve() if reader.grab() else (False, None)
        if not ok or first is None:
            raise HandgenError(f"{path}: no frame can be decoded; {_DAMAGED}")
        size_px = (first.shape[1], first.shape[0])
        times, damaged = _scan_frames(path, reader, most_pixels)
    finally:
        reader.release()
    found = len(times)
    short = header_count - found > max(2, header_count // 100)
    if short and fps and path.suffix.lower() in (".mkv", ".webm"):  # these say a duration, not a count
        seconds = (times[-1] - times[0]) / 1e3 + 1 / fps
        short = seconds < 0.98 * header_count / fps
    if short and 0 < header_count < 2**31 and not _is_trimmed(path, header_count, times):
        raise HandgenError(f"{path}: decoding stopped at frame {found} of {header_count}; {_DAMAGED}")
    return VideoFile(path, size_px, fps or None, times, header_count, rotation, damaged if damaged.any() else None)


def _check_frame_size(path: Path, container: str | None) -> None:
    """Raise a HandgenError for frames of more pixels than allowed: FFmpeg is told so, and decodes none to know it.

    What cannot be opened is left to the reader's own error.
    """
    share = limits.PIXEL_COUNT
    options = [{"max_pixels": str(share.allowed)}] * _MOST_STREAMS
    try:
        with open_container(path, format=container, stream_options=options) as opened:
            # A stream of a codec that the damage has made unknown has no context.
            contexts = [one.codec_context for one in opened.streams.video if one.codec_context]
            sizes = [(context.width, context.height) for context in contexts]
    except (av.FFmpegError, OSError, ValueError):
        return
    for width, height in sizes:
        if width * height > share.allowed:
            what = f"frames of {width}x{height} pixels"
            share.refuse(width * height, f"{path}: {what} are more than the {share.in_words(share.allowed)} allowed")
    if sizes and not max(sizes)[0]:
        most = share.in_words(share.allowed)
        raise HandgenError(
            f"{path}: no frame can be decoded, or none of {most} and less; reduce it, set {share.budget.variable} "
            f"higher, or copy or record it again"
        )


def _scan_frames(
    path: Path, reader: cv2.VideoCapture, most_pixels: int
) -> tuple[Float[np.ndarray, " frames"], Bool[np.ndarray, " frames"]]:
    """Return the time of each frame, ms, and whether it is damaged. reader: has just grabbed the first one."""
    first_ms, decoded = _timestamp_ms(reader), decode_all(path, most_pixels)
    if decoded is not None and decoded.times_ms is not None and first_ms in decoded.times_ms[:1]:
        return decoded.times_ms, decoded.damaged
    read = [first_ms]
    pixels = int(reader.get(cv2.CAP_PROP_FRAME_WIDTH) * reader.get(cv2.CAP_PROP_FRAME_HEIGHT))
    while reader.grab():
        read.append(_timestamp_ms(reader))
        check_pixels(path, len(read) * pixels, most_pixels)
    times = np.array(read)
    return times, np.zeros(len(times), bool) if decoded is None else decoded.damaged_of(times)


def _is_trimmed(path: Path, header_count: int, times_ms: Float[np.ndarray, " frames"]) -> bool:
    """Tell whether an edit list leaves out the frames that were not decoded, as `ffmpeg -ss X -c copy` writes it.

    Then the track lasts less long than its frames, and what was decoded lasts as long as the track.
    """
    if path.suffix.lower() not in (".mp4", ".mov", ".m4v") or len(times_ms) < 2:
        return False
    try:
        with open_container(path, format="mov") as container:
            stream = container.streams.video[0]
            seconds = float((stream.duration or 0) * (stream.time_base or 0))
    except (av.FFmpegError, IndexError, OSError):
        return False
    lasts = (times_ms[-1] - times_ms[0]) / 1e3 * len(times_ms) / (len(times_ms) - 1)
    step = lasts / len(times_ms)
    return seconds < (header_count - 2) * step and lasts > seconds - max(2 * step, 0.01 * seconds)


def _timestamp_ms(reader: cv2.VideoCapture) -> float:
    """Return the timestamp of the frame grabbed last."""
    return float(reader.get(cv2.CAP_PROP_POS_MSEC))


def _open(path: Path) -> cv2.VideoCapture:
    # FFmpeg only, by absolute path: other backends read "%d" and "scheme:" in a file name as instructions.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # its complaints come as our errors
    with _quiet:
        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            reader = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
        except cv2.error:
            reader = None
        finally:
            cv2.utils.logging.setLogLevel(level)
    if reader is None or not reader.isOpened():
        raise HandgenError(f"{path}: cannot be opened as a video; {_DAMAGED}")
    return reader
