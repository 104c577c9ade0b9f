"""The skeleton of a stage's run, which may be killed at any moment and goes on when it is started again.

    with resumable_run(out, KIND, depends_on, OWNED, overwrite, engine, progress) as run:
        finished = run.in_place(results_of(run.noted), files)   # or what else says which units are done
        results = run.complete(units, finished)                 # the others are done and noted
        run.finish(manifest, SCHEMA)                            # written last: everything is there

The output is claimed for this run alone, and the journal tells a rerun which units are finished. A manifest is taken
away before anything is written anew, so a manifest that is there never promises what is missing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from handgen.errors import HandgenError
from handgen.progress import Progress
from handgen.runtime import messages
from handgen.runtime.engines import Engine
from handgen.runtime.local import limit_threads
from handgen.storage import filesystem
from handgen.storage.documents import write_json
from handgen.storage.filesystem import Location
from handgen.storage.journal import Journal
from handgen.storage.output import MANIFEST, claim_output

Result = TypeVar("Result")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Units(Generic[Result]):
    """The units of work of one step of a stage, numbered from 0.

    step: its name in a progress bar. sizes: what progress counts of each unit: frames, samples or pictures. function:
    does one unit, given `item(number)`, or its number where there is no `item`. note: the journal's entry of a result.
    The default is a result that is a document itself. files: names below the output and bytes of what a finished unit
    wrote; 0 bytes may be no file at all.
    """

    step: str
    sizes: Sequence[int]
    function: Callable[[Any], Result]
    item: Callable[[int], Any] = int
    note: Callable[[Result], dict[str, Any]] = cast(Any, lambda result: result)
    files: Callable[[int, Result], Mapping[str, int]] = lambda number, result: {}


def map_missing(
    units: Units[Result], finished: Container[int], engine: Engine, progress: Progress | None
) -> Iterator[tuple[int, Result]]:
    """Do the units whose numbers are not in `finished`: number and result of each, in order of completion."""
    show = progress or (lambda *_: None)
    missing = [number for number in range(len(units.sizes)) if number not in finished]
    total = sum(units.sizes)
    done = total - sum(units.sizes[number] for number in missing)
    unfinished, begun = set(missing), dict[int, int]()  # begun: how much is done of unfinished units

    def hear(number: int, amount: float) -> None:
        now = min(int(amount), units.sizes[number])
        if number in unfinished and begun.get(number, 0) != now:
            begun[number] = now
            show(units.step, done + sum(begun.values()), total)

    items = ((number, units.item(number)) for number in missing)
    log.info("%s: %d of %d are done, %d units to do", units.step, done, total, len(missing))
    show(units.step, done, total)
    with messages.listen(hear):
        for number, result in engine.map_units(partial(_do, units.step, units.function), items, len(missing)):
            yield number, result
            unfinished.discard(number)
            begun.pop(number, None)
            done += units.sizes[number]
            show(units.step, done + sum(begun.values()), total)


def _do(step: str, function: Callable[[Any], Result], numbered_item: tuple[int, Any]) -> tuple[int, Result]:
    number, item = numbered_item
    began = time.perf_counter()
    with messages.working_on(number):
        result = function(item)
    log.info("%s: unit %d took %.2f s", step, number, time.perf_counter() - began)
    return number, result


class ResumableRun:
    """A run that holds its output directory. written: what `complete` did in this run, in the units of its sizes."""

    def __init__(
        self, root: Location, journal: Journal, manifests: Sequence[str], engine: Engine, progress: Progress | None
    ) -> None:
        self.written = 0
        self._root, self._journal, self._manifests = root, journal, manifests
        self._engine, self._progress = engine, progress

    @property
    def noted(self) -> Mapping[int, dict[str, Any]]:
        """The journal's entries by the number of the unit."""
        return self._journal.entries

    def noted_as(self, read: Callable[[int, dict[str, Any]], Result]) -> dict[int, Result]:
        """The journal's entries, read; without those of another kind of run, which `read` finds no keys in."""
        found = {}
        for number, entry in self.noted.items():
            with suppress(KeyError):
                found[number] = read(number, entry)
        return found

    def in_place(
        self, results: Mapping[int, Result], files: Callable[[int, Result], Mapping[str, int]]
    ) -> dict[int, Result]:
        """The results whose files are all there, with the bytes that they had; each folder is listed once."""
        listings: dict[Location, dict[str, int]] = {}

        def is_there(name: str, size: int) -> bool:
            path = self._root / name
            if path.parent not in listings:
                listings[path.parent] = filesystem.file_sizes(path.parent)
            return listings[path.parent].get(path.name, 0) == size

        return {
            number: result
            for number, result in results.items()
            if all(is_there(name, size) for name, size in files(number, result).items())
        }

    def do(self, units: Units[Result], finished: Container[int] = ()) -> dict[int, Result]:
        """Do the missing units of a step that comes before the noted one; their results in the units' order."""
        return dict(sorted(map_missing(units, finished, self._engine, self._progress), key=itemgetter(0)))

    def complete(self, units: Units[Result], finished: Mapping[int, Result]) -> list[Result]:
        """The results of all units in order; missing ones are done and noted. HandgenError when a file is not here."""
        results = dict(finished)
        if len(results) < len(units.sizes):
            self.invalidate()
        for number, result in map_missing(units, finished, self._engine, self._progress):
            self._check_arrived(units.files(number, result))
            results[number] = result
            self._journal.add(number, units.note(result))
            self.written += units.sizes[number]
        return [results[number] for number in range(len(units.sizes))]

    def invalidate(self) -> None:
        """Take away the documents that say that everything is in place."""
        for name in self._manifests:
            filesystem.remove_file(self._root / name)

    def finish(self, manifest: dict[str, Any], schema: str, name: str = MANIFEST) -> None:
        """Write a document that says that everything is in place, unless it is there already."""
        if filesystem.size_of(self._root / name) is None:
            write_json(self._root / name, manifest, schema)

    def _check_arrived(self, files: Mapping[str, int]) -> None:
        """Raise a HandgenError for files that a node of a cluster wrote where only that node sees them."""
        for name, size in files.items():
            path = self._root / name
            if size and isinstance(path, Path) and filesystem.size_of(path) != size:
                raise HandgenError(
                    f"{path}: a worker wrote it, but it is not here; all nodes must see the same {self._root}: use a "
                    "directory that they share, or the URL of a store"
                )


@contextmanager
def resumable_run(
    root: Location,
    kind: str,
    depends_on: dict[str, Any],
    owned: Sequence[str],
    overwrite: bool,
    engine: Engine,
    progress: Progress | None,
    manifests: Sequence[str] = (MANIFEST,),
    inputs: Sequence[Location] = (),
) -> Iterator[ResumableRun]:
    """Begin or continue a run in `root`, as of `handgen.storage.output.claim_output`. manifests: written last."""
    with claim_output(root, kind, depends_on, owned, overwrite, inputs) as journal, limit_threads():
        yield ResumableRun(root, journal, manifests, engine, progress)
