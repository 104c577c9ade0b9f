"""FreiHAND's files that are wrong, missing or hostile, and what `import` says of them."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.data_sets import change_json, freihand_with_mano, write_jpeg, write_json

from handgen.datasets.freihand.reader import FreihandReader
from handgen.datasets.reader import inside, numbers
from handgen.errors import HandgenError
from handgen.stages.import_ import stage
from handgen.stages.import_.config import ImportConfig
from handgen.stages.import_.posing import subject_name
from handgen.storage.documents import write_json as write_json_file

CONFIG = ImportConfig("freihand", workers=1)


@pytest.fixture
def data_set(tmp_path, monkeypatch):
    """Return the set's folder and its truth."""
    return freihand_with_mano(monkeypatch, tmp_path)


def _nan(root):
    path = root / "training_xyz.json"
    path.write_bytes(path.read_bytes().replace(b"[[[", b"[[[NaN, ", 1))


def _null(root):
    change_json(root / "training_K.json", lambda k: k[1][0].__setitem__(2, None))


def _shorter(root):
    change_json(root / "training_mano.json", lambda mano: mano.pop())


def _two_numbers(root):
    change_json(root / "training_xyz.json", lambda xyz: [point.pop() for hand in xyz for point in hand])


def _no_focal_length(root):
    change_json(root / "training_K.json", lambda k: k[2][0].__setitem__(0, 0.0))


def _no_picture(root):
    (root / "training" / "rgb" / "00000001.jpg").unlink()


def _other_size(root):
    write_jpeg(root / "training" / "rgb" / "00000001.jpg", np.zeros((100, 224, 3), np.uint8))


def _other_mask_size(root):
    write_jpeg(root / "training" / "mask" / "00000001.jpg", np.zeros((100, 224), np.uint8))


def _cut_off(root):
    path = root / "training" / "rgb" / "00000001.jpg"
    path.write_bytes(path.read_bytes()[:300])


def _no_xyz(root):
    (root / "training_xyz.json").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_nan, "training_xyz.json, entry 0: not valid JSON.*NaN"),
        (_null, r"training_K.json, entry 1: entry \[0, 2\] is not a finite number"),
        (_shorter, "K.json has 4 entries, training_xyz.json has 4 entries, training_mano.json has 3"),
        (_two_numbers, r"training_xyz.json, entry 0: must have shape \(21, 3\), got \(21, 2\)"),
        (_no_focal_length, "training_K.json, entry 2: .*positive focal lengths"),
        (_no_picture, "00000001.jpg: is missing; finish the download, or --skip-missing"),
        (_other_size, "00000001.jpg: is 224x100 px, but the others are 224x224"),
        (_other_mask_size, "the mask of .*00000001.jpg: is 224x100 px, but should be 224x224"),
        (_cut_off, "00000001.jpg: not a readable image"),
        (_no_xyz, "training_xyz.json: cannot be read"),
    ],
)
def test_what_is_wrong_with_the_files_is_said(data_set, tmp_path, damage, message):
    root, _ = data_set
    damage(root)
    with pytest.raises(HandgenError, match=message):
        stage.run(root, tmp_path / "out", CONFIG)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_pictures_that_are_not_there_can_be_left_out(data_set, tmp_path):
    root, _ = data_set
    _no_picture(root)
    report = stage.run(root, tmp_path / "out", ImportConfig("freihand", skip_missing=True, workers=1))
    assert report.missing_pictures == 1 and report.accepted == {"right": 3}
    assert report.rejected == {"picture is missing": 1}
    assert any("training/rgb/00000001.jpg" in note for note in report.notes)


def test_a_run_that_a_missing_picture_ended_goes_on_without_it(data_set, tmp_path):
    root, _ = data_set
    _no_picture(root)
    out = tmp_path / "out"
    config = ImportConfig("freihand", chunk_frames=1, workers=1)
    with pytest.raises(HandgenError, match="00000001.jpg: is missing; finish the download, or --skip-missing"):
        stage.run(root, out, config)
    report = stage.run(root, out, replace(config, skip_missing=True))
    assert report.missing_pictures == 1 and report.accepted == {"right": 3}
    assert report.written_frames == 3  # the first one was finished before


@pytest.mark.parametrize("skip_missing", [False, True])
def test_pictures_that_have_come_since_are_taken_in(data_set, tmp_path, skip_missing):
    root, _ = data_set
    config = ImportConfig("freihand", chunk_frames=1, workers=1)
    stage.run(root, tmp_path / "whole", config)
    pictures = [root / "training" / "rgb" / f"{i:08d}.jpg" for i in (1, 3)]
    contents = [path.read_bytes() for path in pictures]
    for path in pictures:
        path.unlink()
    out = tmp_path / "out"
    stage.run(root, out, replace(config, skip_missing=True))
    pictures[0].write_bytes(contents[0])
    part = stage.run(root, out, replace(config, skip_missing=True))
    assert (part.written_frames, part.missing_pictures) == (1, 1)
    pictures[1].write_bytes(contents[1])
    report = stage.run(root, out, replace(config, skip_missing=skip_missing))
    assert (report.written_frames, report.missing_pictures, report.accepted) == (1, 0, {"right": 4})
    assert stage.run(root, out, config).written_frames == 0
    for path in (path for path in (tmp_path / "whole").rglob("*.*") if path.is_file() and ".journal" not in path.parts):
        assert (out / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes()


def test_annotations_without_a_picture_stay_as_they_are_when_it_may_not_be_missing(data_set, tmp_path):
    root, _ = data_set
    _no_picture(root)
    out = tmp_path / "out"
    stage.run(root, out, ImportConfig("freihand", skip_missing=True, workers=1))
    before = {path: path.read_bytes() for path in out.rglob("*.*") if path.is_file()}
    with pytest.raises(HandgenError, match="00000001.jpg: is missing"):
        stage.run(root, out, CONFIG)
    assert {path: path.read_bytes() for path in before} == before


def test_a_chunk_that_is_made_again_is_not_complete_before_it_is_whole(data_set, tmp_path, monkeypatch):
    """Killed when it has noted that nothing is missing, and its journal lost: the old records must not stand."""
    root, _ = data_set
    picture_file = root / "training" / "rgb" / "00000001.jpg"
    content = picture_file.read_bytes()
    picture_file.unlink()
    out = tmp_path / "out"
    stage.run(root, out, ImportConfig("freihand", skip_missing=True, workers=1))
    picture_file.write_bytes(content)

    def killed(path, document):
        write_json_file(path, document)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("handgen.stages.import_.chunk.write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            stage.run(root, out, CONFIG)
    shutil.rmtree(out / ".journal")
    report = stage.run(root, out, CONFIG)
    assert report.accepted == {"right": 4} and report.written_frames == 4


def test_an_empty_set_and_a_broken_list_are_no_data_set(tmp_path):
    write_json(tmp_path / "training_K.json", {"not": "a list"})
    write_json(tmp_path / "training_xyz.json", [])
    with pytest.raises(HandgenError, match="training_K.json: not the JSON that it should be, at byte 0"):
        FreihandReader(tmp_path)
    with pytest.raises(HandgenError, match="no training_K.json or evaluation_K.json; there is the split training"):
        FreihandReader(tmp_path, "evaluation")
    with pytest.raises(HandgenError, match="--split val: this format has training, evaluation"):
        FreihandReader(tmp_path, "val")


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/passwd", "a/../../b.jpg", "", None, 3, "a\\b.jpg", "a\0b"])
def test_names_that_leave_the_data_set_are_refused(tmp_path, name):
    with pytest.raises(HandgenError, match="is no path inside"):
        inside(tmp_path, name, "data.json")
    assert inside(tmp_path, "a/b.jpg", "data.json") == tmp_path / "a" / "b.jpg"


@settings(max_examples=50)
@given(st.lists(st.floats(-5, 5), min_size=10, max_size=10))
def test_the_name_of_a_subject_says_its_betas(betas):
    values = np.round(betas, 6)
    assert subject_name("a", values) == subject_name("a", values + 1e-8)
    assert subject_name("a", values) != subject_name("a", values + 1e-5)
    assert subject_name("0", values).startswith("unknown-")


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=3, max_size=3))
def test_only_finite_numbers_are_taken(values):
    if np.isfinite(values).all() and np.abs(values).max() > 1e9:
        with pytest.raises(HandgenError, match=r"x: entry \[[0-2]\] is .*e\+.*, which nothing here can be"):
            numbers(values, (3,), "x")
    elif np.isfinite(values).all():
        assert numbers(values, (3,), "x").tolist() == values
    else:
        with pytest.raises(HandgenError, match="not a finite number"):
            numbers(values, (3,), "x")
