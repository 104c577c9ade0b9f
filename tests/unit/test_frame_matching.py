"""Frames of several cameras belong together by what the files say of them, and by order when nothing else is known."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.captures import make_capture, numbered_image, seen, small_rig, write_images, write_timed_video, write_video

from handgen.errors import HandgenError
from handgen.io.calibration_files.handgen_json import save_calibration
from handgen.io.capture.capture import load_capture
from handgen.io.capture.frame_matching import match_by_number, match_by_time, missing_numbers
from handgen.media.image_folder import frame_numbers, open_image_folder

FRAME_MS = 1000 / 30


def folders(path, *cameras, names=("image{}.png",) * 9, settings=None):
    """A capture of picture folders. cameras: the numbers of each one's pictures."""
    for camera, (frames, name) in enumerate(zip(cameras, names, strict=False)):
        write_images(path / f"cam{camera}", camera, frames, name)
    make_capture(path, frames=(), rig=small_rig(*(f"cam{c}" for c in range(len(cameras)))), settings=settings)
    return load_capture(path)


def videos(path, *cameras, suffix=".mp4", settings=None):
    """A capture of videos. cameras: frame numbers of each one, at 30 frames/s, or (numbers, times in ms)."""
    for camera, frames in enumerate(cameras):
        numbers, times = frames if isinstance(frames, tuple) else (frames, [f * FRAME_MS for f in frames])
        write_timed_video(path / f"cam{camera}{suffix}", camera, numbers, times)
    make_capture(path, frames=(), rig=small_rig(*(f"cam{c}" for c in range(len(cameras)))), settings=settings)
    return load_capture(path)


def same_moment(capture) -> bool:
    """Whether all pictures of a moment have the same number, and at least two cameras one."""
    rows = [[image[1] for image in row if image] for row in seen(capture)]
    return all(len(row) > 1 and len(set(row)) == 1 for row in rows)


def without(count, *missing):
    return [i for i in range(count) if i not in missing]


def test_pictures_are_matched_by_number_and_holes_are_told(tmp_path):
    capture = folders(tmp_path, without(20, 4, 5), without(20, 11, 13), range(20))
    assert capture.frame_count == 20 and same_moment(capture)
    assert capture.source_frames[4].tolist() == [-1, 4, 4] and capture.source_frames[12].tolist() == [10, 11, 12]
    assert "camera cam0: 2 pictures missing, the first is number 4" in capture.notes
    assert "camera cam1: 2 pictures missing, the first is number 11" in capture.notes
    assert len(capture.notes) == 2


def test_a_first_picture_that_one_of_three_lacks_does_not_cost_the_moment(tmp_path):
    capture = folders(tmp_path, range(1, 10), range(10), range(10))
    assert capture.source_frames[:2].tolist() == [[-1, 0, 0], [0, 1, 1]] and same_moment(capture)
    assert "camera cam0: 1 picture missing, the first is number 0" in capture.notes


def test_numbers_decide_where_folders_begin_differently(tmp_path):
    capture = folders(tmp_path, range(10), range(1, 11))
    assert capture.frame_count == 9 and same_moment(capture)
    assert any("numbered 1 to 9: the cameras have cam0 0 to 9, cam1 1 to 10" in note for note in capture.notes)


@pytest.mark.parametrize(
    ("numbers", "names"),
    [
        ((range(12), range(12)), ("image{}.png", "image{}.png")),
        ((range(0, 60, 5), range(0, 60, 5)), ("f{:04d}.jpg", "cam1_f{:04d}.png")),
        (([0, 1, 2, 50, 51, 52], [0, 1, 2, 50, 51, 52]), ("{}_left.jpg", "take2_{:06d}.jpg")),
        (([7], [7]), ("s1_{}.png", "s2_{}.png")),
    ],
)
def test_equal_numbering_is_the_order_and_silent(numbers, names, tmp_path):
    capture = folders(tmp_path, *numbers, names=names)
    assert (capture.source_frames == np.arange(len(numbers[0]))[:, None]).all()
    assert capture.notes == ()


def test_a_hole_that_all_cameras_have_is_told(tmp_path):
    capture = folders(tmp_path, without(20, 8), without(20, 8))
    assert (capture.source_frames == np.arange(19)[:, None]).all()
    assert "camera cam1: 1 picture missing, the first is number 8" in capture.notes


@pytest.mark.parametrize(
    ("numbers", "names", "said"),
    [
        ((range(5), range(100, 105)), ("a{}.png", "a{}.png"), "too little in common (cam0 0 to 4, cam1 100 to 104)"),
        ((range(0, 10, 2), range(1, 11, 2)), ("a{}.png", "a{}.png"), "too little in common"),
        ((range(5), range(5)), ("a{}.png", "b.png"), "matched by order"),
    ],
)
def test_numbering_that_cannot_be_matched_leaves_the_order_and_is_told(numbers, names, said, tmp_path):
    for camera, (frames, name) in enumerate(zip(numbers, names, strict=True)):
        write_images(tmp_path / f"cam{camera}", camera, frames, name)
    if names[1] == "b.png":
        for letter in "acde":
            cv2.imwrite(str(tmp_path / "cam1" / f"{letter}.png"), numbered_image(1, 0))
    save_calibration(tmp_path / "calibration.json", small_rig("cam0", "cam1"))
    capture = load_capture(tmp_path)
    assert (capture.source_frames == np.arange(5)[:, None]).all()
    assert any(said in note and "by order" in note for note in capture.notes)


def test_pictures_named_by_their_time_are_matched_to_the_nearest(tmp_path):
    """Nanoseconds of two clocks that never say the same number."""
    step, start = 33_333_333, 1_403_636_579_763_555_584
    kept = ([0, 1, 2, 3, 5, 6, 7, 8], range(9))
    for camera, numbers in enumerate(kept):
        (tmp_path / f"cam{camera}").mkdir()
        for number in numbers:
            name = f"{start + number * step + camera * 4_000_017}.png"
            cv2.imwrite(str(tmp_path / f"cam{camera}" / name), numbered_image(camera, number))
    save_calibration(tmp_path / "calibration.json", small_rig("cam0", "cam1"))
    capture = load_capture(tmp_path)
    rows = seen(capture)
    assert len(rows) == 9 and rows[4] == (None, (1, 4)) and rows[8] == ((0, 8), (1, 8))
    assert any("taken for times" in note for note in capture.notes)


def test_offsets_in_capture_json_come_before_numbers(tmp_path):
    settings = {"cameras": {f"cam{i}": {"file": f"cam{i}", "frame_offset": 0} for i in (0, 1)}}
    capture = folders(tmp_path, without(9, 4), without(9, 2), settings=settings)
    assert (capture.source_frames == np.arange(8)[:, None]).all()


def test_a_folder_with_holes_beside_a_video(tmp_path):
    write_video(tmp_path / "cam0.mp4", 0, 12)
    write_images(tmp_path / "videos" / "cam1", 1, ())
    for number in without(12, 5):
        cv2.imwrite(str(tmp_path / "videos" / "cam1" / f"{number + 1}.png"), numbered_image(1, number))
    files = {"cam0": {"file": "cam0.mp4"}, "cam1": {"file": "videos/cam1"}}
    capture = load_capture(make_capture(tmp_path, (), rig=small_rig("cam0", "cam1"), settings={"cameras": files}))
    assert [row[1] for row in seen(capture)] == [None if i == 5 else (1, i) for i in range(12)]
    assert capture.notes == ("camera cam1: 1 picture missing, the first is number 6",)


@pytest.mark.parametrize("names", [("f{}.jpg", "f{}.png"), ("f{}.png", "f{}_mask.png"), ("f{}.png", "f00{}.png")])
def test_a_frame_twice_in_a_folder_is_an_error(names, tmp_path):
    for name in names:
        write_images(tmp_path, 0, 20, name)
    with pytest.raises(HandgenError, match=r"20 frames twice, as f0.* beside f0.*; keep one picture of each frame"):
        open_image_folder(tmp_path)


@pytest.mark.parametrize(
    ("stems", "expected"),
    [
        (["cam1_8", "cam1_9", "cam1_10"], [8, 9, 10]),
        (["000_1700000000123", "001_1700000000456"], [0, 1]),
        (["a1", "b2"], None),
        (["1_1", "2_0"], [1, 2]),
        (["a", "b"], None),
        (["9" * 40, "9" * 41], None),
    ],
)
def test_the_number_in_a_name(stems, expected):
    found = frame_numbers(stems)
    assert (None if found is None else found.tolist()) == expected


@given(data=st.data(), views=st.integers(1, 5))
@settings(max_examples=200)
def test_match_by_number_never_mixes_numbers(data, views):
    own = [np.array(sorted(data.draw(st.sets(st.integers(0, 30), min_size=1)))) for _ in range(views)]
    schedule = match_by_number(own)
    if schedule is not None:
        assert (schedule >= 0).any(1).all()
        for row in schedule:
            assert len({int(own[v][frame]) for v, frame in enumerate(row) if frame >= 0}) == 1


def test_jumps_of_a_numbering_are_no_holes():
    assert missing_numbers(np.array([0, 5, 10, 20])).tolist() == [15]
    assert missing_numbers(np.array([0, 1, 2, 500, 501])).tolist() == []
    assert missing_numbers(np.array([0, 3, 7, 8])).tolist() == []


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_frames_dropped_by_a_camera_are_seen_in_its_times(suffix, tmp_path):
    """Matroska rounds times to milliseconds."""
    capture = videos(tmp_path, range(20), without(20, 4, 5, 6), range(20), suffix=suffix)
    assert capture.frame_count == 20 and same_moment(capture)
    assert capture.source_frames[3:8, 1].tolist() == [3, -1, -1, -1, 4]
    said = "camera cam1: 3 frames missing by the times in its video, the first is frame 4, at 0.133 s"
    assert said in capture.notes
    assert capture.fps == pytest.approx(30, rel=2e-3)


def test_every_camera_may_drop_other_frames(tmp_path):
    dropped = ((3,), (9, 10), (15,))
    capture = videos(tmp_path, *(without(20, *missing) for missing in dropped))
    assert capture.frame_count == 20 and same_moment(capture)
    assert (capture.source_frames < 0).sum(0).tolist() == [1, 2, 1]
    assert sum("missing by the times" in note for note in capture.notes) == 3


def test_few_frames_missing_among_many(tmp_path):
    capture = videos(tmp_path, range(600), without(600, 200, 333, 400))
    assert (capture.source_frames >= 0).sum(0).tolist() == [600, 597] and capture.frame_count == 600
    assert "3 frames missing" in capture.notes[0] and "frame 200" in capture.notes[0]


@pytest.mark.parametrize("slow", [0, 1])
def test_half_the_frame_rate_is_matched_by_time(slow, tmp_path):
    half = (range(0, 40, 2), [f * FRAME_MS for f in range(0, 40, 2)])
    cameras = [range(40), range(40), range(40)]
    cameras[slow] = half
    capture = videos(tmp_path, *cameras)
    assert same_moment(capture) and capture.frame_count == 40
    assert (capture.source_frames[:, slow] >= 0).sum() == 20
    assert any("frame rates differ" in note and "by time" in note for note in capture.notes)
    assert capture.fps == pytest.approx(30)


def test_two_cameras_of_two_rates_have_the_moments_of_the_slower(tmp_path):
    capture = videos(tmp_path, range(40), (range(0, 40, 2), [f * FRAME_MS for f in range(0, 40, 2)]))
    assert same_moment(capture) and capture.frame_count == 20 and capture.fps == pytest.approx(15)


def test_rates_written_as_they_were_measured_do_not_part_frames(tmp_path):
    """Rates a few percent apart, and as many frames: they were measured, and the index says what belongs together."""
    for camera, fps in enumerate((29.1, 30.2)):
        write_video(tmp_path / f"cam{camera}.mp4", camera, 30, fps=fps)
    save_calibration(tmp_path / "calibration.json", small_rig("cam0", "cam1"))
    capture = load_capture(tmp_path)
    assert (capture.source_frames == np.arange(30)[:, None]).all()
    assert any("frame rates differ (29.1, 30.2 frames/s): frames are matched by order" in n for n in capture.notes)


def test_rates_that_drift_apart_are_matched_by_time(tmp_path):
    """30 and 29.7 frames/s for ten seconds end three frames apart."""
    slow = (range(297), [i * 1000 / 29.7 for i in range(297)])
    capture = videos(tmp_path, range(300), slow)
    pairs = capture.source_frames[(capture.source_frames >= 0).all(1)]
    assert np.abs(pairs[:, 0] / 30 - pairs[:, 1] / 29.7).max() <= 0.5 / 29.7 + 1e-3  # half a frame, PTS in 1/90000 s
    assert len(pairs) >= 295


def test_unsteady_times_keep_the_index(tmp_path):
    jitter = np.random.default_rng(0).uniform(-6, 6, (2, 30))  # ms, as phones write them
    capture = videos(tmp_path, *((range(30), [i * FRAME_MS + 10 + j for i, j in enumerate(row)]) for row in jitter))
    assert (capture.source_frames == np.arange(30)[:, None]).all() and capture.notes == ()


def test_offsets_in_capture_json_come_before_times(tmp_path):
    cameras = {f"cam{i}": {"file": f"cam{i}.mp4", "frame_offset": i} for i in (0, 1)}
    capture = videos(tmp_path, range(20), without(20, 4), settings={"cameras": cameras})
    assert (capture.source_frames == np.arange(18)[:, None] + (0, 1)).all()


@given(data=st.data())
@settings(max_examples=100)
def test_match_by_time_gives_every_camera_its_nearest_frame_once(data):
    """Same rate, any frames dropped but the first: every frame finds its own moment."""
    kept = [np.array([0, *sorted(data.draw(st.sets(st.integers(1, 40), min_size=25)))]) for _ in range(3)]
    schedule, step = match_by_time([own * 0.04 for own in kept])
    assert step == pytest.approx(0.04)
    for row in schedule:
        assert len({int(kept[v][frame]) for v, frame in enumerate(row) if frame >= 0}) == 1
    last = min(own[-1] for own in kept)
    for view, own in enumerate(kept):
        used = schedule[:, view][schedule[:, view] >= 0]
        assert used.tolist() == np.flatnonzero(own <= last).tolist()


def stamps(path, lag=1, header="camera,frame,time_s"):
    lines = [f"cam{c},{i},{50 + (i + lag * c) * 0.04}" for c in (0, 1) for i in range(10)]
    (path / "timestamps.csv").write_text("\n".join([header, *lines]))


@pytest.mark.parametrize("below", ["", "videos"])
def test_timestamps_beside_the_videos_are_used_unasked(below, tmp_path):
    (tmp_path / below).mkdir(exist_ok=True)
    for camera in (0, 1):
        write_video(tmp_path / below / f"cam{camera}.mp4", camera, 10)
    save_calibration(tmp_path / "calibration.json", small_rig("cam0", "cam1"))
    stamps(tmp_path / below)
    capture = load_capture(tmp_path)
    assert seen(capture)[1:] == [((0, i), (1, i - 1)) for i in range(1, 10)]
    assert "frames are matched by the times in timestamps.csv" in capture.notes
    assert any("cam1 has no frame near 1 of 10 moments of cam0, the first is its frame 0" in n for n in capture.notes)


def test_timestamps_of_another_kind_are_not_used_and_told(tmp_path):
    stamps(make_capture(tmp_path, frames=(10, 10)), header="nonsense")
    capture = load_capture(tmp_path)
    assert (capture.source_frames == np.arange(10)[:, None]).all()
    assert capture.notes == ("timestamps.csv is not used: it has no column 'camera'",)


def test_offsets_come_before_timestamps_beside_the_videos(tmp_path):
    cameras = {f"cam{i}": {"file": f"cam{i}.mp4", "frame_offset": 0} for i in (0, 1)}
    stamps(make_capture(tmp_path, frames=(10, 10), settings={"cameras": cameras}))
    capture = load_capture(tmp_path)
    assert (capture.source_frames == np.arange(10)[:, None]).all()
    assert "timestamps.csv is not used: capture.json has frame_offset" in capture.notes
