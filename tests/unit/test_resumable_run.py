"""The skeleton that five stages share: what is finished is kept, what is missing is done, the manifest comes last."""

from contextlib import contextmanager

import orjson
import pytest
from support.killed_runs import journal_entry

from handgen.errors import HandgenError
from handgen.runtime.local import LocalEngine
from handgen.runtime.report import OutputReport
from handgen.runtime.resumable_run import Units, map_missing, resumable_run
from handgen.storage.journal import JOURNAL
from handgen.storage.output import MANIFEST, RUN_SCHEMA

SIZES = [4, 4, 1]


def files_of(number, result):
    return {f"{number}.txt": result["records"]["bytes"]}


class Writes:
    """Units that write a file each; `stops_at` is killed before it does."""

    def __init__(self, folder, stops_at=None):
        self.folder, self.stops_at, self.done = folder, stops_at, []

    def __call__(self, number):
        if number == self.stops_at:
            raise KeyboardInterrupt
        self.done.append(number)
        (self.folder / f"{number}.txt").write_text("x" * (number + 1))
        return journal_entry(number + 1)


@contextmanager
def run_in(folder, progress=None):
    with resumable_run(folder, "shards", {"a": 1}, ("*.txt",), False, LocalEngine(1), progress) as run:
        yield run


def do_all(folder, function, progress=None):
    with run_in(folder, progress) as run:
        finished = run.in_place(run.noted, files_of)
        results = run.complete(Units("write", SIZES, function, files=files_of), finished)
        run.finish({"kind": "shards", "depends_on": {"results": results}}, RUN_SCHEMA)
    return results, run.written


def test_a_killed_run_goes_on_where_it_stopped(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        do_all(out, Writes(out, stops_at=1))
    assert not (out / MANIFEST).exists()
    seen, second = [], Writes(out)
    results, written = do_all(out, second, lambda *step: seen.append(step))
    assert second.done == [1, 2] and written == 5
    assert results == [journal_entry(size) for size in (1, 2, 3)]
    assert seen == [("write", 4, 9), ("write", 8, 9), ("write", 9, 9)]
    assert do_all(out, Writes(out, stops_at=0))[1] == 0  # nothing is left to do


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_text("longer than it was")])
def test_a_file_that_is_gone_or_changed_is_made_again_without_a_manifest_meanwhile(tmp_path, damage):
    out = tmp_path / "out"
    do_all(out, Writes(out))
    damage(out / "1.txt")
    with pytest.raises(KeyboardInterrupt):
        do_all(out, Writes(out, stops_at=1))
    assert not (out / MANIFEST).exists()
    third = Writes(out)
    do_all(out, third)
    assert third.done == [1]
    assert orjson.loads((out / MANIFEST).read_bytes())["depends_on"]["results"][1] == journal_entry(2)


def test_what_a_worker_wrote_elsewhere_is_told(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with pytest.raises(HandgenError, match="all nodes must see the same"):
        do_all(tmp_path / "out", Writes(elsewhere))


def test_units_are_given_their_items_and_come_with_their_numbers():
    units = Units("count", [1] * 3, str.upper, "abc".__getitem__)
    assert dict(map_missing(units, {1}, LocalEngine(1), None)) == {0: "A", 2: "C"}


def test_steps_before_the_noted_one_come_in_order(tmp_path):
    with run_in(tmp_path / "out") as run:
        assert run.do(Units("count", [1, 1], lambda number: 10 * number)) == {0: 0, 1: 10}
        assert not run.noted


def test_a_report_shows_itself_in_a_few_lines():
    class Report(OutputReport):
        RATE = "per_s"
        per_s = 2.0

        def rows(self):
            return [("frames", "3"), ("speed", "2 frames/s")]

    report = Report(out="shards", seconds=1.23456, notes=("too dark",))
    assert repr(report) == "Report: shards\n  frames  3\n  speed   2 frames/s\n  note: too dark"
    assert report.to_json() == {"out": "shards", "seconds": 1.235, "per_s": 2.0, "notes": ("too dark",)}
    assert report.summary() == {"notes": ("too dark",)}


@pytest.mark.parametrize(
    "line",
    [
        b"no JSON",
        b"[]",
        orjson.dumps({"unit": -1, "found": journal_entry(2)}),
        orjson.dumps({"unit": 1, "found": journal_entry("2")}),
        orjson.dumps({"unit": 1, "found": {"description": {}, "problems": [["one"]], "damaged": []}}),
        orjson.dumps({"unit": 1, "found": journal_entry(2) | {"more": 1}}),
    ],
)
def test_a_line_that_no_run_notes_is_as_if_it_were_not_there(tmp_path, line):
    out = tmp_path / "out"
    do_all(out, Writes(out))
    (journal,) = (out / JOURNAL).iterdir()
    lines = journal.read_bytes().splitlines()
    journal.write_bytes(b"\n".join([lines[0], line, lines[2]]) + b"\n")
    (out / JOURNAL / "another.jsonl").write_bytes(lines[1])
    again = Writes(out)
    do_all(out, again)
    assert again.done == [1]
