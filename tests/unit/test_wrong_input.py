"""`scripts/bench/wrong_input.py` measures right: pixels of turned pictures, label errors, words, verdicts."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "bench"))

from wrong_input_captures import TURNS, View, simulate_options, turned_px  # noqa: E402
from wrong_input_judge import judge, markdown, summarise  # noqa: E402
from wrong_input_right import INTACT, RIGHT  # noqa: E402
from wrong_input_run import CASES, Label, Outcome, label_error_px, reference_name  # noqa: E402
from wrong_input_words import WORDS, find_word, new_lines, output_lines, shortened  # noqa: E402
from wrong_input_wrong import WRONG  # noqa: E402

WIDTH, HEIGHT = 7, 5


@pytest.mark.parametrize("turn", TURNS)
def test_pixels_turn_as_pictures_do(turn):
    image = np.zeros((HEIGHT, WIDTH))
    image[1, 5] = 1
    turned = TURNS[turn][0](image)
    row, column = np.argwhere(turned)[0]
    moved = turned_px(np.array([[5.0, 1.0]]), View("cam_0", (0,), "cam_0.mp4", turn), (WIDTH, HEIGHT))
    np.testing.assert_array_equal(moved, [[column, row]])


def test_resized_pictures_keep_the_centre():
    view = View("cam_0", (0,), "cam_0.mp4", "turned_90", size_px=(10, 14))
    moved = turned_px(np.array([[3.0, 2.0]]), view, (WIDTH, HEIGHT))  # the centre of 7 x 5, turned to 5 x 7
    np.testing.assert_allclose(moved, [[4.5, 6.5]])


def test_label_error():
    truth = np.zeros((21, 2))
    assert label_error_px(truth + [3.0, 4.0], (truth, np.ones(21, bool))) == 5.0
    assert label_error_px(truth, None) == np.inf


def _found(case, errors_px, lines=(), **fields):
    """Outcomes of a case and of its intact run, whose labels are all off by 1 px."""
    intact = [Label((frame, "right"), "cam_0", 1.0) for frame in range(10)]
    labels = [Label((frame, "right"), "cam_0", error) for frame, error in enumerate(errors_px)]
    outcome = Outcome(case.name, labels=labels, lines=list(lines), frames=set(range(10)), **fields)
    reference = Outcome(reference_name(case), labels=intact, lines=["views accepted 10"])
    return judge(outcome, {reference.name: reference, outcome.name: outcome})


def test_wrong_labels_are_silent_unless_named():
    case = next(case for case in WRONG if case.kind == "mirrored")
    silent = _found(case, [1, 1, 4, np.inf], ["views accepted 4"])
    assert (silent.wrong_views, silent.silent_wrong, silent.said) == (2, 2, None)
    named = _found(case, [1, 1, 4], ["camera cam_1 looks mirrored"])
    assert (named.wrong_views, named.silent_wrong) == (1, 0)
    crashed = _found(case, [], ["mirrored"], crashed="KeyError: 1")
    figures = summarise([silent, named, crashed])
    assert figures["silent_wrong"] == 2
    assert figures["named"] == pytest.approx(1 / 3)
    assert figures["crashed"] == 1
    assert "| mirrored | 3 | 1 | `camera cam_1 looks mirrored` |" in markdown([silent, named, crashed])


def test_right_inputs_are_refused_by_status_or_by_lost_hands():
    case = RIGHT[0]
    assert not _found(case, [1] * 10).refused
    assert _found(case, [1] * 9).refused
    assert _found(case, [1] * 9 + [30]).refused
    assert _found(case, [1] * 10, statuses={"annotate CAPTURE": 1}).refused


def test_words_of_usual_lines_do_not_count():
    lines = output_lines(
        "frame rates   4   0\nnegative frame_offset: frame 3\n/a/b/cam_0.mp4 mirrored", {Path("/a/b"): "X"}
    )
    assert lines == ["negative frame_offset: frame 3", "X/cam_0.mp4 mirrored"]
    assert find_word(lines, ["late", "rate"]) is None
    assert find_word(lines, ["mirrored"]) == "X/cam_0.mp4 mirrored"
    assert new_lines(lines, ["negative frame_offset: frame 17"]) == ["X/cam_0.mp4 mirrored"]
    assert shortened("/a/b/c.mp4 is 1.23456 m") == "c.mp4 is 1.23 m"
    assert shortened("CAPTURE/cam_0.mp4: 25 frames/s") == "cam_0.mp4: 25 frames/s"


def test_offsets_are_named_with_their_number():
    assert find_word(["say in capture.json how they belong together: frame_offset, or timestamps"], ["late"]) is None
    assert find_word(['cam_1: set "frame_offset": 3'], ["late"])


def test_the_tables_are_sound():
    assert len(CASES) == len(WRONG) + len(RIGHT) + len(INTACT)
    assert len(WRONG) >= 45
    assert len(RIGHT) >= 25
    assert len(INTACT) == 12
    assert all(case.words and set(case.words) <= set(WORDS) for case in WRONG)
    seeds = {simulate_options(base, seed)[-1] for base in {case.base for case in INTACT} for seed in (0, 100)}
    assert len(seeds) == 24
