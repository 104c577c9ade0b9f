"""Labels that are pickled, and pickles that are meant to harm."""

import pickle
import pickletools

import numpy as np
import pytest
from support.pickle_attacks import PROTOCOLS, attacks

from handgen.errors import HandgenError
from handgen.storage.plain_pickle import MAX_BYTES, read_labels

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


def test_what_is_no_label_is_refused_in_one_line():
    refused(pickle.dumps([{"x": np.array([{}, {}], object)}]), "several Python objects")
    refused(pickle.dumps([{"x": b"bytes"}]), "it holds a bytes")
    refused(pickle.dumps([{"x": np.array(["text"])}]), "dtype U4")
    refused(pickle.dumps(LABELS)[:-20], "not a readable pickle")
    refused(b"\x80\x04" + b"x" * MAX_BYTES, "larger than 16 MiB")


def test_lists_that_name_each_other_do_not_grow_without_end():
    nested = []
    for _ in range(7):
        nested = [nested] * 40  # 40 to the power of 7 values in 400 bytes
    data = pickle.dumps([{"x": nested}])
    assert len(pickletools.optimize(data)) < 2000
    refused(data, "more than 100000 values")
    loop: list = []
    loop.append(loop)
    refused(pickle.dumps([loop]), "nested too deeply")
