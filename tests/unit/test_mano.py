"""MANO's files into the cache and out again, on files of its format made of the open hand."""

import json
import pickle
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from support.make_mano_pickle import Call, Ch, Csc, clean_state, mano_pickle

from handgen.cli.main import main
from handgen.errors import HandgenError
from handgen.hand import mano
from handgen.hand.model import HandModel
from handgen.hand.model_files import NAMED_MODELS, NamedModel, load_hand, mano_path
from handgen.hand.skeleton import MIRROR_X, SIDES

ARRAYS = ("template", "shapedirs", "posedirs", "joint_regressor", "weights", "mean_pose", "pose_components", "faces")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("HANDGEN_CACHE", str(folder))
    return folder


@pytest.fixture
def files(tmp_path):
    """Writes a file of a side."""

    def write(side, name=None, **options):
        path = tmp_path / (name or f"MANO_{side.upper()}.pkl")
        path.write_bytes(mano_pickle(side, **options))
        return path

    return write


def handgen(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def is_the_open_hand(side):
    ours, theirs = load_hand("open", side), load_hand("mano", side)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(theirs, name), getattr(ours, name))
    np.testing.assert_array_equal(theirs.joint_limits_rad, ours.joint_limits_rad)


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_official_files_load_without_chumpy(files, protocol):
    result = handgen("models", "add", *(files(side, protocol=protocol) for side in SIDES))
    assert result.exit_code == 0, result.output
    assert "MANO's right hand" in result.output and "mended" not in result.output
    assert "chumpy" not in sys.modules
    for side in SIDES:
        is_the_open_hand(side)
        assert load_hand("mano", side).note == ""


def test_the_hand_is_compared_with_smplx_s_own_kinematics(files, cache, monkeypatch):
    result = handgen("models", "add", *(files(side, sign_fault=True) for side in SIDES), "--json")
    for row in json.loads(result.output):
        assert 0 < row["smplx_difference_mm"] < 1e-4
    found = re.findall(r"within (\S+) mm of smplx's own kinematics", handgen("models", "add", files("right")).output)
    assert found and all(0 < float(mm) < 1e-4 for mm in found)
    before = mano_path("right").read_bytes()

    class WithoutCorrectives(HandModel):
        """A fault of ours, of a kind that only moves vertices."""

        def __init__(self, arrays):
            super().__init__(replace(arrays, posedirs=np.zeros_like(arrays.posedirs)))

    with monkeypatch.context() as patch:
        patch.setattr("handgen.hand.model.HandModel", WithoutCorrectives)
        result = handgen("models", "add", files("right", hands_mean=load_hand("open", "right").mean_pose * 1.1))
    assert result.exit_code == 1 and result.output.count("\n") == 1
    assert re.search(r"posed by handgen and by smplx, this right hand differs by \d\S* mm; nothing was", result.output)
    assert mano_path("right").read_bytes() == before
    monkeypatch.setitem(sys.modules, "smplx", None)
    assert "not compared with smplx" in handgen("models", "add", files("right")).output


def test_a_model_with_a_name_is_an_entry_of_the_table(tmp_path, monkeypatch):
    mine = NamedModel(lambda side: tmp_path / f"mine_{side}.npz", "make it by `make MINE_{SIDE}`")
    monkeypatch.setitem(NAMED_MODELS, "mine", mine)
    with pytest.raises(HandgenError, match=r"mine_left.npz: the left hand of model 'mine' .*`make MINE_LEFT`"):
        load_hand("mine", "left")
    np.savez(tmp_path / "mine_left.npz", **clean_state("left"))
    assert load_hand("mine", "left").name == "mine"
    with pytest.raises(HandgenError, match="use `open`, `mano`, `mine`, or the path"):
        load_hand("yours", "left")


def test_bytes_in_the_cache_depend_on_the_values_alone(files, tmp_path):
    paths = {"clean.pkl": pickle.dumps(clean_state("right")), "official.pkl": mano_pickle("right", 0)}
    for name, data in paths.items():
        (tmp_path / name).write_bytes(data)
    state = clean_state("right")
    np.savez_compressed(tmp_path / "clean.npz", **state)
    np.savez(tmp_path / "faces.npz", **{("faces" if k == "f" else k): v for k, v in state.items()})
    found = set()
    for name in (*paths, "clean.npz", "faces.npz"):
        assert [hand.side for hand in mano.add([tmp_path / name])] == ["right"]
        found.add(mano_path("right").read_bytes())
    assert len(found) == 1
    mano.add([mano_path("right")])  # its own output too
    assert mano_path("right").read_bytes() in found
    is_the_open_hand("right")


@pytest.mark.parametrize("order", [("right", "left"), ("left", "right"), ("left",), ("left then right",)])
def test_the_left_hands_sign_fault_is_mended_and_recorded(files, order):
    if order == ("left then right",):
        mano.add([files("left", sign_fault=True)])
        assert [hand.side for hand in mano.add([files("right")])] == ["right"]
    else:
        mano.add([files(side, sign_fault=side == "left") for side in order])
    is_the_open_hand("left")
    assert load_hand("mano", "left").note == mano.MENDED
    if "right" in order:
        assert load_hand("mano", "right").note == ""
    rows = {row["name"]: row for row in json.loads(handgen("models", "list", "--json").output)}
    assert rows["mano_left.npz"]["mended"] == mano.MENDED
    assert "mended" in handgen("models", "list").output
    again = mano_path("left").read_bytes()
    mano.add([mano_path("left")])  # a mended hand is mended once
    assert mano_path("left").read_bytes() == again


def test_the_fault_changes_what_the_betas_do_and_mending_undoes_it(files):
    faulty = mano._read(files("left", sign_fault=True)).arrays["shapedirs"]
    right = load_hand("open", "right").shapedirs
    np.testing.assert_allclose(faulty, right, atol=1e-12)  # not mirrored
    mano.add([files("left", sign_fault=True)])
    np.testing.assert_allclose(load_hand("mano", "left").shapedirs, right * np.array(MIRROR_X)[:, None], atol=1e-12)


def test_a_left_hand_judged_alone_is_judged_again_by_the_right(files):
    """In models whose long hands are slender, the left's own shapes mislead; the right hand knows."""
    odd = np.array([1.0, 1.0, -1.0])[:, None]
    odd_left = Ch(load_hand("open", "left").shapedirs * odd)
    mano.add([files("left", shapedirs=odd_left)])
    assert load_hand("mano", "left").note == mano.MENDED  # in error
    mano.add([files("right", shapedirs=Ch(load_hand("open", "right").shapedirs * odd))])
    assert load_hand("mano", "left").note == ""
    np.testing.assert_allclose(load_hand("mano", "left").shapedirs, odd_left.state["x"], atol=1e-12)
    none = np.zeros((778, 3, 10))
    mano_path("right").unlink()
    with pytest.raises(HandgenError, match=r"add MANO_RIGHT.pkl and MANO_LEFT.pkl together"):
        mano.add([files("left", shapedirs=Ch(none))])


def test_the_side_is_told_by_the_hand_not_by_the_name(files):
    result = handgen("models", "add", files("right", name="MANO_LEFT.pkl"))
    assert result.exit_code == 0 and "MANO_LEFT.pkl is called left, but holds a right hand" in result.output
    is_the_open_hand("right")
    assert not mano_path("left").exists()
    with pytest.raises(HandgenError, match=r"a right hand, like .*give one file per side"):
        mano.add([files("right"), files("right", name="other.pkl")])


def test_a_missing_mano_says_how_to_get_it(tmp_path):
    with pytest.raises(HandgenError, match=r"`handgen models add MANO_LEFT.pkl` with the file from mano.is.tue"):
        load_hand("mano", "left")
    result = handgen("models", "add", tmp_path / "MANO_RIGHT.pkl")
    assert result.exit_code == 1 and "mano.is.tue.mpg.de (registration; non-commercial" in result.output
    assert "not added" in handgen("models", "list").output
    assert not any(
        row["installed"] for row in json.loads(handgen("models", "list", "--json").output) if "mano" in row["name"]
    )


def test_a_hand_that_is_added_again_is_read_again(files):
    mano.add([files("right")])
    before = load_hand("mano", "right")
    assert load_hand("mano", "right") is before
    mano.add([files("right", hands_mean=load_hand("open", "right").mean_pose * 1.1)])
    assert load_hand("mano", "right").sha256 != before.sha256


def smpl_state():
    return {"v_template": np.zeros((6890, 3)), "weights": np.zeros((6890, 24)), "J_regressor": Csc(np.eye(24, 6890))}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (smpl_state(), r"SMPL's or SMPL\+H's body \(6890 vertices\), not a hand"),
        ({"v_template": np.zeros((10475, 3))}, "SMPL-X's body"),
        ({"v_template": np.zeros((700, 3))}, r"v_template must have shape \(778, 3\), got \(700, 3\)"),
        ({"v_template": np.full((778, 3), np.nan)}, "v_template holds a value that is not finite"),
        ({"v_template": np.full((778, 3), np.inf)}, "not finite"),
        ({"v_template": np.full((778, 3), 1e308)}, "v_template holds 1e.308; is it in metres"),
        ({"v_template": np.full((778, 3), 1e3)}, "which is no hand"),
        ({"v_template": np.zeros(())}, "v_template must have shape"),
        ({"v_template": None}, "has no 'v_template'"),
        ({"weights": np.zeros((778, 24))}, "weights must have shape"),
        ({"shapedirs": Ch(np.zeros((778, 3, 8)))}, r"shapedirs must have shape \(778, 3, 10\), got \(778, 3, 8\)"),
        ({"J_regressor": Csc(np.eye(24, 778))}, "J_regressor must have shape"),
        ({"f": np.full((10, 3), 778)}, "f names vertex 778"),
        ({"f": np.zeros((3113, 3), int)}, "f has 3113 triangles; MANO has 1538"),
        ({"kintree_table": np.stack([np.arange(16) - 1, np.arange(16)])}, "parents"),
        ({"hands_mean": np.full(45, 1e308)}, "hands_mean holds 1e.308"),
        ({"hands_mean": np.zeros(45)}, "do not point as those of MANO's hands"),
        ({"v_template": load_hand("open", "right").template * 1000}, "MANO's files are in metres"),
        ({"v_template": load_hand("open", "right").template * [1, -1, -1]}, "do not point"),
        ({"v_template": load_hand("open", "right").template * [1, 1, -1]}, "do not point"),
        ({"v_template": load_hand("open", "right").template[:, [1, 2, 0]]}, "do not point"),
        ({"v_template": "text"}, "has no 'v_template'"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_no_hand_of_manos_is_refused_by_fact(files, cache, changes, message):
    path = files("right", **changes)
    result = handgen("models", "add", path)
    assert result.exit_code == 1 and not cache.exists()
    assert result.output.startswith(f"Error: {path}: ") and result.output.count("\n") == 1
    with pytest.raises(HandgenError, match=message):
        mano.add([path])


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_a_hostile_file_is_refused_and_nothing_runs(files, cache, tmp_path, protocol):
    ran = tmp_path / "ran"
    path = files("right", protocol=protocol, v_template=Call("posix system", f"touch {ran}"))
    result = handgen("models", "add", files("left"), path)
    assert result.exit_code == 1 and "names posix.system" in result.output and result.output.count("\n") == 1
    assert not ran.exists() and not cache.exists()
    command = [sys.executable, "-c", "import pickle, sys; pickle.load(open(sys.argv[1], 'rb'), encoding='latin1')"]
    subprocess.run([*command, str(path)], capture_output=True, check=False)
    assert ran.exists()  # it does run where it is let: the check above means something


def test_a_recursion_bomb_is_refused(tmp_path):
    path = tmp_path / "MANO_RIGHT.pkl"
    for data in (b"}U\x01a" + b"N" + b"\x85" * 100_000 + b"s.", b"(" * 100_000 + b"t" * 100_000 + b"."):
        path.write_bytes(data)
        result = handgen("models", "add", path)
        assert result.exit_code == 1 and result.output.count("\n") == 1


def test_the_archive_of_manos_page_is_named(tmp_path):
    path = tmp_path / "mano_v1_2.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mano_v1_2/models/MANO_RIGHT.pkl", b"")
    with pytest.raises(HandgenError, match="unpack it and give"):
        mano.add([path])
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(HandgenError, match="cannot be read as a zip"):
        mano.add([path])
    with pytest.raises(HandgenError, match="holds no MANO_RIGHT.pkl"):
        mano.add([tmp_path])


def test_a_damaged_cache_is_named(files):
    mano.add([files("right")])
    data = mano_path("right").read_bytes()
    mano_path("right").write_bytes(data[:100_000])
    for command in (("list",), ("list", "--json")):
        result = handgen("models", *command)
        assert result.exit_code == 1 and str(mano_path("right")) in result.output
    mano.add([files("right")])
    assert mano_path("right").read_bytes() == data


def test_files_are_written_by_the_script(tmp_path):
    script = Path(__file__).parents[1] / "support" / "make_mano_pickle.py"
    subprocess.run([sys.executable, str(script), str(tmp_path), "--protocol", "1", "--sign-fault"], check=True)
    added = {hand.side: hand for hand in mano.add([tmp_path / "MANO_RIGHT.pkl", tmp_path / "MANO_LEFT.pkl"])}
    assert added["left"].note == mano.MENDED and added["right"].note == ""
