"""Values of large JSON files, one at a time, whatever the window cuts off."""

import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handgen.errors import HandgenError
from handgen.storage import json_stream
from handgen.storage.json_stream import list_entries, list_items, nested_entries, read_value

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("json") / "a.json"


@settings(max_examples=150)
@given(st.lists(VALUES, max_size=6), VALUES, st.integers(1, 40), st.sampled_from([None, 1]), st.booleans())
def test_entries_of_a_list_are_those_of_the_whole_document(path, values, other, window, indent, ascii_only):
    document = {"before": other, "wanted": values, "after": [other]}
    path.write_text(json.dumps(document, indent=indent, ensure_ascii=ascii_only), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_WINDOW_BYTES", window)
        entries = list(list_entries(path, "wanted"))
    with path.open("rb") as file:
        assert [read_value(file, entry.first, entry.length, "a") for entry in entries] == values


@settings(max_examples=150)
@given(
    st.dictionaries(st.text(min_size=1, max_size=3).filter(lambda name: name != "wanted"), VALUES, max_size=4),
    st.lists(VALUES, max_size=5),
    st.integers(1, 40),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_parts_are_those_of_the_whole_document(path, others, items, window, indent, ascii_only):
    for document in (others | {"wanted": items}, {"wanted": items} | others, items):
        path.write_text(json.dumps(document, indent=indent, ensure_ascii=ascii_only) + "\n", "utf-8")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(json_stream, "_WINDOW_BYTES", window)
            parts = list(list_items(path, "wanted"))
        assert [value for name, value in parts if name == ""] == items
        assert {name: value for name, value in parts if name} == ({} if document is items else others)


@pytest.mark.parametrize(
    "text",
    ["", "[", "{", "[1", "[1,", "[1 2]", "[1]]", '{"wanted" 3}', '{"wanted": [}', '{"a": 1 "b": 2}', "5", "[" * 60]
    + ['{"a": ' * 60, '{"wanted": []', '{"wanted": []} 1'],
)
def test_a_document_that_is_none_has_no_parts(path, text):
    path.write_text(text)
    with pytest.raises(HandgenError, match="a.json: not the JSON"):
        list(list_items(path, "wanted"))


@pytest.mark.parametrize("text", ["{}", '{"wanted": {}}', '{"wanted": null, "a": []}'])
def test_a_document_without_the_list_is_the_wrong_one(path, text):
    path.write_text(text)
    with pytest.raises(HandgenError, match="a.json: has no list 'wanted'"):
        list(list_items(path, "wanted"))


def test_text_that_is_no_utf_8_is_refused(path):
    path.write_bytes(b'["\xff"]')
    with pytest.raises(HandgenError, match="a.json: not the JSON"):
        list(list_items(path, "wanted"))


@settings(max_examples=50)
@given(st.lists(VALUES, max_size=6), st.integers(1, 40))
def test_a_file_may_be_a_list_itself(path, values, window):
    path.write_text(json.dumps(values))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_WINDOW_BYTES", window)
        entries = list(list_entries(path))
    with path.open("rb") as file:
        assert [read_value(file, entry.first, entry.length, "a") for entry in entries] == values


@settings(max_examples=100)
@given(
    st.dictionaries(st.text("abc", max_size=3), st.dictionaries(st.text("xyz", max_size=3), VALUES, max_size=3)),
    st.integers(1, 40),
)
def test_nested_entries_have_their_keys(path, document, window):
    path.write_text(json.dumps(document))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_WINDOW_BYTES", window)
        entries = list(nested_entries(path))
    with path.open("rb") as file:
        found = {entry.keys: read_value(file, entry.first, entry.length, "a") for entry in entries}
    assert found == {(outer, inner): value for outer, part in document.items() for inner, value in part.items()}


@settings(max_examples=100)
@given(st.lists(VALUES, min_size=1, max_size=4), st.data())
def test_a_truncated_file_is_never_taken_for_a_whole_one(path, values, data):
    text = json.dumps({"wanted": values}).encode()
    cut = data.draw(st.integers(0, len(text) - 2))
    path.write_bytes(text[:cut])
    with pytest.raises(HandgenError, match="a.json: (not the JSON|has no list)"):
        list(list_entries(path, "wanted"))


@pytest.mark.parametrize(
    "text",
    [b"[" * 200_000, b'{"wanted": [' + b"[" * 200_000, b'{"wanted": [1 2]}', b'{"wanted": [1,]}', b"\xff\xfe", b"null",
     b'{1: [2]}', b'{"wanted": [' + b"9" * 10_000 + b"]}"],
)  # fmt: skip
def test_nonsense_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(HandgenError, match="a.json: "):
        list(list_entries(tmp_path / "a.json", "wanted"))


def test_a_window_of_the_file_is_held(path, monkeypatch):
    monkeypatch.setattr(json_stream, "_WINDOW_BYTES", 2**16)
    path.write_text(json.dumps({"before": 1, "wanted": [{"text": "a" * 1000}] * 5000}))  # 5 MB
    tracemalloc.start()
    count = sum(1 for _ in list_items(path, "wanted"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 5001 and peak < 8 * 2**16


def test_one_endless_value_is_not_held(tmp_path, monkeypatch, set_budget):
    set_budget("HANDGEN_MAX_SAMPLE_MIB", 1)  # of which an entry may take a sixteenth
    monkeypatch.setattr(json_stream, "_WINDOW_BYTES", 1000)
    (tmp_path / "a.json").write_bytes(b'{"wanted": ["' + b"a" * 100_000 + b'"]}')
    with pytest.raises(
        HandgenError, match="byte 12: an entry of a JSON file larger than 64 KiB.*HANDGEN_MAX_SAMPLE_MIB=2"
    ):
        list(list_entries(tmp_path / "a.json", "wanted"))


def test_a_long_value_is_decoded_three_times_at_most(tmp_path, monkeypatch):
    sizes = []

    class Counted(json.JSONDecoder):
        def raw_decode(self, text, idx=0):
            sizes.append(len(text) - idx)
            return super().raw_decode(text, idx)

    monkeypatch.setattr(json_stream, "_WINDOW_BYTES", 1000)
    monkeypatch.setattr(json_stream, "_DECODER", Counted())
    (tmp_path / "a.json").write_text(json.dumps({"wanted": ["b", "a" * 100_000, "c"]}))
    assert [entry.value[0] for entry in list_entries(tmp_path / "a.json", "wanted")] == ["b", "a", "c"]
    assert sum(size > 100 for size in sizes) <= 5  # the first window is also that of the key and of "b"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(HandgenError, match="b.json: cannot be read"):
        list(nested_entries(tmp_path / "b.json"))
