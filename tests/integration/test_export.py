"""Exports as a whole: the same bytes always, gone on with after a kill, and what cannot be exported."""

import json
import shutil

import pytest
from click.testing import CliRunner
from support.annotations import write_annotations
from support.export import export
from support.killed_runs import content, killed_before_change

from handgen.cli.main import main
from handgen.datasets.registry import FORMATS, export_formats, get_format
from handgen.datasets.writer import PARTS
from handgen.errors import HandgenError
from handgen.stages.export import stage
from handgen.stages.export.config import ExportConfig
from handgen.stages.synthesize import stage as synthesize
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.stages.validate.stage import run as validate
from handgen.storage import documents, filesystem


@pytest.fixture(scope="module")
def annotations(tmp_path_factory):
    return write_annotations(tmp_path_factory.mktemp("made") / "annotations", frames=3, chunk_frames=1, cameras=2)


def test_every_part_of_every_format_is_there():
    for entry in map(get_format, FORMATS.names()):
        for part in (entry.recognises, entry.checks, entry.reader, entry.writer, entry.owned):
            assert not part or entry.load(part)


@pytest.mark.parametrize("format", export_formats())
def test_two_processes_write_the_same_bytes_as_one(annotations, tmp_path, format):
    export(annotations, tmp_path / "one", format)
    stage.run(annotations, tmp_path / "two", ExportConfig(format=format, workers=2))
    one, two = content(tmp_path / "one"), content(tmp_path / "two")
    if format == "hamer":  # which names the tars where they are
        assert one.pop("dataset.yaml") != two.pop("dataset.yaml")
    assert one == two and len(one) > 3


@pytest.mark.slow
@pytest.mark.parametrize("format", ["hamer", "freihand", "interhand"])
def test_killed_before_any_change_an_export_is_finished_by_the_same_command(annotations, tmp_path, format):
    out = tmp_path / "out"
    export(annotations, out, format)
    expected = content(out)
    assert not any(PARTS in name for name in expected)
    changes = 0
    while True:
        shutil.rmtree(out)
        changes += 1
        # every change of the first ones, then every fifth: they repeat from unit to unit
        if changes > 12 and changes % 5:
            out.mkdir()
            continue
        if killed_before_change(changes, out, lambda: export(annotations, out, format)):
            break
        export(annotations, out, format)
        assert content(out) == expected, f"killed before change {changes}"
    assert content(out) == expected and changes > 20


def test_a_rerun_writes_nothing_and_a_lost_file_is_made_again(annotations, tmp_path):
    out = tmp_path / "out"
    first = export(annotations, out, "interhand")
    expected = content(out)
    again = export(annotations, out, "interhand")
    assert (again.written_pictures, again.pictures) == (0, first.pictures)
    (out / "annotations" / "train" / "InterHand2.6M_train_camera.json").unlink()
    assert export(annotations, out, "interhand").written_pictures == first.pictures
    assert content(out) == expected


def test_another_export_is_not_written_over_unless_told(annotations, tmp_path):
    out = tmp_path / "out"
    export(annotations, out, "coco")
    with pytest.raises(HandgenError, match="configuration.format: coco there, hamer now.*--overwrite"):
        export(annotations, out, "hamer")
    stage.run(annotations, out, ExportConfig(format="hamer", workers=1), overwrite=True)
    assert not (out / "images").exists() and (out / "000000.tar").exists()


def test_what_no_export_wrote_is_not_overwritten(annotations, tmp_path):
    out = tmp_path / "out"
    export(annotations, out, "coco")
    for name in ("training/mine", "000000.tar", "notes.txt"):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("mine")
    stage.run(annotations, out, ExportConfig(format="interhand", workers=1), overwrite=True)
    assert all((out / name).read_text() == "mine" for name in ("training/mine", "000000.tar", "notes.txt"))
    assert not (out / "annotations" / "train.json").exists()


@pytest.mark.parametrize("format", ["coco", "freihand", "interhand"])
def test_lost_pictures_are_written_again(annotations, tmp_path, format):
    out = tmp_path / "out"
    export(annotations, out, format)
    expected = content(out)
    lost = sorted(out.rglob("*.jpg"))[0]
    lost.unlink()
    assert export(annotations, out, format).written_pictures > 0
    assert content(out) == expected and lost.exists()


def test_the_manifest_fits_its_schema_and_says_what_was_made_of(annotations, tmp_path):
    export(annotations, tmp_path / "out", "coco")
    manifest = documents.read_json(tmp_path / "out" / "manifest.json", "export_manifest")
    assert manifest["pictures"] == 11 and manifest["sides"] == {"left": 5, "right": 6}
    assert manifest["source"]["path"] == str(annotations)
    assert [file["name"] for file in manifest["files"]] == ["annotations/train.json"]


def test_one_split_is_exported_and_must_be_named(annotations, tmp_path):
    other = write_annotations(tmp_path / "b", frames=4, chunk_frames=1, cameras=2, seed=1)
    config = SynthesizeConfig(samples=24, split="train=0.5,val=0.5", split_by="sequence", workers=1)
    synthesize.run([annotations, other], tmp_path / "shards", None, config)
    with pytest.raises(HandgenError, match="holds the splits train, val; name one of them with --split"):
        export(tmp_path / "shards", tmp_path / "out", "coco")
    with pytest.raises(HandgenError, match="has no split 'test'; there are train, val"):
        export(tmp_path / "shards", tmp_path / "out", "coco", split="test")
    report = export(tmp_path / "shards", tmp_path / "out", "coco", split="val")
    assert (tmp_path / "out" / "annotations" / "val.json").exists() and report.pictures > 5


def test_what_is_no_input(annotations, tmp_path):
    for place, said in ((tmp_path, "no output of handgen"), (tmp_path / "export", "holds export")):
        if said == "holds export":
            export(annotations, place, "coco")
        with pytest.raises(HandgenError, match=f"{said}.*give a directory of shards or of annotations"):
            export(place, tmp_path / "out", "coco")
    with pytest.raises(HandgenError, match="annotations have no splits"):
        export(annotations, tmp_path / "out", "coco", split="train")


def test_a_damaged_cutout_ends_the_run_by_name(tmp_path):
    root = write_annotations(tmp_path / "a", frames=1, cameras=1, accept_all=True)
    tar = root / "chunks" / "000000.tar"
    data = bytearray(tar.read_bytes())
    data[512:540] = bytes(28)  # the first picture's own beginning
    tar.write_bytes(data)
    with pytest.raises(HandgenError, match="000000_left_cam0.jpg: not a readable JPEG"):
        export(root, tmp_path / "out", "coco")


def test_shards_whose_own_hand_model_is_gone(annotations, tmp_path, shards_to_export):
    shards = tmp_path / "shards"
    shutil.copytree(shards_to_export, shards)
    path = shards / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["annotations"][0]["hand_model"]["name"] = "hand_{side}.npz"
    manifest["annotations"][0]["path"] = str(tmp_path / "gone")
    path.write_text(json.dumps(manifest))
    with pytest.raises(HandgenError, match=r"gone: the shards were made of these annotations.*\(hamer, coco\)"):
        export(shards, tmp_path / "freihand", "freihand")
    assert export(shards, tmp_path / "coco", "coco").pictures == 40


@pytest.mark.parametrize("place", ["http://127.0.0.1:9/secret", "memory://elsewhere/a", "simplecache::http://a/b"])
def test_no_network_is_asked_for_what_a_manifest_names(annotations, tmp_path, shards_to_export, monkeypatch, place):
    shards = tmp_path / "shards"
    shutil.copytree(shards_to_export, shards)
    path = shards / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["annotations"][0] |= {"path": place}
    manifest["annotations"][0]["hand_model"]["name"] = "hand_{side}.npz"
    path.write_text(json.dumps(manifest))
    monkeypatch.setattr(filesystem, "UPath", None)  # nothing is opened by an address
    with pytest.raises(HandgenError, match="not on the same machine or in the same store"):
        export(shards, tmp_path / "freihand", "freihand")
    assert validate(shards, pixels=False, workers=1) is not None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--format", "coco", "--mirror-left"), "--mirror-left is for --format freihand"),
        (("--format", "hamer", "--wholebody"), "--wholebody is for --format coco"),
        (("--format", "hamer", "--segmentation", "polygon"), "--segmentation is for --format coco"),
        (("--format", "voc"), "'voc' is not one of"),
    ],
)
def test_wrong_options_are_wrong_usage(annotations, tmp_path, options, said):
    result = CliRunner().invoke(main, ["export", str(annotations), "--out", str(tmp_path / "out"), *options])
    assert result.exit_code == 2 and said in result.output


def test_the_command_says_what_it_did(annotations, tmp_path):
    words = ["export", str(annotations), "--format", "freihand", "--out", str(tmp_path / "out"), "--workers", "1"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0
    assert "6 (0 left, 6 right)" in result.output and "--mirror-left takes them" in result.output
    assert f"handgen validate {tmp_path / 'out'}" in result.output
    document = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)
    assert document["pictures"] == 6 and document["written_pictures"] == 0


@pytest.mark.parametrize("format", export_formats())
def test_an_export_to_a_store_is_the_one_on_a_disk(annotations, tmp_path, format):
    place = filesystem.location(f"memory://exports/{tmp_path.name}")
    here = export(annotations, tmp_path / "out", format)
    there = export(annotations, place, format)
    assert (there.pictures, there.files) == (here.pictures, here.files)
    names = [name for name in content(tmp_path / "out") if name not in ("manifest.json", "dataset.yaml", ".lock")]
    assert len(names) > 3
    for name in names:
        assert filesystem.read(place / name) == (tmp_path / "out" / name).read_bytes(), name
    if format == "hamer":
        assert f"memory://exports/{tmp_path.name}/" in filesystem.read(place / "dataset.yaml").decode()
    assert export(annotations, place, format).written_pictures == 0
