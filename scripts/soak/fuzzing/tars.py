"""Mutations of tar archives."""

from __future__ import annotations

import copy
import io
import tarfile
from collections.abc import Callable

import numpy as np

from fuzzing import hostile_values
from fuzzing.byte_mutations import mutate_bytes
from fuzzing.files import chance, choose, shuffled

Member = tuple[tarfile.TarInfo, bytes]
MutateContent = Callable[[str, bytes, np.random.Generator, bool], bytes]
_TYPES = (
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.CHRTYPE,
    tarfile.FIFOTYPE,
    tarfile.DIRTYPE,
    tarfile.GNUTYPE_SPARSE,
    b"Z",
)
_HUGE = 2_500_000_000
_PAX = (
    {"size": "-1"},
    {"size": "99999999999999999999"},
    {"size": "1"},
    {"mtime": "nan"},
    {"mtime": "1e999"},
    {"path": "../../out"},
    {"path": "a\x00b"},
    {"hdrcharset": "x"},
    {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(_HUGE), "GNU.sparse.name": "x.jpg"},
    {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(_HUGE)},
    {"GNU.sparse.map": "0,-1,x", "GNU.sparse.size": "10"},
    {"GNU.sparse.size": str(_HUGE)},
)


def mutate_tar(data: bytes, rng: np.random.Generator, gentle: bool, mutate_content: MutateContent) -> bytes:
    """Change members, their headers, their order, or bytes. mutate_content: of a member, by its name."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            members = [(info, tar.extractfile(info).read()) for info in tar if info.isfile()]  # type: ignore[union-attr]
    except Exception:
        return mutate_bytes(data, rng)
    kind = rng.random()
    if not members or (not gentle and kind < 0.15):
        return mutate_bytes(data, rng)
    if gentle:
        return _rewritten_gently(members, rng, mutate_content)
    at = int(rng.integers(len(members)))
    info, content = members[at]
    if kind < 0.55:
        members[at] = info, mutate_content(info.name, content, rng, False)
        return _written(members)
    if kind < 0.65:
        return _other_header(members, at, rng)
    if kind < 0.75:
        members[at] = _renamed(info, rng), content
    elif kind < 0.8:
        del members[at]
    elif kind < 0.85:
        members = members[:at] + [members[at]] * int(choose(rng, (2, 3, 50))) + members[at + 1 :]
    elif kind < 0.88:
        members = shuffled(rng, members)
    elif kind < 0.92:
        stem, count = info.name.partition(".")[0], int(choose(rng, (10, 300, 3000)))
        members[at + 1 : at + 1] = [(_named(info, f"{stem}.m{i}"), b"x") for i in range(count)]
    elif kind < 0.94:
        return _sparse_group(info, int(choose(rng, (1, 8, 40))))
    else:
        return _written(members)[: int(rng.integers(512, len(data)))]
    return _written(members)


def _rewritten_gently(members: list[Member], rng: np.random.Generator, mutate_content: MutateContent) -> bytes:
    kind = rng.random()
    if kind < 0.5:
        at = int(rng.integers(len(members)))
        members[at] = members[at][0], mutate_content(members[at][0].name, members[at][1], rng, True)
    elif kind < 0.7:
        for info, _ in members:
            info.mtime, info.uid, info.uname = int(rng.integers(2**31)), 1000, "somebody"
    elif kind < 0.8:
        info = members[-1][0]
        members.append((_named(info, info.name.partition(".")[0] + ".unknown"), b"x"))
    return _written(members, int(choose(rng, (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT))))


def _named(info: tarfile.TarInfo, name: str) -> tarfile.TarInfo:
    changed = copy.copy(info)
    changed.name, changed.pax_headers = name, {}
    return changed


def _renamed(info: tarfile.TarInfo, rng: np.random.Generator) -> tarfile.TarInfo:
    stem, _, suffix = info.name.partition(".")
    strange = choose(rng, hostile_values.NAMES)
    names = (
        f"{strange}.{suffix}",
        f"{stem}.{strange}",
        strange,
        f"../../{info.name}",
        f"/{info.name}",
        "." + suffix,
        stem,
    )
    return _named(info, choose(rng, names))


def _written(members: list[Member], form: int = tarfile.PAX_FORMAT) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form, errors="surrogateescape") as tar:
        for info, content in members:
            info = copy.copy(info)
            info.size = len(content)
            try:
                tar.addfile(info, io.BytesIO(content))
            except (ValueError, UnicodeError):  # a name that this format cannot hold
                info.name = "named.bin"
                tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def _other_header(members: list[Member], at: int, rng: np.random.Generator) -> bytes:
    """Write one member with a header of another type, size or with strange extended headers."""
    info, content = copy.copy(members[at][0]), members[at][1]
    kind = int(rng.integers(3))
    info.size = len(content)
    if kind == 0:
        info.type, info.linkname = choose(rng, _TYPES), choose(rng, ("/etc/passwd", "../../x", info.name, "\x00"))
    elif kind == 1:
        info.size = int(choose(rng, (0, 1, len(content) + 1, 2**31, 2**33 - 1, 64 * 2**20 + 1, 60 * 2**20)))
    headers = {} if kind < 2 else dict(choose(rng, _PAX))
    after = _written(members[at + 1 :])
    before = _without_end(_written(members[:at])) if at else b""
    header = info.tobuf(tarfile.GNU_FORMAT, errors="surrogateescape")
    extended = tarfile.TarInfo.create_pax_global_header(headers) if headers and chance(rng, 0.3) else b""
    if headers and not extended:
        extended = tarfile.TarInfo._create_pax_generic_header(headers, tarfile.XHDTYPE, "utf-8")  # type: ignore[attr-defined]
    return before + extended + header + content + bytes(-len(content) % 512) + after


def _sparse_group(info: tarfile.TarInfo, count: int) -> bytes:
    """Write a sample whose members are sparse: no bytes in the file, 60 MB each when they are read."""
    blocks = b""
    for number in range(count):
        member = _named(info, f"sample.m{number}")
        member.size = 0
        size = str(60 * 2**20)
        headers = {"GNU.sparse.map": f"{size},0", "GNU.sparse.size": size, "GNU.sparse.numblocks": "1"}
        extended = tarfile.TarInfo._create_pax_generic_header(headers, tarfile.XHDTYPE, "utf-8")  # type: ignore[attr-defined]
        blocks += extended + member.tobuf(tarfile.GNU_FORMAT)
    return blocks + bytes(1024)


def _without_end(data: bytes) -> bytes:
    """Return an archive without the zeros at its end."""
    end = len(data)
    while end >= 512 and not any(data[end - 512 : end]):
        end -= 512
    return data[:end]
