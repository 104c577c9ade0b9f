"""DeepLabCut's CSV files, made here, and what keypoints are called."""

import numpy as np
import pytest
from support.keypoint_files import assert_hand, detector, dlc_csv, hand

from handgen.detect.keypoint_files.names import keypoint_of, places_of, side_of
from handgen.errors import HandgenError
from handgen.hand.skeleton import KEYPOINT_NAMES


def test_deeplabcut_of_one_hand(tmp_path, rng):
    values = hand(rng)
    partial = values.copy()
    partial[3] = np.nan
    order = rng.permutation(21).tolist()
    dlc_csv(tmp_path / "cam0DLC_resnet50_handsMay1shuffle1_100000.csv", {0: [values], 4: [partial]}, order=order)
    (tmp_path / "cam0DLC_resnet50_handsMay1shuffle1_100000.h5").write_bytes(b"\x89HDF\r\n\x1a\n")  # written with it
    with pytest.raises(HandgenError, match="does not say which hand it is; give --hands left or --hands right"):
        detector(tmp_path, cameras=("cam0",))
    view = detector(tmp_path, "right", ("cam0",)).start("cam0")
    assert_hand(view.detect(None, 0)[0], values, 1)
    (found,) = view.detect(None, 4)
    assert found.confidence[3] == 0 and np.isfinite(found.keypoints_px).all() and view.detect(None, 1) == []


def test_deeplabcut_individuals_and_names_say_the_side(tmp_path, rng):
    a, b = hand(rng), hand(rng)
    nothing = np.full((21, 3), np.nan)
    path = tmp_path / "cam0.csv"
    dlc_csv(path, {0: [a, b], 1: [nothing, a]}, individuals=["Left", "hand_right"])
    view = detector(tmp_path, cameras=("cam0",)).start("cam0")
    left, right = view.detect(None, 0)
    assert_hand(left, a, 0)
    assert_hand(right, b, 1)
    (alone,) = view.detect(None, 1)
    assert_hand(alone, a, 1)
    dlc_csv(path, {0: [a]}, names=[f"R_{name.replace('_', ' ').title()}" for name in KEYPOINT_NAMES])
    assert_hand(detector(tmp_path, "left", ("cam0",)).start("cam0").detect(None, 0)[0], a, 1)
    dlc_csv(path, {0: [a]}, coords=("x", "y"))  # without likelihoods every place counts
    assert detector(tmp_path, "left", ("cam0",)).start("cam0").detect(None, 0)[0].confidence.tolist() == [1.0] * 21
    dlc_csv(path, {0: [a, b]}, individuals=["individual1", "individual2"])
    with pytest.raises(HandgenError, match="2 individuals, but two of one side .*call them left and right"):
        detector(tmp_path, "left", ("cam0",))


def test_deeplabcut_names_that_do_not_fit(tmp_path, rng):
    names = list(KEYPOINT_NAMES)
    names[20], names[5] = "elbow", "thumb 4"
    dlc_csv(tmp_path / "cam0.csv", {0: [hand(rng)]}, names=names)
    with pytest.raises(HandgenError) as error:
        detector(tmp_path, "left", ("cam0",))
    assert "unknown names: elbow; missing keypoints: index_mcp, pinky_tip; named twice: thumb 4" in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\n1,", "\n0,", "row 5: frame 0 is there twice"),
        ("\n1,", "\nlabeled-data/img01.png,", "row 5: .*is no frame number; labelled images"),
        ("\n1,", "\n-1,", "is no frame number"),
        ("\n1,", "\n1,x", "row 5: could not convert string"),
        ("coords", "cords", "no header rows"),
        ("bodyparts,", "bodyparts,wrist,", "of the same length"),
        (",y,", ",z,", "no coords x and y"),
    ],
)
def test_deeplabcut_files_that_do_not_fit(tmp_path, rng, old, new, message):
    path = dlc_csv(tmp_path / "cam0.csv", {0: [hand(rng)], 1: [hand(rng)]})
    text = path.read_text().replace("\r\n", "\n")
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(HandgenError, match=message):
        detector(tmp_path, "left", ("cam0",))


def test_deeplabcut_files_that_cannot_be_read(tmp_path, rng):
    path = dlc_csv(tmp_path / "cam0.csv", {0: [hand(rng)], 1: [hand(rng)]})
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(HandgenError, match="row 5: fewer columns than the header; is the file truncated"):
        detector(tmp_path, "left", ("cam0",))
    path.write_bytes(b"scorer,\xff\n")
    with pytest.raises(HandgenError, match="cannot be read as CSV"):
        detector(tmp_path, "left", ("cam0",))
    path.rename(tmp_path / "cam0.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(HandgenError, match="HDF5 is not read; export DeepLabCut's keypoints as CSV"):
        detector(tmp_path, "left", ("cam0",))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Wrist", ("wrist", None)),
        ("thumb1", ("thumb_cmc", None)),
        ("Thumb_MCP", ("thumb_mcp", None)),
        ("THUMB-4", ("thumb_tip", None)),
        ("INDEX_FINGER_TIP", ("index_tip", None)),
        ("forefinger2", ("index_pip", None)),
        ("little.finger.3", ("pinky_dip", None)),
        ("left_hand_root", ("wrist", "left")),
        ("right_ring_finger1", ("ring_mcp", "right")),
        ("ring 2 R", ("ring_pip", "right")),
        ("leftThumb1", ("thumb_cmc", "left")),
        ("middle_dip", ("middle_dip", None)),
        ("thumb_pip", None),
        ("index_5", None),
        ("elbow", None),
        ("", None),
        ("left", None),
    ],
)
def test_names_of_keypoints(text, expected):
    assert keypoint_of(text) == expected


def test_every_name_of_ours_is_known_and_sides_are():
    assert places_of(KEYPOINT_NAMES, "x") == {None: tuple(range(21))}
    both = [f"{side}-{name}" for side in ("left", "right") for name in KEYPOINT_NAMES]
    assert places_of(both, "x") == {"left": tuple(range(21)), "right": tuple(range(21, 42))}
    with pytest.raises(HandgenError, match="missing keypoints: right pinky_tip; rename"):
        places_of(both[:-1], "x")
    assert [side_of(t) for t in ("Left", "r", "hand_right", "rightHand", "mouse1", "", "left or right")] == [
        *("left", "right", "right", "right", None, None, None)
    ]
