"""One case of a reader: a set of files, of which something was changed."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from fnmatch import fnmatch

import numpy as np

from fuzzing import hostile_values
from fuzzing.archives import mutate_npy, mutate_zip
from fuzzing.byte_mutations import mutate_bytes
from fuzzing.documents import mutate_json, mutate_json_lines
from fuzzing.files import FileSet, Special, chance, choose
from fuzzing.pickled import mutate_pickle
from fuzzing.pictures import mutate_jpeg, mutate_png, mutate_tagged, mutate_video
from fuzzing.tars import mutate_tar
from fuzzing.texts import mutate_text

_FOLDER_SHARE = 0.1  # of the cases that are not gentle
_SEVERAL = 0.15
_TEXTS = {".toml": "toml", ".yml": "yaml", ".yaml": "yaml", ".csv": "csv", ".dat": "dat"}
_MUTATIONS = {
    ".json": mutate_json,
    ".jsonl": mutate_json_lines,
    ".npy": mutate_npy,
    ".npz": mutate_zip,
    **dict.fromkeys((".pkl", ".pickle", ".pyd"), mutate_pickle),
    ".png": mutate_png,
    **dict.fromkeys((".jpg", ".jpeg"), mutate_jpeg),
    **dict.fromkeys((".tif", ".tiff", ".webp", ".bmp", ".gif", ".ppm"), mutate_tagged),
    **dict.fromkeys((".mp4", ".avi", ".mkv", ".webm", ".mov"), mutate_video),
}
_EXR = b"\x76\x2f\x31\x01\x02\0\0\0channels\0chlist\0\x13\0\0\0R\0\2\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0\0"
_FOREIGN = (
    *(b"", b"\0", bytes(4096), b"\n" * 100, b"<!doctype html><html>", b"version https://git-lfs.github.com/spec/v1\n"),
    *(
        gzip.compress(b"{}", mtime=0),
        b"7z\xbc\xaf\x27\x1c",
        b"\x89HDF\r\n\x1a\n" + bytes(600),
        _EXR,
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
    ),
    *(
        b"GIF89a\xff\xff\xff\xff\0\0\0",
        b"BM" + b"\xff" * 60,
        b"P6 99999 99999 255\n",
        b"RIFF\xff\xff\xff\xffWEBPVP8X" + b"\xff" * 30,
    ),
    *(
        b"\xff\xd8\xff",
        b"PK\5\6" + bytes(18),
        b"\0\0\0\x0cjP  \r\n\x87\n",
        b"#!/bin/sh\ntouch ran\n",
        b"II*\0\x08\0\0\0\xff\xff",
        b"null",
        b"[]",
    ),
    *(
        b"{}",
        b"\x80\x04N.",
        b"cposix\nsystem\n(S'touch ran'\ntR.",
        b"a\n" * 100_000,
        b"\x93NUMPY\1\0\0\0",
        b"\x1aE\xdf\xa3",
    ),
)


def mutate_files(files: FileSet, focus: Sequence[str], gentle: float, rng: np.random.Generator) -> FileSet:
    """Return the files with one change, or a few. focus: patterns of those that are changed for the most part.

    gentle: share of cases in which the files stay what they are meant to be, so that a reader gets to their end.
    """
    changed = dict(files)
    if chance(rng, gentle):
        if chance(rng, 0.12):
            changed[_beside(changed, rng)] = choose(rng, (b"", b"notes", bytes(9)))
        else:
            _mutate_one(changed, focus, True, rng)
        return changed
    if chance(rng, _FOLDER_SHARE):
        _change_folder(changed, focus, rng)
        return changed
    mutated: set[str] = set()  # none twice: what is mutated is no seed any more, and is not to be unpickled
    for _ in range(1 if not chance(rng, _SEVERAL) else int(rng.integers(2, 4))):
        mutated.add(
            _mutate_one({name: c for name, c in changed.items() if name not in mutated}, focus, False, rng, changed)
        )
    return changed


def _mutate_one(
    files: FileSet, focus: Sequence[str], gentle: bool, rng: np.random.Generator, into: FileSet | None = None
) -> str:
    name = _choose_file(files, focus, rng)
    content = files.get(name)
    if isinstance(content, bytes):
        (files if into is None else into)[name] = mutate_content(name, content, rng, gentle)
    return name


def _choose_file(files: FileSet, focus: Sequence[str], rng: np.random.Generator) -> str:
    names = [name for name, content in files.items() if isinstance(content, bytes)]
    wanted = [name for name in names if any(fnmatch(name, pattern) for pattern in focus)]
    if wanted and chance(rng, 0.9):
        pattern = choose(rng, [p for p in focus if any(fnmatch(name, p) for name in wanted)])
        names = [name for name in wanted if fnmatch(name, pattern)]
    return choose(rng, names) if names else ""


def mutate_content(name: str, data: bytes, rng: np.random.Generator, gentle: bool) -> bytes:
    """Change a file by what its name says that it is."""
    if not gentle and chance(rng, 0.04):
        return choose(rng, _FOREIGN)
    suffix = "." + name.rpartition(".")[2].lower()
    if suffix == ".tar":
        return mutate_tar(data, rng, gentle, mutate_content)
    if suffix in _TEXTS:
        return mutate_text(data, _TEXTS[suffix], rng, gentle)
    if suffix in _MUTATIONS:
        return _MUTATIONS[suffix](data, rng, gentle)
    return data if gentle else mutate_bytes(data, rng)


def _beside(files: FileSet, rng: np.random.Generator) -> str:
    """Choose a place for a file that nobody asks for."""
    return f"{choose(rng, sorted({name.rpartition('/')[0] for name in files}))}/notes.md".lstrip("/")


def _change_folder(files: FileSet, focus: Sequence[str], rng: np.random.Generator) -> None:
    """Change which files there are, what they are called, and whether they are files."""
    name = _choose_file(files, focus, rng)
    content = files.get(name, b"")
    kind = int(rng.integers(9))
    folder = name.rpartition("/")[0]
    if kind == 0:
        files.pop(name, None)
    elif kind == 1:
        files[name] = Special("folder")
    elif kind == 2:
        other = _choose_file(files, (), rng)
        files[name], files[other] = files[other], content
    elif kind == 3:
        files[name] = choose(rng, _FOREIGN)
    elif kind == 4:
        suffix = "." + name.rpartition(".")[2] if chance(rng, 0.7) else ""
        files.pop(name, None)
        files[f"{folder}/{choose(rng, hostile_values.NAMES)}{suffix}".lstrip("/")] = content
    elif kind == 5:
        suffix = "." + name.rpartition(".")[2] if chance(rng, 0.7) else ""
        files[f"{folder}/{choose(rng, hostile_values.NAMES)}{suffix}".lstrip("/")] = content
    elif kind == 6:
        files[name] = Special("link", choose(rng, ("nowhere", name.rpartition("/")[2], ".", "/dev/zero", "/dev/null")))
    elif kind == 7 and chance(rng, 0.5):
        files[name] = Special("fifo")
    else:
        for i in range(int(choose(rng, (3, 60)))):
            files[f"{folder}/{i}{name.rpartition('/')[2]}".lstrip("/")] = content
