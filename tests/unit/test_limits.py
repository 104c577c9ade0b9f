"""Budgets: declared once, raised by the environment, documented as they are."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from handgen.cli.main import main
from handgen.detect.keypoint_files import arrays, hands
from handgen.errors import HandgenError
from handgen.storage import filesystem, limits
from handgen.storage.documents import loads, read_json
from handgen.storage.filesystem import location
from handgen.storage.journal import JOURNAL, Journal
from handgen.storage.json_bounds import nesting, parsed_bytes
from handgen.storage.json_stream import nested_entries
from handgen.storage.output import RUN, kind_of

ROOT = Path(__file__).parents[2]
VALUES = st.recursive(
    st.none() | st.integers() | st.text('[]{}"\\,:a', max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('[]{}"\\a', max_size=4), inner, max_size=4),
    max_leaves=30,
)


def depth_of(value) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


@pytest.mark.parametrize("budget", limits.BUDGETS, ids=lambda budget: budget.variable)
@pytest.mark.parametrize("text", ["0", "-1", "1.5", "much", "1_000", "٣", "9" * 13])
def test_a_budget_that_is_no_number_is_one_line(set_budget, budget, text):
    set_budget(budget.variable, text)
    with pytest.raises(HandgenError, match=f"^{budget.variable}: .*is no whole number above 0") as error:
        limits.check_environment()
    assert "\n" not in str(error.value)


def test_a_budget_beyond_what_readers_stand_is_refused(set_budget):
    set_budget("HANDGEN_MAX_DEPTH", 201)
    with pytest.raises(HandgenError, match="HANDGEN_MAX_DEPTH: 201 is more than 200"):
        limits.check_environment()


def test_the_command_line_says_which_budget_is_none(set_budget):
    set_budget("HANDGEN_MAX_MEMBERS", "lots")
    result = CliRunner().invoke(main, ["inspect", "."])
    assert result.exit_code == 1 and result.output.startswith("Error: HANDGEN_MAX_MEMBERS: 'lots' is no whole number")


@pytest.mark.parametrize("share", limits.SHARES, ids=lambda share: share.what)
def test_the_budget_that_an_error_names_is_enough_and_no_less_is(set_budget, share):
    asked = share.allowed * 3 // 2 + 1
    with pytest.raises(HandgenError, match=f"^a.file: {re.escape(share.what)} (larger|more) than") as error:
        share.check(asked, "a.file")
    assert "\n" not in str(error.value)
    named = re.search(rf"{share.budget.variable}=(\d+) allows it", str(error.value))
    needed = int(named[1])
    set_budget(share.budget.variable, needed)
    share.check(asked, "a.file")
    set_budget(share.budget.variable, needed - 1)
    with pytest.raises(HandgenError):
        share.check(asked, "a.file")


def test_what_is_allowed_is_read_once(set_budget, monkeypatch):
    set_budget("HANDGEN_MAX_MEMBERS", 7)
    assert limits.SAMPLE_MEMBERS.allowed == 7
    monkeypatch.setenv("HANDGEN_MAX_MEMBERS", "8")
    assert limits.SAMPLE_MEMBERS.allowed == 7


def test_the_page_has_the_tables_of_the_module():
    assert limits.to_markdown() in (ROOT / "docs" / "limits.md").read_text()


def test_no_reader_declares_a_bound_of_its_own():
    """Sizes in bytes are written as powers of two; what is bounded is bounded in `limits`."""
    bound = re.compile(r"^_?(MAX|MOST)\w*BYTES\b.*=", re.MULTILINE)
    found = [path for path in (ROOT / "handgen").rglob("*.py") if bound.search(path.read_text())]
    assert found == []


@given(VALUES, st.booleans())
def test_nesting_is_found_without_parsing(value, ascii_only):
    assert nesting(json.dumps(value, ensure_ascii=ascii_only).encode()) == depth_of(value)


@given(st.binary(max_size=60))
def test_nesting_of_nonsense_is_some_number(text):
    assert nesting(text) < 61


@pytest.mark.parametrize("with_nan", [False, True])
def test_documents_may_be_as_deep_as_the_budget(set_budget, with_nan):
    text = b"[" * 64 + b"]" * 64
    assert depth_of(loads(text, "a.json", with_nan)) == 64
    with pytest.raises(
        HandgenError, match=r"a.json: lists and objects nested more than 64 deep; .* HANDGEN_MAX_DEPTH=65 allows"
    ):
        loads(b"[" + text + b"]", "a.json", with_nan)
    set_budget("HANDGEN_MAX_DEPTH", 65)
    assert depth_of(loads(b"[" + text + b"]", "a.json", with_nan)) == 65


@pytest.mark.parametrize("there", ["disk", "memory://limits"])
def test_a_whole_file_is_bounded_wherever_it_lies(tmp_path, set_budget, there):
    root = tmp_path if there == "disk" else location(f"{there}/{tmp_path.name}")
    for name, data in (("large.json", b" " * 2**18 + b"{}"), (RUN, b" " * 2**18 + b"{}"), ("small.json", b"{}")):
        filesystem.put(root / name, data)
    set_budget("HANDGEN_MAX_FILE_MIB", 1)  # of which a JSON file may take a sixth
    assert read_json(root / "small.json") == {} and filesystem.read(root / "small.json") == b"{}"
    with pytest.raises(HandgenError, match="large.json: the text of a JSON file larger than 171 KiB"):
        read_json(root / "large.json")
    assert kind_of(root) is None
    filesystem.make_folder(root / JOURNAL)
    filesystem.put(root / JOURNAL / "000000.jsonl", b"\n" * 2**20)
    with pytest.raises(HandgenError, match="the journal of a run larger than 683 KiB"):
        Journal(root)


def test_the_parsed_size_is_bounded_and_not_only_the_text(set_budget):
    set_budget("HANDGEN_MAX_FILE_MIB", 1)
    loads(b'["' + b"a" * 300_000 + b'"]', "a.json")
    with pytest.raises(HandgenError, match="a.json: the values of a JSON file, in memory, larger than 1 MiB"):
        loads(b"[" + b"[]," * 10_000 + b"0]", "a.json")
    assert parsed_bytes(b"[" + b"[]," * 10_000 + b"0]") > 20 * 30_000


def test_places_that_are_kept_are_bounded(tmp_path, set_budget):
    (tmp_path / "a.json").write_text('{"a": {' + ",".join(f'"{i}": 0' for i in range(4000)) + "}}")
    assert len(list(nested_entries(tmp_path / "a.json"))) == 4000
    set_budget("HANDGEN_MAX_FILE_MIB", 1)
    with pytest.raises(HandgenError, match="the places of a JSON file's entries, in memory, larger than 1 MiB"):
        list(nested_entries(tmp_path / "a.json"))


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i4"])
def test_keypoints_in_blocks_are_those_in_one(tmp_path, monkeypatch, rng, dtype):
    values = rng.uniform(2, 900, (50, 21, 3))
    values[..., 2] = rng.integers(0, 2, (50, 21))
    values[rng.uniform(size=(50, 21)) < 0.2] = -1
    values[[3, 17, 40]] = -1
    np.save(tmp_path / "a.npy", values.astype(dtype))
    whole = arrays.read(tmp_path / "a.npy", "left")
    for module in (arrays, hands):
        monkeypatch.setattr(module, "_BLOCK", 7)
    parts = arrays.read(tmp_path / "a.npy", "left")
    assert len(whole.frames) == 47
    for name in ("frames", "values", "right", "redetected"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))
