"""Mutations of pictures and videos: their chunks, segments, boxes and tags."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from support.hostile_files import zeros_deflated

from fuzzing.byte_mutations import flip, mutate_bytes, overwrite
from fuzzing.files import choose, shuffled

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SIDES = (0, 1, 2, 65_535, 10_000, 40_000, 2**31 - 1, 2**31, 2**32 - 1)
Chunk = tuple[bytes, bytes]


def mutate_png(data: bytes, rng: np.random.Generator, gentle: bool) -> bytes:
    """Change chunks of a PNG; their check sums are right, so that a reader gets to them."""
    chunks = png_chunks(data)
    if not chunks:
        return mutate_bytes(data, rng)
    if gentle:
        more = choose(
            rng,
            (
                (b"tEXt", b"Comment\0hello"),
                (b"gAMA", struct.pack(">I", 45455)),
                (b"pHYs", bytes(9)),
                (b"tIME", b"\x07\xea\1\1\1\1\1"),
            ),
        )
        return png_of([chunks[0], more, *chunks[1:]]) + choose(rng, (b"", b"", b"more"))
    kind = rng.random()
    if kind < 0.15:
        return mutate_bytes(data, rng)
    if kind < 0.35:
        return png_of([(b"IHDR", _other_header(chunks[0][1], rng)), *chunks[1:]])
    if kind < 0.6:
        return png_of([chunks[0], *_bombs(rng), *chunks[1:]])
    at = int(rng.integers(len(chunks)))
    name, content = chunks[at]
    if kind < 0.7:
        chunks[at] = name, mutate_bytes(content, rng)
    elif kind < 0.77:
        del chunks[at]
    elif kind < 0.84:
        chunks[at:at] = [chunks[at]] * int(choose(rng, (1, 2, 100)))
    elif kind < 0.88:
        chunks = shuffled(rng, chunks)
    elif kind < 0.94:
        chunks[at:at] = [
            choose(
                rng,
                (
                    (b"PLTE", bytes(3 * 300)),
                    (b"tRNS", bytes(7)),
                    (b"acTL", b"\xff" * 8),
                    (b"fdAT", bytes(9)),
                    (b"eXIf", b"MM\0*\0\0\0\x08\xff\xff"),
                    (b"ABCD", b""),
                ),
            )
        ]
    else:
        pixels = b"".join(content for name, content in chunks if name == b"IDAT")
        chunks = [
            chunks[0],
            (b"IDAT", choose(rng, (pixels[: len(pixels) // 2], b"", zlib.compress(b""), pixels + pixels))),
            chunks[-1],
        ]
    return png_of(chunks)


def png_chunks(data: bytes) -> list[Chunk]:
    """Return the chunks of a PNG; none of what is no PNG."""
    chunks, at = [], len(_SIGNATURE)
    while data.startswith(_SIGNATURE) and at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def png_of(chunks: list[Chunk]) -> bytes:
    """Return the PNG of chunks."""
    framed = (struct.pack(">I", len(x)) + kind + x + struct.pack(">I", zlib.crc32(kind + x)) for kind, x in chunks)
    return _SIGNATURE + b"".join(framed)


def zlib_zeros(count: int) -> bytes:
    """Return a zlib stream of so many zeros. Its check sum is wrong, which shows at its end alone."""
    return b"\x78\xda" + zeros_deflated(count) + bytes(4)


def _bombs(rng: np.random.Generator) -> list[Chunk]:
    """Return chunks that unpack to far more than they are, or are many."""
    size = int(choose(rng, (2**20, 2**26, 2**30)))
    return choose(
        rng,
        (
            lambda: [(b"iCCP", b"name\0\0" + zlib_zeros(size))],
            lambda: [(b"zTXt", b"key\0\0" + zlib_zeros(size))],
            lambda: [(b"iTXt", b"key\0\1\0\0\0" + zlib_zeros(size))],
            lambda: [(b"tEXt", b"key%d\0" % i + b"x" * 1000) for i in range(3000)],
            lambda: [(b"tEXt", b"key\0" + b"x" * 3_000_000)],
            lambda: [(b"iCCP", b"name\0\0" + zlib.compress(b"no profile"))],
            lambda: [(b"zTXt", b"no end")],
        ),
    )()


def _other_header(header: bytes, rng: np.random.Generator) -> bytes:
    width, height, *rest = struct.unpack(">IIBBBBB", header)
    kind = int(rng.integers(3))
    if kind == 0:
        width, height = int(choose(rng, (*_SIDES, width))), int(choose(rng, (*_SIDES, height)))
    elif kind == 1:
        width, height = choose(rng, ((10_000, 10_000), (100_000_000, 1), (1, 100_000_000), (9_999, 9_999)))
        rest[0], rest[1] = int(choose(rng, (8, 16))), int(choose(rng, (0, 2, 3, 4, 6)))
    else:
        rest[int(rng.integers(5))] = int(choose(rng, (0, 1, 2, 3, 4, 6, 7, 8, 16, 255)))
    return struct.pack(">IIBBBBB", width, height, *rest)


def mutate_jpeg(data: bytes, rng: np.random.Generator, gentle: bool) -> bytes:
    """Change segments of a JPEG."""
    if gentle:
        comment = b"a comment" * int(rng.integers(1, 30))
        return (
            data[:2]
            + b"\xff\xfe"
            + struct.pack(">H", len(comment) + 2)
            + comment
            + data[2:]
            + choose(rng, (b"", b"more"))
        )
    segments, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        length = 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        segments.append(data[at : at + length])
        at += length
    kind = rng.random()
    if not segments or kind < 0.3:
        return mutate_bytes(data, rng, 2)
    place = int(rng.integers(len(segments)))
    if kind < 0.5:
        segments[place] = segments[place][:4] + mutate_bytes(segments[place][4:], rng)
    elif kind < 0.6:
        del segments[place]
    elif kind < 0.7:
        segments[place:place] = [segments[place]] * int(choose(rng, (1, 3, 200)))
    elif kind < 0.85:
        for number, segment in enumerate(segments):
            if segment[1] in (0xC0, 0xC1, 0xC2):
                size = struct.pack(
                    ">HH", int(choose(rng, (0, 1, 65_535, 9_999))), int(choose(rng, (0, 1, 65_535, 9_999)))
                )
                segments[number] = segment[:5] + size + segment[9:]
    else:
        exif = b"Exif\0\0" + choose(
            rng,
            (
                b"",
                b"MM\0*\0\0\0\x08\xff\xff" + bytes(20),
                b"II*\0\x08\0\0\0\1\0\x12\1\3\0\xff\xff\xff\xff\6\0",
                b"II*\0\xff\xff\xff\xff",
            ),
        )
        segments[0:0] = [b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif]
    return data[:2] + b"".join(segments) + data[at:]


def mutate_tagged(data: bytes, rng: np.random.Generator, gentle: bool) -> bytes:
    """Change a TIFF or WebP: numbers in its head and its tail, where tags are; gently: bytes at its very end."""
    if gentle:
        return data + rng.integers(0, 256, int(rng.integers(0, 9)), np.uint8).tobytes()
    if rng.random() < 0.5:
        return mutate_bytes(data, rng)
    tail = len(data) * int(rng.integers(2))
    part = data[-400:] if tail else data[:400]
    changed = overwrite(part, rng) if rng.random() < 0.6 else flip(part, rng)
    return data[: len(data) - len(part)] + changed if tail else changed + data[len(part) :]


def mutate_video(data: bytes, rng: np.random.Generator, gentle: bool) -> bytes:
    """Change a video; gently: a few bits of its frames, or bytes at its end."""
    if gentle:
        if rng.random() < 0.5 and len(data) > 2000:
            return data + rng.integers(0, 256, int(rng.integers(0, 40)), np.uint8).tobytes()
        changed = bytearray(data)
        changed[int(rng.integers(len(data) // 2, len(data) * 3 // 4))] ^= 1 << int(rng.integers(8))
        return bytes(changed)
    boxes = _boxes(data)
    if rng.random() < 0.6 or not boxes:
        return mutate_bytes(data, rng)
    at, length = choose(rng, boxes)
    kind = int(rng.integers(4))
    if kind == 0:
        return data[:at] + data[at + length :]
    if kind == 1:
        return data[: at + length] + data[at : at + length] + data[at + length :]
    if kind == 2:
        size = struct.pack(">I", int(choose(rng, (0, 1, 7, 8, length + 1, 2**31, 2**32 - 1))))
        return data[:at] + size + data[at + 4 :]
    return data[: at + 8] + mutate_bytes(data[at + 8 : at + length], rng) + data[at + length :]


def _boxes(data: bytes, start: int = 0, stop: int | None = None) -> list[tuple[int, int]]:
    """Find the boxes of an MP4, and those inside of them, as places and lengths."""
    found, at, stop = [], start, len(data) if stop is None else stop
    while at + 8 <= stop:
        length, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if length < 8 or at + length > stop or not name.isalnum():
            break
        found.append((at, length))
        if name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts"):
            found += _boxes(data, at + 8, at + length)
        at += length
    return found
