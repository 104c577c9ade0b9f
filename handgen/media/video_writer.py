"""Write H.264 videos piece by piece, so that pieces can be made by different processes and in any order.

A piece is a raw H.264 stream of whole frames that begins with a key frame and has no B-frames; a video is its pieces'
packets one after the other in an MP4. Encoding runs on one thread, so equal frames give equal bytes.

x264's macroblock tree is left out where the width is no multiple of 128: its vector code takes eight macroblocks of 16
pixels at once, and at the end of a row reads memory that nobody wrote; then equal frames give other bytes now and then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np

from handgen.errors import HandgenError
from handgen.media.arrays import Image

_ENCODER = "libx264"
_WHOLE_VECTORS_PX = 128  # eight macroblocks, as the AVX2 routine takes them
_MAX_DENOMINATOR = 1001 * 1000


class PieceWriter:
    """Encodes frames into one piece: `write(image)` for each, within `piece_writer`."""

    def __init__(self, stream: av.VideoStream, container: av.container.OutputContainer) -> None:
        self._stream, self._container, self._count = stream, container, 0

    def write(self, image: Image) -> None:
        """Add an RGB frame."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame.pts = self._count
        self._count += 1
        self._container.mux(self._stream.encode(frame))


@contextmanager
def piece_writer(path: Path, size_px: tuple[int, int], fps: float, crf: int) -> Iterator[PieceWriter]:
    """Open a writer of the piece `path`, which appears under its name only when complete.

    size_px: width and height, both even. crf: x264's constant rate factor, 0 to 51, lower is better.
    Raises HandgenError where PyAV has no H.264 encoder.
    """
    partial = path.with_name(path.name + ".partial")
    with av.open(str(partial), "w", format="h264") as container:
        try:
            options = {"crf": str(crf), "preset": "fast", "threads": "1"}
            if size_px[0] % _WHOLE_VECTORS_PX:
                options["x264-params"] = "mbtree=0"
            stream = cast(av.VideoStream, container.add_stream(_ENCODER, rate=_rate(fps), options=options))
        except av.codec.codec.UnknownCodecError:
            raise HandgenError(f"PyAV {av.__version__} has no {_ENCODER} encoder; write images instead") from None
        stream.width, stream.height = size_px
        stream.pix_fmt = "yuv420p"
        stream.codec_context.max_b_frames = 0
        stream.codec_context.thread_count = 1
        yield PieceWriter(stream, container)
        container.mux(stream.encode(None))  # what the encoder still holds
    partial.replace(path)


def join_pieces(pieces: Sequence[Path], path: Path, fps: float) -> None:
    """Put pieces in a row into the MP4 `path`, without encoding anything again."""
    partial = path.with_name(path.name + ".partial")
    with av.open(str(partial), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream: av.VideoStream | None = None
        index = 0
        for piece in pieces:
            with av.open(str(piece), format="h264") as source:
                found = source.streams.video[0]
                if stream is None:
                    stream = container.add_stream_from_template(found)
                    stream.time_base = 1 / _rate(fps)
                for packet in source.demux(found):
                    if not packet.size:  # the one that ends a stream
                        continue
                    packet.stream = stream
                    packet.time_base = 1 / _rate(fps)
                    packet.pts = packet.dts = index
                    packet.duration = 1
                    container.mux(packet)
                    index += 1
    partial.replace(path)


def _rate(fps: float) -> Fraction:
    return Fraction(fps).limit_denominator(_MAX_DENOMINATOR)
