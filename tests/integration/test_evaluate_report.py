import json
import re

import numpy as np
import pytest
from PIL import Image
from support.commands import invoke
from support.evaluate import changed, moved, write_truth

from handgen.errors import HandgenError
from handgen.stages.evaluate.config import EvaluateConfig
from handgen.stages.evaluate.stage import run
from handgen.storage.documents import validate


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return write_truth(tmp_path_factory.mktemp("evaluate") / "truth")


@pytest.fixture(scope="module")
def annotations(truth, tmp_path_factory):
    """Each frame 2 mm worse than the one before, and one hand missing; the subject's name is not harmless."""

    def worse(record):
        if (record.frame, record.side) == (5, "left"):
            return None
        return moved(record, np.array([0.002 * (record.frame + 1), 0.0, 0.0]))

    return changed(truth, tmp_path_factory.mktemp("evaluate") / "<b>ours", worse)


@pytest.fixture(scope="module")
def report_dir(truth, annotations, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate") / "report"
    run(annotations, truth, EvaluateConfig(workers=1, worst=3), report_dir=folder)
    return folder


def test_the_page_shows_the_worst_frames_first(report_dir):
    page = (report_dir / "report.html").read_text()
    shown = re.findall(r"<b>(\d+)\. frame (\d+), (left|right)</b>: ([\d.]+) mm", page)
    assert [(int(rank), int(frame)) for rank, frame, *_ in shown] == [(1, 5), (2, 4), (3, 4)]
    assert shown[0][2:] == ("right", "12.0")
    assert page.index("The worst hands") < page.index("<h2>Plots") < page.index("<h2>All figures")
    assert "1 missed</b>: 5 left" in page


def test_the_page_needs_nothing_else_and_escapes_names(report_dir):
    page = (report_dir / "report.html").read_text()
    assert not re.search(r"(src|href)=\"(?!data:)", page) and "<script" not in page
    assert "<b>ours" not in page and "&lt;b&gt;ours" in page
    assert page.count("data:image/jpeg") == 3 and page.count("data:image/png") == 4


def test_pictures_and_plots_lie_beside_it(report_dir):
    names = sorted(str(path.relative_to(report_dir)) for path in report_dir.rglob("*") if path.is_file())
    assert names == [
        "evaluation.json",
        "plots/frames.png",
        "plots/keypoints.png",
        "plots/masks.png",
        "plots/pck.png",
        "report.html",
        "run.json",
        "worst/01_00000005_right.png",
        "worst/02_00000004_left.png",
        "worst/03_00000004_right.png",
    ]
    with Image.open(report_dir / "worst/01_00000005_right.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
    for color in ((255, 70, 200), (0, 255, 220)):  # the true skeleton, the annotated mask
        assert (np.abs(pixels - color).max(1) < 40).sum() > 50


def test_the_document_is_what_the_command_prints(truth, annotations, report_dir):
    document = json.loads((report_dir / "evaluation.json").read_text())
    validate(document, "evaluation", "evaluation.json")
    result = invoke("evaluate", annotations, "--truth", truth, "--workers", 1, "--worst", 3, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) | {"seconds": 0} == document | {"seconds": 0}


def test_a_report_replaces_no_other(truth, annotations, report_dir, tmp_path):
    again = run(annotations, truth, EvaluateConfig(workers=1, worst=3), report_dir=report_dir)
    assert again.mean_absolute_mm == pytest.approx(np.mean([2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12]), abs=0.01)
    with pytest.raises(HandgenError, match="worst: 3 there, 2 now"):
        run(annotations, truth, EvaluateConfig(workers=1, worst=2), report_dir=report_dir)
    foreign = tmp_path / "photos"
    foreign.mkdir()
    (foreign / "a.txt").write_text("mine")
    with pytest.raises(HandgenError, match="something other than evaluation"):
        run(annotations, truth, EvaluateConfig(workers=1), report_dir=foreign, overwrite=True)
    ours = tmp_path / "report"
    run(annotations, truth, EvaluateConfig(workers=1, worst=1), report_dir=ours)
    (ours / "my_notes.txt").write_text("kept")
    run(annotations, truth, EvaluateConfig(workers=1, worst=0), report_dir=ours, overwrite=True)
    assert not (ours / "worst").exists() and (ours / "my_notes.txt").read_text() == "kept"


def test_the_table_names_every_figure(truth, annotations):
    result = invoke("evaluate", annotations, "--truth", truth, "--workers", 1)
    assert result.exit_code == 0, result.output
    for text in (
        "91.7 % (11 of 12)",
        "MPJPE, absolute",
        "Procrustes",
        "vertex error",
        "mask IoU",
        "boundary F",
        "mm/s^2",
    ):
        assert text in result.output
