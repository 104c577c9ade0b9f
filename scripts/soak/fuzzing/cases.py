"""Cases: the division of their number among readers, and how one is made, run and kept."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from support.hostile_files import HOSTILE_FILES

from fuzzing.files import FileSet, Special, choose, generator, load_files, write_files
from fuzzing.mutate import mutate_files
from fuzzing.readers import READERS, Reader
from fuzzing.watch import Verdict, Watch

_FORGET_AFTER = 50  # cases, after which what readers remember of files is let go
BY_NAME = {reader.name: reader for reader in READERS}


def divide(cases: int, readers: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield reader and number of every case, the readers in turn: each gets as many as any other, or one more.

    First, with numbers below 0, the files that were once read wrongly.
    """
    yield from ((entry.reader, -1 - i) for i, entry in enumerate(HOSTILE_FILES) if entry.reader in readers)
    for index in range(cases):
        yield readers[index % len(readers)], index // len(readers)


class Runner:
    """Makes and runs cases in this process, in a folder of its own."""

    def __init__(self, seeds: Path, folder: Path) -> None:
        """seeds: folder of the seeds. folder: where everything is written, also what libraries write."""
        folder = folder.resolve()
        self._seeds, self._folder = seeds, folder
        self._input, self._out, self._here = folder / "input", folder / "out", folder / "here"
        for path in (self._out, self._here, folder / "tmp", folder / "cache"):
            path.mkdir(parents=True, exist_ok=True)
        os.environ |= {"TMPDIR": str(folder / "tmp"), "HANDGEN_CACHE": str(folder / "cache"), "HOME": str(folder)}
        os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
        os.environ["COLUMNS"] = "400"
        tempfile.tempdir = None
        os.chdir(self._here)
        torch.set_num_threads(1)
        self._watch = Watch(folder, self._input)
        self._count = 0

    def make(self, reader: Reader, seed: int, case: int | None) -> FileSet:
        """Make the files of a case; None: a seed as it is, of number `seed`; below 0: a file once read wrongly."""
        if case is None:
            return _files_of(self._seeds, reader.seeds[seed])
        if case < 0:
            entry = HOSTILE_FILES[-1 - case]
            files = dict(_files_of(self._seeds, entry.seed))
            content = entry.make(files[entry.file])  # type: ignore[arg-type]
            return files | {entry.file: content if isinstance(content, bytes) else Special(content)}
        rng = generator(reader.name, seed, case)
        files = _files_of(self._seeds, choose(rng, reader.seeds))
        with np.errstate(all="ignore"):
            return mutate_files(files, reader.focus, reader.gentle, rng)

    def run(self, reader: Reader, seed: int, case: int | None, keep: Path | None = None) -> Verdict:
        """Make and run a case, and judge it. keep: where the input of a fault is put, and what was said of it."""
        files = self.make(reader, seed, case)
        place = self._input / f"{self._count}"  # never the same twice: readers remember files by path and time
        self._count += 1
        write_files(place, files)
        try:
            verdict = self._watch.judge(lambda: reader.read(place, self._out))
            strange = sorted(path.name for path in self._here.iterdir())
            if strange:
                verdict = Verdict("fault", f"wrote {strange} into the current folder\n{verdict.detail}")
            if verdict.outcome == "fault" and keep is not None:
                _keep(keep / f"{reader.name}-{seed}-{case}", files, verdict)
        finally:
            self._clear(place)
        return verdict

    def _clear(self, place: Path) -> None:
        for path in (place, *self._here.iterdir(), *self._out.iterdir(), *(self._folder / "tmp").iterdir()):
            shutil.rmtree(path, ignore_errors=True)
            if path.is_file() or path.is_symlink():
                path.unlink()
        if self._count % _FORGET_AFTER == 0:
            shutil.rmtree(self._folder / "cache", ignore_errors=True)
            (self._folder / "cache").mkdir(exist_ok=True)
            _forget()


@lru_cache(maxsize=12)
def _files_of(seeds: Path, name: str) -> FileSet:
    return load_files(seeds / name)


def _keep(folder: Path, files: FileSet, verdict: Verdict) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    write_files(folder / "input", files)
    (folder / "fault.txt").write_text(verdict.detail, errors="backslashreplace")


def _forget() -> None:
    """Let go what functions remember of files that are gone: the hand models of thousands of cases are gigabytes."""
    from handgen.hand import model_files
    from handgen.media import video

    model_files._load.cache_clear()
    video._scan.cache_clear()
