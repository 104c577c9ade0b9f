"""Pickles that are meant to harm: each would leave a file behind if any of it ran."""

import pickle
import struct
import time
import tracemalloc

import numpy as np
import pytest
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.make_mano_pickle import Ch, Csc, Python2Pickler, Select, clean_state, mano_pickle
from support.pickle_attacks import PROTOCOLS, attacks

from handgen.errors import HandgenError
from handgen.storage.pickles import read_pickle


def refused(data, match=None):
    """The one-line error."""
    with pytest.raises(HandgenError, match=match) as error:
        read_pickle(data, "hand.pkl")
    text = str(error.value)
    assert text.startswith("hand.pkl: ") and text.isprintable() and len(text) < 600
    return text


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("attack", list(attacks("x")))
def test_nothing_that_a_file_names_is_run(tmp_path, attack, protocol):
    path = tmp_path / "ran"
    call, name = attacks(path)[attack]
    for place in ({"v_template": call}, call, [call], {"f": np.zeros(3), "x": (1, {"y": call})}):
        assert name in refused(pickle.dumps(place, protocol), "names ")
        assert not path.exists()


def test_handmade_opcodes_are_refused_too(tmp_path):
    path = tmp_path / "ran"
    touch = f"touch {path}".encode()
    text = b"X" + struct.pack("<I", len(touch)) + touch
    for data, match in {
        b"(S'%s'\nios\nsystem\n." % touch: "opcode b'i'",  # INST
        b"(cos\nsystem\n%so." % text: "names os.system",  # OBJ
        b"\x80\x02cos\nsystem\n)\x81.": "names os.system",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93%s\x85R." % text: "names os.system",
        b"\x80\x04\x8c\x06chumpy\x8c\x04\x1b[2J\x93.": "names",  # no escape codes to the terminal
        b"\x80\x04K\x01K\x02\x93.": "STACK_GLOBAL requires str",
        b"\x80\x02cnumpy\nndarray.__class__\n.": "names numpy.ndarray.__class__",
        b"\x80\x02\x82\x01.": "opcode",  # EXT1
        b"\x80\x02P1\n.": "opcode",  # persistent identifier
        b"\x80\x05\x97.": "opcode",  # a buffer from elsewhere
        b"\x80\x04]}\x92.": "opcode",  # NEWOBJ_EX
        b"%sR." % text: "not a readable pickle",  # calls with nothing to call
        b"\x80\x02cnumpy\nndarray\n%s\x85R." % text: "calls what is no function",
        b"\x80\x02cchumpy.ch\nCh\n%s\x85\x81." % text: "no class",
        b"\x80\x02cchumpy.ch\nCh\n}b.": "sets attributes of what has none",  # of the class itself
        b"\x80\x02ccopy_reg\n_reconstructor\ncnumpy\nndarray\nc__builtin__\nobject\nN\x87R.": "no class",
        b"\x80\x02c_codecs\nencode\nX\x02\x00\x00\x00hiX\x03\x00\x00\x00zip\x86R.": "latin-1",
        b"\x80\x02c__builtin__\nbytes\nJ\xff\xff\xff\x7f\x85R.": "not a readable pickle",  # 2 GiB
    }.items():
        refused(data, match)
        assert not path.exists()


def array_pickle(shape, dtype=b"f8", content=bytes(8), order=b"<", kind=b"numpy\nndarray"):
    """One array at the top of a dictionary, with whatever is claimed of it."""
    put = Python2Pickler(2).save
    made = b"cnumpy.core.multiarray\n_reconstruct\nc" + kind + b"\n" + put((0,)) + put("b") + b"\x87R"
    described = b"cnumpy\ndtype\n" + put((dtype.decode(), 0, 1)) + b"R"
    described += put((3, order.decode(), None, None, None, -1, -1, 0)) + b"b"
    body = content if content[:1] == b"]" else put(content)
    return b"\x80\x02}U\x01a" + made + b"(K\x01" + put(shape) + described + put(False) + body + b"tbs."


def test_an_array_is_no_larger_than_its_bytes():
    assert read_pickle(array_pickle((1,)), "hand.pkl")["a"].tolist() == [0.0]
    tracemalloc.start()
    began = time.process_time()
    refused(array_pickle((2**30, 1024)), "claims the shape")
    refused(array_pickle((2**31 - 1,) * 8), "claims the shape")
    refused(array_pickle((2**31 - 1,) * 32), "shape is no tuple of counts")
    refused(array_pickle((2,)), "16 bytes, but has 8")
    refused(array_pickle((-1,)), "shape is no tuple of counts")
    refused(array_pickle((1,) * 40), "shape is no tuple of counts")
    refused(array_pickle((0, 2**31 - 1, 2**31 - 1, 2**31 - 1, 2**31 - 1), content=b""))
    for dtype in (b"O8", b"S8", b"U2", b"V8", b"f8,f8", b"c8", b"M8[s]", b"(99999999,)f8"):
        refused(array_pickle((1,), dtype), "only numbers are read")
    refused(array_pickle((1,), b"i9"))
    refused(array_pickle((1,), order=b"?"), "byte order")
    refused(array_pickle((1,), content=b"](K\x01e"), "Python objects")
    refused(array_pickle((1,), kind=b"numpy\ndtype"), "no known type")
    refused(pickle.dumps({"a": np.array([{}, 1], object)}), "only numbers are read")
    refused(pickle.dumps({"a": np.zeros(2, [("x", "f8")])}), "only numbers are read")
    assert time.process_time() - began < 5
    assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    tracemalloc.stop()


def sparse(shape, indptr, indices, data):
    matrix = scipy.sparse.csc_matrix((1, 1))
    matrix.__dict__.update(
        _shape=shape, data=np.array(data, float), indices=np.array(indices, "i8"), indptr=np.array(indptr, "i8")
    )
    return pickle.dumps({"J_regressor": matrix}, 2)


def test_sparse_matrices_and_selections_are_bounded():
    whole = sparse((2, 3), [0, 1, 1, 3], [1, 0, 1], [5, 6, 7])
    assert read_pickle(whole, "hand.pkl")["J_regressor"].tolist() == [[0, 0, 6], [5, 0, 7]]
    refused(sparse((2**40, 3), [0, 1, 1, 3], [1, 0, 1], [5, 6, 7]), "larger than 64 MiB")
    refused(sparse((2, 2**40), [0, 1], [1], [5]), "columns do not fit")
    refused(sparse((2, 3), [0, 2**40, 1, 3], [1, 0, 1], [5, 6, 7]), "columns do not fit")
    refused(sparse((2, 3), [0, 1, 1, 3], [-1, 0, 1], [5, 6, 7]), "columns do not fit")
    refused(sparse((2, 3), [0, 1, 1, 3], [2, 0, 1], [5, 6, 7]))
    refused(pickle.dumps({"a": scipy.sparse.csr_matrix((2, 2))}, 2), "csr_matrix")

    def save(value):
        return Python2Pickler(2).dumps({"shapedirs": value})

    base = Ch(np.arange(6.0).reshape(2, 3))
    assert read_pickle(save(Select(base, np.array([5, 0]), (2, 1))), "x")["shapedirs"].tolist() == [[5], [0]]
    refused(save(Select(base, np.array([6]), (1,))))
    refused(save(Select(base, np.array([0]), (2,))))
    deep = base
    for _ in range(20):
        deep = Ch(deep)
    refused(save(deep), "too deeply nested")
    many = [Select(base, chosen, (2**20,)) for chosen in [np.zeros(2**20, np.int8)] * 30]  # of 8 MiB each
    refused(Python2Pickler(2).dumps({f"k{k}": select for k, select in enumerate(many)}), "larger than 64 MiB")


def test_what_is_used_many_times_is_worked_out_once():
    began = time.perf_counter()
    chain = [Ch(np.zeros((300, 300)))]
    for _ in range(1000):
        chain.append(Select(chain[-1], np.zeros(1, int), (1,)))
    data = Python2Pickler(2).dumps({f"k{k}": link for k, link in enumerate(chain)})
    assert len(read_pickle(data, "hand.pkl")) == 1001  # each of the one before, which is known by then
    shared = Csc(np.eye(1500, 778))
    found = read_pickle(Python2Pickler(2).dumps({f"k{k}": shared for k in range(400)}), "hand.pkl")
    assert len({id(array) for array in found.values()}) == 1
    rows = Ch(np.asfortranarray(np.zeros((1000, 1000))))  # whose elements are copied for each selection
    selections = {f"k{k}": Select(rows, np.zeros(1, int), (1,)) for k in range(300)}
    refused(Python2Pickler(2).dumps(selections), "larger than 64 MiB")
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("starts", [[0, 2**63, 2**64 - 1, 3], [0, 2**64 - 2**40, 2**40, 3]])
def test_columns_that_wrap_around_are_refused(starts):
    """Their differences, taken in the file's own type, would be small or huge."""
    matrix = scipy.sparse.csc_matrix((1, 1))
    fields = {"data": np.zeros(3), "indices": np.zeros(3, "i8"), "indptr": np.array(starts, "u8")}
    matrix.__dict__.update(_shape=(2, 3), **fields)
    refused(pickle.dumps({"J_regressor": matrix}, 2), "columns do not fit")
    fields["indptr"] = fields["indptr"].astype(float)
    matrix.__dict__.update(fields)
    refused(pickle.dumps({"J_regressor": matrix}, 2), "made of what is no array")


def test_truth_values_are_0_and_1_whatever_their_bytes():
    """Numpy writes past the end of what it has allocated when it selects by others."""
    [found] = read_pickle(array_pickle((8,), b"b1", bytes([0, 1, 2, 255, 128, 0, 0, 7])), "hand.pkl").values()
    assert found.view(np.uint8).tolist() == [0, 1, 1, 1, 1, 0, 0, 1]


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x05\x96" + b"\xff" * 7 + b"\x3fabc",  # a bytearray of 2**62 bytes
        b"(" * 100_000 + b"." * 2,
        b"(" * 100_000 + b"t" * 100_000 + b".",  # a tuple in a tuple in a tuple ...
        b"]" * 100_000 + b"a" * 99_999 + b".",
        b"}N" + b"q\x002\x86" * 60 + b"Ns.",  # a key that holds 2**60 values when hashed
        b"\x80\x02K\x002" * 300_000,
        b"]q\x00" + b"h\x00a" * 10 + b".",  # a list that holds itself
        b"\x80\x02K\x01r\xff\xff\xff\xff.",  # a memo of 4 billion places
        b"I" + b"9" * 10_000_000 + b"\n.",
        b"\x8b\xff\xff\xff\x7f.",
        b"\x8b\x00\x00\x10\x00" + b"\x7f" * 2**20 + b".",
        b"X\xff\xff\xff\xffabc",
        b"\x8e" + b"\xff" * 8 + b"abc",
        b"T\xff\xff\xff\xffabc.",
    ],
)
def test_bombs_are_refused_soon_and_small(data):
    tracemalloc.start()
    began = time.process_time()
    refused(data)
    assert time.process_time() - began < 5
    assert tracemalloc.get_traced_memory()[1] < 256 * 2**20
    tracemalloc.stop()


def test_depth_alone_does_no_harm_as_nothing_walks_it():
    for data in (
        b"}" + b"U\x01a}" * 30_000 + b"s" * 30_000 + b".",
        b"\x80\x02}U\x01a" + b"N" + b"\x85" * 100_000 + b"s.",
    ):
        assert read_pickle(data, "hand.pkl") == {}
    data = b"\x80\x02}(U\x01a" + b"N" + b"\x85" * 50_000 + b"U\x01bU\x02okU\x01cc__builtin__\nset\n]\x85Ru."
    assert read_pickle(data, "hand.pkl") == {"b": "ok"}


def test_no_file_at_all():
    for data in (b"", b".", b"hello", b"\x80\x02", b"\x80\x02N.", b"\x80\x02].", b"\x80\x02}K\x01K\x02s."):
        refused(data)
    refused(bytes(65 * 2**20), "larger than 64 MiB")


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_a_truncated_file_is_refused_wherever_it_ends(protocol):
    data = mano_pickle("right", protocol)
    rng = np.random.default_rng(protocol)
    for end in [0, 1, 100, len(data) - 1, *rng.integers(0, len(data), 20)]:
        refused(data[:end])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_clean_pickles_of_python_3_are_read(protocol):
    state = clean_state("right") | {"bs_style": "lbs", "empty": np.zeros((0, 3)), "number": np.float32(2)}
    found = read_pickle(pickle.dumps(state, protocol), "hand.pkl")
    assert found.keys() == state.keys()
    for key, value in state.items():
        np.testing.assert_array_equal(found[key], value)
        assert isinstance(value, str) or found[key].dtype == value.dtype


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_bytes_never_give_anything_but_a_handgen_error(data):
    state = {"a": np.arange(6.0).reshape(2, 3), "J": np.eye(2), "s": "text", "c": scipy.sparse.csc_matrix(np.eye(2))}
    protocol = data.draw(st.sampled_from(list(PROTOCOLS)))
    if data.draw(st.booleans()):
        chosen = Select(Ch(state["a"]), np.array([1, 2]), (2, 1))
        content = bytearray(Python2Pickler(protocol % 3).dumps({"a": state["a"], "d": chosen}))
    else:
        content = bytearray(pickle.dumps(state, protocol))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        read_pickle(bytes(content), "hand.pkl")
    except HandgenError as error:
        assert str(error).isprintable()
