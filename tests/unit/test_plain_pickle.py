"""Labels that are pickled, and pickles that are meant to harm."""

import pickle
import pickletools

import numpy as np
import pytest
from support.pickle_attacks import PROTOCOLS, attacks

from handgen.errors import HandgenError
from handgen.storage import limits
from handgen.storage.pickles import read_labels, read_pickle

LABELS = [
    {
        "keypoints_2d": np.arange(63, dtype=np.float32).reshape(21, 3),
        "right": np.float32(1),
        "extra_info": {"fitting_loss": np.array({"reprojection_loss": 3.5}), "detection_npz_idx": 2},
        "others": (1, -2.5, None, True, "text", [np.ones(3, bool)]),
    }
]


def refused(data: bytes, match: str) -> None:
    with pytest.raises(HandgenError, match=match) as error:
        read_labels(data, "KEY.data.pyd")
    text = str(error.value)
    assert text.startswith("KEY.data.pyd: ") and text.isprintable() and len(text) < 600


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_labels_come_back_as_they_were(protocol):
    [hand] = read_labels(pickle.dumps(LABELS, protocol), "labels")
    np.testing.assert_array_equal(hand["keypoints_2d"], LABELS[0]["keypoints_2d"])
    assert hand["keypoints_2d"].dtype == np.float32
    assert isinstance(hand["right"], np.float32) and hand["right"] == 1
    loss = hand["extra_info"].pop("fitting_loss")  # the loader calls its `item`
    assert (loss.dtype, loss.shape, loss.item()) == (object, (), {"reprojection_loss": 3.5})
    assert hand["extra_info"] == {"detection_npz_idx": 2}
    assert hand["others"][:5] == [1, -2.5, None, True, "text"] and hand["others"][5][0].dtype == bool


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("attack", list(attacks("x")))
def test_nothing_that_labels_name_is_run(tmp_path, attack, protocol):
    path = tmp_path / "ran"
    call, name = attacks(path)[attack]
    for place in ([{"hand_pose": call}], call, [{"extra_info": np.array({"x": call})}]):
        refused(pickle.dumps(place, protocol), "names ")
        with pytest.raises(HandgenError, match=name):
            read_labels(pickle.dumps(place, protocol), "KEY.data.pyd")
        assert not path.exists()


OBJECT_DTYPE = b"cnumpy\ndtype\nX\x02\x00\x00\x00O8\x89\x88\x87R"
EMPTY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
ADDRESS = b"C\x08" + bytes(range(65, 73))


@pytest.mark.parametrize("with_order", [False, True])
@pytest.mark.parametrize(
    "array",
    [
        b"cnumpy.core.multiarray\nscalar\n%s" + ADDRESS + b"\x86R",
        b"cnumpy.core.numeric\n_frombuffer\n(" + ADDRESS + b"%sK\x01\x85X\x01\x00\x00\x00CtR",
        EMPTY + b"(K\x01)%s\x89" + ADDRESS + b"tb",
        EMPTY + b"(K\x01K\x01\x85%s\x89" + ADDRESS + b"tb",
        EMPTY + b"](K\x01)%s\x89" + ADDRESS + b"eb",  # a list of five as its state
        EMPTY + b"](K\x01K\x01\x85%s\x89" + ADDRESS + b"eb",
        EMPTY + b"(K\x01)%s\x89](" + ADDRESS + b"K\x01etb",
        EMPTY + b"(K\x01K\x01\x85%s\x89]" + ADDRESS + b"atb",
    ],
)
def test_no_bytes_of_a_file_become_the_address_of_an_object(array, with_order):
    """An array of dtype O holds addresses: bytes of a file in it crash the process when they are followed."""
    order = b"(K\x03X\x01\x00\x00\x00|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb" if with_order else b""
    data = b"\x80\x04]" + array.replace(b"%s", OBJECT_DTYPE + order) + b"a."
    refused(data, "not a readable pickle|several Python objects")
    with pytest.raises(HandgenError):
        read_pickle(data.replace(b"\x80\x04]", b"\x80\x04}U\x01a").replace(b"a.", b"s."), "hand.pkl")


def test_what_is_no_label_is_refused_in_one_line():
    refused(pickle.dumps([{"x": np.array([{}, {}], object)}]), "several Python objects")
    refused(pickle.dumps([{"x": b"bytes"}]), "it holds a bytes")
    refused(pickle.dumps([{"x": 2**100}]), "a number is too long")
    refused(pickle.dumps([{"x": np.array(["text"])}]), "dtype U4")
    refused(pickle.dumps(LABELS)[:-20], "not a readable pickle")
    refused(b"\x80\x04" + b"x" * limits.LABELS.allowed, "larger than 16 MiB")


def test_lists_that_name_each_other_do_not_grow_without_end():
    nested = []
    for _ in range(5):
        nested = [nested] * 40  # 40 to the power of 5 values in 400 bytes
    data = pickle.dumps([{"x": nested}])
    assert len(pickletools.optimize(data)) < 2000
    refused(data, "the values of a pickle are more than 100000")
    loop: list = []
    loop.append(loop)
    refused(pickle.dumps([loop]), "nested too deeply")
