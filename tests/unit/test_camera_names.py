"""Files find their cameras by the name or number in their own."""

import pytest
from support.captures import make_capture, small_rig, write_video

from handgen.errors import HandgenError
from handgen.io.capture.capture import load_capture


def matched(tmp_path, cameras, files):
    """File of each camera, and the notes; every file is a video of its own."""
    for index, file in enumerate(files):
        write_video(tmp_path / f"{index}.mp4", index, 3).rename(tmp_path / file)
    make_capture(tmp_path, frames=(), rig=small_rig(*cameras))
    capture = load_capture(tmp_path)
    return dict(zip(cameras, (source.path.name for source in capture.sources), strict=True)), capture.notes


@pytest.mark.parametrize(
    ("cameras", "files"),
    [
        ("CABD", ["GX010012_camC.MOV", "GX010034_camA.MOV", "GX010007_camB.MOV", "GX010034_camD.MOV"]),
        ("CAB", ["take3 CamC.MP4", "take3 CAMA.mp4", "take3-b.mp4"]),
        (("cam_2", "cam_1"), ["rec-0001-cam02.mp4", "rec-0002-cam01.mp4"]),
        (("Left", "front left"), ["s7_left.mp4", "s7_front_left.mp4"]),
        (("A", "B"), ["camA_take1.mp4", "camB_take1.mp4"]),
        (("kitchen", "Hall"), ["Kitchen.avi", "hall.AVI"]),
        (("0", "1"), ["day2_cam_0.mp4", "day2_cam_1.mp4"]),
        (("c12", "c7"), ["gopr0012.mp4", "gopr0007.mp4"]),
        (("cam1", "cam2"), ["cam1_000.mp4", "cam2_000.mp4"]),
    ],
)
def test_names_are_found_in_file_names(cameras, files, tmp_path):
    found, notes = matched(tmp_path, tuple(cameras), files)
    assert list(found.values()) == files and notes == ()


def test_order_is_left_where_no_name_is_found(tmp_path):
    found, notes = matched(tmp_path, ("a", "b"), ["links.mp4", "rechts.mp4"])
    assert list(found.values()) == ["links.mp4", "rechts.mp4"] and "by order" in notes[0]


def test_names_that_say_two_things_are_an_error(tmp_path):
    with pytest.raises(HandgenError, match=r"may both be camera c0, .*list cameras and files in capture\.json"):
        matched(tmp_path, ("c0", "c1"), ["x0_y1.mp4", "x1_y0.mp4"])


def test_a_name_that_is_found_forbids_the_order(tmp_path):
    with pytest.raises(HandgenError, match=r"camera D of calibration\.json has no video"):
        matched(tmp_path, ("A", "B", "C", "D"), [f"cam{c}.mp4" for c in "CABE"])
