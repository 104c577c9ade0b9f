"""People give other things to `models add` than MANO's two files: folders, web pages, pointers, npz, more betas."""

import re

import numpy as np
import pytest
from click.testing import CliRunner
from support.make_mano_pickle import Ch, mano_pickle

from handgen.cli.main import main
from handgen.errors import HandgenError
from handgen.hand import mano
from handgen.hand.model_files import load_hand, mano_path
from handgen.hand.skeleton import SIDES


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HANDGEN_CACHE", str(tmp_path / "cache"))


def write_both(folder):
    folder.mkdir(parents=True)
    for side in SIDES:
        (folder / f"MANO_{side.upper()}.pkl").write_bytes(mano_pickle(side))
    (folder / "SMPLH_female.pkl").write_bytes(b"something else")
    return folder


@pytest.mark.parametrize("place", ["", "models", "mano"])
def test_the_two_files_of_a_folder_are_taken(tmp_path, place):
    write_both(tmp_path / "given" / place)
    result = CliRunner().invoke(main, ["models", "add", str(tmp_path / "given")])
    assert result.exit_code == 0, result.output
    assert all(mano_path(side).is_file() for side in SIDES)


def test_a_folder_without_them_is_named(tmp_path):
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "SMPLH_female.pkl").write_bytes(b"something else")
    with pytest.raises(HandgenError, match=r"given: holds no MANO_RIGHT.pkl or MANO_LEFT.pkl; get MANO_RIGHT.pkl"):
        mano.add([tmp_path / "given"])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "a web page, not a model: the download asked"),
        (b"\xef\xbb\xbf\n <html lang='en'>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4000000\n", "a pointer of Git LFS"),
        (b"\x1f\x8b\x08\x00packed", "packed with gzip"),
    ],
)
def test_what_is_no_model_is_named_as_what_it_is(tmp_path, data, words):
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(data)
    with pytest.raises(HandgenError, match=f"MANO_RIGHT.pkl: {words}.*mano.is.tue.mpg.de"):
        mano.add([path])


def npz(path, side="right", **changed):
    arrays = load_hand("open", side)
    parents = np.array([[4294967295, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14], range(16)])
    fields = {
        "v_template": arrays.template,
        "f": arrays.faces,
        "shapedirs": arrays.shapedirs,
        "posedirs": arrays.posedirs,
        "J_regressor": arrays.joint_regressor,
        "weights": arrays.weights,
        "kintree_table": parents,
        "hands_mean": arrays.mean_pose,
        "hands_components": arrays.pose_components,
    }
    fields["kintree_table"][0, 0] = 0
    np.savez(path, **{key: changed.get(key, value) for key, value in fields.items()})
    return path


def test_an_npz_with_a_sparse_regressor_says_so(tmp_path):
    sparse = np.empty((), object)
    sparse[()] = {"a": "csc_matrix"}
    path = npz(tmp_path / "right.npz", J_regressor=sparse)
    expected = (
        r"right.npz: J_regressor: .*a sparse matrix or another Python object.*J_regressor.toarray\(\), or give the"
    )
    with pytest.raises(HandgenError, match=expected):
        mano.add([path])


def more_betas(side):
    """The open hand's ten shape directions, then ten of nothing that matters."""
    own = load_hand("open", side).shapedirs
    return np.concatenate([own, np.full_like(own, 7.0)], 2)


def test_of_twenty_betas_ten_are_taken(tmp_path):
    paths = [npz(tmp_path / f"MANO_{side.upper()}.npz", side, shapedirs=more_betas(side)) for side in SIDES]
    result = CliRunner().invoke(main, ["models", "add", *map(str, paths)])
    assert result.exit_code == 0, result.output
    assert len(re.findall("the first 10 of its 20 betas are used", result.output)) == 2
    for side in SIDES:
        np.testing.assert_array_equal(load_hand("mano", side).shapedirs, load_hand("open", side).shapedirs)


def test_of_a_pickle_with_twenty_betas_too(tmp_path):
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(mano_pickle("right", shapedirs=Ch(more_betas("right"))))
    [hand] = mano.add([path])
    assert hand.remarks == ("the first 10 of its 20 betas are used",)
    np.testing.assert_array_equal(load_hand("mano", "right").shapedirs, load_hand("open", "right").shapedirs)
