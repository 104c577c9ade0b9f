"""Data sets with nonsense in one place of their JSON: readers say what is wrong, or read on."""

import copy
import json
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.data_sets import write_freihand, write_hanco, write_interhand

from handgen.datasets.registry import get_format
from handgen.errors import HandgenError
from handgen.hand.model_files import load_hand
from handgen.hand.skeleton import SIDES

NONSENSE = [None, "x", [[1, 2], [3]], {}, [], [{}], [None], 10**400, 2**70, 1e300, -1, True]
WRITERS = {"freihand": write_freihand, "hanco": write_hanco, "interhand": write_interhand}


@pytest.fixture(scope="module", params=WRITERS)
def data_set(request, tmp_path_factory):
    """Its format and folder, and a model of both sides, in place of MANO."""
    root = tmp_path_factory.mktemp(request.param)
    WRITERS[request.param](root, 2)
    for folder in root.rglob("000[23]"):  # of HanCo's sequences one is enough
        shutil.rmtree(folder)
    return request.param, root, {side: load_hand("open", side) for side in SIDES}


def read(data_set):
    name, root, models = data_set
    reader = get_format(name).open(root, None, models)
    return list(reader), reader.count, reader.notes, reader.fingerprint()


def somewhere(document, data, path=()):
    """A place in a document, drawn: at the top, at the bottom, or between."""
    children = list(document.items() if isinstance(document, dict) else enumerate(document)) if document else []
    stop = data.draw(st.integers(0, 3)) == 0
    if stop or not children:
        return path
    key, child = data.draw(st.sampled_from(children))
    return somewhere(child, data, (*path, key)) if isinstance(child, dict | list) else (*path, key)


def replaced(document, path, value):
    if not path:
        return value
    changed = place = copy.deepcopy(document)
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


def test_without_nonsense_they_are_read(data_set):
    assert read(data_set)[0]


@pytest.mark.filterwarnings("error::RuntimeWarning")
@settings(max_examples=120)
@given(st.data())
def test_nonsense_gives_nothing_but_a_handgen_error(data_set, data):
    _, root, _ = data_set
    path = data.draw(st.sampled_from(sorted(root.rglob("*.json"))))
    text = path.read_bytes()
    document = json.loads(text)
    try:
        path.write_text(json.dumps(replaced(document, somewhere(document, data), data.draw(st.sampled_from(NONSENSE)))))
        read(data_set)
    except HandgenError as error:
        assert str(root) in str(error)
    finally:
        path.write_bytes(text)
