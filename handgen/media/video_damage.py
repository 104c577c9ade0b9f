"""Find frames of a video that the decoder had to guess, because bytes of them are missing or wrong.

A decoder conceals damage: it fills a hole with what was there before, and every frame up to the next key frame is
predicted from that. So a frame is damaged from the first error on until a key frame decodes without one. What a stream
holds before its first key frame was cut off and is not damage.

FFmpeg marks concealed frames of most codecs. HEVC and MJPEG only say it when asked to stop at errors (`explode`). Of
codecs without redundancy (VP8, VP9, HEVC to a part) wrong bytes often decode to wrong pixels, which nobody can tell.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.stream import VideoStream
from jaxtyping import Bool, Float, Int

from handgen.errors import HandgenError
from handgen.storage import filesystem, limits

Times = Float[np.ndarray, " frames"]
Ticks = Int[np.ndarray, " frames"]

# The container is told by its first bytes: other formats of FFmpeg are lists of files, which a video must not name.
_ATOMS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"uuid", b"styp")
_FORMATS = (*((4, atom, "mov") for atom in _ATOMS), (0, b"\x1aE\xdf\xa3", "matroska"), (0, b"RIFF", "avi"))
_OTHERS = (
    (0, b"\0\0\1"),
    (0, b"\0\0\0\1"),
    (0, b"\x47"),
    (4, b"\x47"),
    (0, b"OggS"),
    (0, b"FLV"),
    (0, b"\x30\x26\xb2\x75"),
)
_HEAD_BYTES = 12
_STOPS_AT_ERRORS = ("hevc", "mjpeg")
_HABIT = 0.5  # share of packets; if more have errors, that is how the encoder writes
SAME_MS = 0.05  # by which two decoders' times of a frame may differ


@dataclass(frozen=True)
class DecodedVideo:
    """Result of decoding all of a video. times_ms: of its frames; None where another decoder must say them.

    damaged_ms: rising times, counted from the first frame, of what is damaged, also of what is no frame; None where the
    file's times are no help. Then `damaged` tells it of each frame, in the order in which they are shown.
    """

    times_ms: Times | None
    damaged: Bool[np.ndarray, " frames"]
    damaged_ms: Times | None = None

    def damaged_of(self, times_ms: Times) -> Bool[np.ndarray, " others"]:
        """Tell which frames are damaged of those that another decoder found at these times."""
        found = np.zeros(len(times_ms), bool)
        if self.damaged_ms is None:
            count = min(len(found), len(self.damaged))
            found[:count] = self.damaged[:count]
        elif len(self.damaged_ms):
            since_ms = times_ms - times_ms[0]
            at = np.searchsorted(self.damaged_ms, since_ms - SAME_MS).clip(0, len(self.damaged_ms) - 1)
            found = np.abs(self.damaged_ms[at] - since_ms) <= SAME_MS
        return found


def decode_all(path: Path, most_pixels: float = math.inf) -> DecodedVideo | None:
    """Decode every frame of a video; None if the container is none that is looked into.

    Raises HandgenError for more pixels in all frames than `most_pixels`.
    """
    av.logging.set_libav_level(av.logging.PANIC)  # else its complaints go to standard error, one per macroblock
    try:
        found = _decode(path, most_pixels, threads=True)
        if found is not None and found.has_errors and found.threads:  # threads report an error at a later packet
            found = _decode(path, most_pixels, threads=False)
    except (av.FFmpegError, OSError, IndexError):
        return None
    return None if found is None else found.result()


@dataclass
class _Decoding:
    """Packets in the order of the file, and frames in that of display; times in ticks of the stream."""

    start: int
    seconds_per_tick: float
    threads: bool
    packet_times: list[int | None] = field(default_factory=list)
    frame_times: list[int | None] = field(default_factory=list)
    is_key: list[bool] = field(default_factory=list)  # of frames
    concealed: list[int] = field(default_factory=list)  # frames
    failed: list[tuple[int, int]] = field(default_factory=list)  # packets, and how many frames there were before
    begins_with_key: bool = True
    has_times: bool = True  # whether the container says when frames are shown, and not only in which order they come

    @property
    def has_errors(self) -> bool:
        """Tell whether a packet could not be decoded, or not all of it."""
        return bool(self.concealed or self.failed)

    def result(self) -> DecodedVideo:
        """Return the frames' times, if every packet is a frame without error, or which frames are damaged."""
        count, packets = len(self.frame_times), len(self.packet_times)
        nothing = np.zeros(count, bool)
        rises = None not in self.frame_times and bool((np.diff(np.array(self.frame_times, float)) > 0).all())
        known = rises and None not in self.packet_times and len(set(self.packet_times)) == packets
        if not self.has_errors or len(self.failed) > _HABIT * packets:
            complete = known and self.has_times and count == packets and not self.has_errors
            return DecodedVideo(self._in_ms(self.frame_times) if complete else None, nothing)
        if not known:
            return DecodedVideo(None, self._damaged_between_keys())
        damaged = self._damaged_times()
        first = min([*self.frame_times[:1], *damaged[:1].tolist()], default=0)
        return DecodedVideo(None, nothing, self._in_ms(damaged) - self._in_ms([first]))

    def _in_ms(self, times: Sequence[int | None] | Ticks) -> Times:
        """Return milliseconds as OpenCV computes them, to the last bit."""
        return (np.array(times, np.int64) - self.start).astype(float) * self.seconds_per_tick * 1e3

    def _damaged_times(self) -> Ticks:
        """Return the times of packets with errors and of those that are predicted from them."""
        times = np.array(self.packet_times, np.int64)
        frame_times = np.array(self.frame_times, np.int64)
        broken = np.isin(times, frame_times[self.concealed])
        broken[[packet for packet, _ in self.failed]] = True
        is_key = np.isin(times, frame_times[np.array(self.is_key, bool)])
        begin = 0 if self.begins_with_key or not is_key.any() else int(is_key.argmax())
        broken[:begin] = False
        if begin:  # shown before the first key frame, and predicted from what was cut off
            broken[begin:] &= times[begin:] >= times[begin]
        keys = [*np.flatnonzero(is_key & ~broken).tolist(), len(times)]
        damaged, end = np.zeros(len(times), bool), 0
        for first in np.flatnonzero(broken).tolist():
            if first < end:
                continue
            at = bisect_right(keys, first)
            end = keys[at]
            damaged[first:end] = True
            if at + 1 < len(keys):  # what is shown before that key frame is predicted from the frames before it, too
                after = slice(end, keys[at + 1])
                damaged[after] |= times[after] < times[end]
        return np.sort(times[damaged])

    def _damaged_between_keys(self) -> Bool[np.ndarray, " frames"]:
        """Frames from the key frame before an error to the next one: their order in the file is not known."""
        damaged = np.zeros(len(self.frame_times), bool)
        keys = [i for i, key in enumerate(self.is_key) if key]
        for i in [*self.concealed, *(before for _, before in self.failed)]:
            if keys and i >= keys[0]:
                first = max(key for key in keys if key <= i)
                damaged[first : next((key for key in keys if key > i), len(damaged))] = True
        return damaged


def container_of(path: Path) -> str | None:
    """Name the container of a video as FFmpeg does; "" for another one that holds its frames itself, None for none."""
    with filesystem.open_read(path) as file:
        head = file.read(_HEAD_BYTES)
    for at, magic, name in (*_FORMATS, *((at, magic, "") for at, magic in _OTHERS)):
        if head[at : at + len(magic)] == magic:
            return name
    return None


def open_container(path: Path, **options: Any) -> av.container.InputContainer:
    """Open a video by PyAV; options: as of `av.open`. Texts in it that are no UTF-8 say nothing of its frames."""
    return av.open(str(path.absolute()), metadata_errors="replace", **options)


def check_pixels(path: Path, pixels: int, most: float) -> None:
    """Raise a HandgenError for a video of more pixels in all its frames than `most`: its frames are next to nothing."""
    if pixels > most:
        budget = limits.VIDEO_FRAMES.budget
        raise HandgenError(
            f"{path}: its frames have more than {most / 1e9:.3g} gigapixels, too many for {path.stat().st_size} bytes; "
            f"is it a video? (the budget of {budget.name}: if you trust it, a higher {budget.variable} allows more, in "
            f"proportion; it is {budget.allowed // budget.scale} now)"
        )


def _decode(path: Path, most_pixels: float, threads: bool) -> _Decoding | None:
    name = container_of(path)
    if not name:
        return None
    with open_container(path, format=name) as container:
        stream = container.streams.video[0]
        if stream.codec_context is None:  # of a codec that the damage has made unknown
            return None
        tick = stream.time_base or Fraction(0)
        threads = threads and _may_use_threads(stream)
        found = _Decoding(stream.start_time or 0, tick.numerator / tick.denominator, threads)
        stream.thread_type = "AUTO" if threads else "NONE"
        if stream.codec_context.name in _STOPS_AT_ERRORS:
            stream.codec_context.options = {"err_detect": "explode"}
        pixels = 0
        for packet in container.demux(stream):
            if packet.size:
                found.begins_with_key &= bool(found.packet_times) or packet.is_keyframe
                found.packet_times.append(packet.dts if packet.pts is None else packet.pts)
            try:
                frames = packet.decode()
            except av.FFmpegError:
                found.failed.append((len(found.packet_times) - 1, len(found.frame_times)))
                continue
            for frame in frames:
                pixels += frame.width * frame.height
                check_pixels(path, pixels, most_pixels)
                if frame.is_corrupt:
                    found.concealed.append(len(found.frame_times))
                found.frame_times.append(frame.pts)
                found.is_key.append(bool(frame.key_frame))
        found.has_times = name != "avi" or not stream.codec_context.has_b_frames
    return found


def _may_use_threads(stream: VideoStream) -> bool:
    """Tell whether the decoder's threads report every error.

    Where H.264 frames are shown in another order than they are decoded, one may be given out before the thread that
    decodes it has met its error.
    """
    return stream.codec_context.name != "h264" or not stream.codec_context.has_b_frames
