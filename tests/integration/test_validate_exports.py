"""Exports as files: what the manifest lists, what readers cannot see, and sets with several splits."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.annotations import write_annotations
from support.data_sets import write_freihand, write_interhand
from support.export_sets import pictures_of, write_coco

from handgen.errors import HandgenError
from handgen.stages.export import stage as export
from handgen.stages.export.config import ExportConfig
from handgen.stages.synthesize import stage as synthesize
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.stages.validate.stage import run
from handgen.storage import limits

FUZZED = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
DATA = "annotations/val/InterHand2.6M_val_data.json"


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("exports")
    annotations = write_annotations(root / "annotations", frames=2, accept_all=True)
    synthesize.run(annotations, root / "shards", None, SynthesizeConfig(samples=8, size=64, workers=1, seed=5))
    return root / "shards"


@pytest.fixture(scope="module")
def exported(shards, tmp_path_factory) -> Path:
    """With the handgen manifest that lists its tars."""
    out = tmp_path_factory.mktemp("made") / "hamer"
    export.run(shards, out, ExportConfig(format="hamer", workers=1))
    return out


def copied(root: Path, to: Path) -> Path:
    return Path(shutil.copytree(root, to / "export"))


def change_listed(root: Path, **values) -> None:
    manifest = json.loads((root / "manifest.json").read_text())
    manifest["files"][0].update(values)
    (root / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("digests", [True, False])
def test_an_export_as_it_was_written_is_valid_with_and_without_digests(exported, digests):
    report = run(exported, digests=digests, workers=1)
    assert report.valid and report.looked_at["file"] == len(list(exported.glob("*.tar"))), report.findings.kept
    assert any("digests" in note for note in report.notes) == (not digests)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_byte_that_changed_is_found_by_its_digest_alone(exported, tmp_path, workers):
    root = copied(exported, tmp_path)
    tar = sorted(root.glob("*.tar"))[0]
    data = bytearray(tar.read_bytes())
    data[len(data) - 600] ^= 1  # in the padding at the end of the tar, which no reader looks at
    tar.write_bytes(data)
    assert run(root, workers=workers).valid
    [finding] = run(root, digests=True, workers=workers).findings.kept
    assert (finding.kind, finding.where) == ("digest", str(tar)) and "SHA-256 is" in finding.what


def test_files_that_are_missing_or_of_another_size_are_found(exported, tmp_path):
    root = copied(exported, tmp_path)
    change_listed(root, bytes=3)
    [finding] = run(root, workers=1).findings.kept
    assert finding.kind == "wrong size" and "the manifest says 3" in finding.what
    change_listed(root, name="000099.tar")
    missing, stray = run(root, workers=1).findings.kept
    assert (missing.kind, missing.where) == ("missing file", str(root / "000099.tar"))
    assert (stray.kind, stray.where) == ("stray file", str(root / "000000.tar"))


@pytest.mark.parametrize("name", ["../shards/manifest.json", "/etc/passwd", None, 3])
def test_files_outside_the_export_are_not_opened(exported, tmp_path, name):
    root = copied(exported, tmp_path)
    change_listed(root, name=name)
    finding = run(root, digests=True, workers=1).findings.kept[0]
    assert finding.kind == "manifest" and "no name inside" in finding.what


def test_digests_that_nobody_wrote_are_a_note(shards, tmp_path):
    root = write_coco(tmp_path / "coco", pictures_of(shards))
    theirs = {"files": [{"name": "a.txt", "bytes": 3, "sha256": ""}]}  # somebody else's manifest
    (root / "manifest.json").write_text(json.dumps(theirs))
    report = run(root, digests=True, workers=1)
    assert report.valid and "there is no manifest that lists files, so no digests to compare" in report.notes


def test_a_coco_file_that_is_too_large_is_an_error_that_says_so(shards, tmp_path):
    root = write_coco(tmp_path / "coco", pictures_of(shards))
    with (root / "annotations" / "train.json").open("ab") as file:
        file.truncate(limits.JSON_TEXT.allowed + 1)  # a hole: it takes no place on the disk
    with pytest.raises(
        HandgenError, match=r"train\.json: the text of a JSON file larger than 256 MiB; .* several files"
    ):
        run(root, workers=1)


def test_all_splits_of_a_set_are_looked_at(tmp_path):
    for split in ("val", "test"):
        write_interhand(tmp_path / "interhand", frames=2, cameras=2, split=split)
    for split in ("training", "evaluation"):
        write_freihand(tmp_path / "freihand", count=2, split=split)
    assert run(tmp_path / "interhand", workers=1).facts["pictures"] == 8
    assert run(tmp_path / "freihand", workers=1).facts["pictures"] == 4


def test_a_split_that_comes_without_labels_is_a_note(tmp_path):
    for split in ("training", "evaluation"):
        write_freihand(tmp_path, count=2, split=split)
    (tmp_path / "evaluation_xyz.json").unlink()
    report = run(tmp_path, workers=1)
    assert report.valid and report.facts["pictures"] == 2
    assert "evaluation has no evaluation_xyz.json: there are no labels to check" in report.notes


@FUZZED
@given(
    st.sampled_from(["image_id", "bbox", "joint_valid", "hand_type", None]),
    st.sampled_from([None, 3, 10**30, -1, "x", [], {}, [[]], [[1, 2]] * 42, [None] * 42, [1e308] * 4]),
)
def test_anything_in_interhands_annotations_is_a_finding(interhand, key, value):
    document = json.loads((interhand / DATA).read_text())
    unchanged = json.dumps(document)
    if key is None:
        document["annotations"][0] = value
    else:
        document["annotations"][0][key] = value
    (interhand / DATA).write_text(json.dumps(document))
    try:
        report = run(interhand, workers=1)
    finally:
        (interhand / DATA).write_text(unchanged)
    assert report.kind == "interhand" and not report.valid


@pytest.fixture(scope="module")
def interhand(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("interhand")
    write_interhand(root, frames=1, cameras=2)
    return root


def test_boxes_of_interhand_by_their_corners_are_named(tmp_path):
    write_interhand(tmp_path, frames=1, cameras=2)
    document = json.loads((tmp_path / DATA).read_text())
    for annotation in document["annotations"]:
        left, top, width, height = annotation["bbox"]
        annotation["bbox"] = [left, top, left + width, top + height]
    (tmp_path / DATA).write_text(json.dumps(document))
    finding = run(tmp_path, workers=1).findings.kept[0]
    assert finding.kind == "box" and "left, top, right, bottom" in finding.what


@pytest.mark.parametrize("form", ["hamer", "freihand", "coco", "interhand"])
def test_an_export_that_was_not_finished_is_told(form, tmp_path):
    annotations = write_annotations(tmp_path / "a", frames=1, cameras=1, accept_all=True)
    export.run(annotations, tmp_path / "out", ExportConfig(format=form, workers=1))
    (tmp_path / "out" / "manifest.json").unlink()
    for name in ("training_xyz.json", "annotations", "000000.tar"):  # what comes late
        path = tmp_path / "out" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    report = run(tmp_path / "out", workers=1)
    assert report.kind == form and list(report.findings.counts) == ["unfinished"]
