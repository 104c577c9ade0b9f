import hashlib
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.annotations import write_annotations

from handgen.cli.main import main
from handgen.cli.synthesize import synthesize
from handgen.errors import HandgenError
from handgen.io import shards
from handgen.media import images
from handgen.runtime.local import map_units
from handgen.stages.synthesize import stage
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.storage.tar import write_tar

CONFIG = SynthesizeConfig(samples=24, size=96, samples_per_shard=7, workers=1, seed=5)


@pytest.fixture(scope="module")
def annotations(tmp_path_factory) -> Path:
    return write_annotations(tmp_path_factory.mktemp("annotations"))


@pytest.fixture(scope="module")
def made(annotations, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("made") / "shards"
    stage.run(annotations, out, None, CONFIG)
    return out


def digests(root: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(root.iterdir()) if path.is_file()
    }


def test_shards_are_complete_and_described(made):
    manifest = shards.read_manifest(made)
    assert [shard["samples"] for shard in manifest["shards"]] == [7, 7, 7, 3]
    assert manifest["samples"] == 24
    found = digests(made)
    assert set(found) == {"manifest.json", "run.json", *(f"train-{i:06d}.tar" for i in range(4))}
    keys = []
    for shard in manifest["shards"]:
        assert found[shard["name"]] == shard["sha256"]
        sides = {"left": 0, "right": 0}
        for key, group in shards.read_groups(made / shard["name"]):
            assert set(group) == {"jpg", "json", "mask.png"}
            document = shards.read_document(made / shard["name"], key, group)
            assert document["key"] == key and "." not in key
            assert document["index"] == len(keys)
            sides[document["side"]] += 1
            keys.append(key)
        assert sides == shard["sides"]
    assert len(set(keys)) == 24
    with tarfile.open(made / "train-000000.tar") as tar:
        assert {(m.mtime, m.uid, m.gid, m.mode) for m in tar} == {(0, 0, 0, 0o644)}


def test_every_accepted_view_is_used_as_often_as_the_others(made):
    used: dict[tuple, int] = {}
    for path in sorted(made.glob("*.tar")):
        for key, group in shards.read_groups(path):
            source = shards.read_document(path, key, group)
            side = {"left": "right", "right": "left"}[source["side"]] if source["mirrored"] else source["side"]
            view = (source["source"]["frame"], side, source["source"]["camera"])
            used[view] = used.get(view, 0) + 1
    assert len(used) == 11  # 3 frames, 2 hands, 2 cameras, less one that was rejected
    assert set(used.values()) <= {2, 3}


@pytest.mark.slow
def test_bytes_are_the_same_with_two_workers(annotations, made, tmp_path):
    stage.run(annotations, tmp_path / "shards", None, replace(CONFIG, workers=2))
    assert digests(tmp_path / "shards") == digests(made)


def test_a_rerun_writes_only_what_is_missing_or_damaged(annotations, tmp_path):
    out = tmp_path / "shards"
    stage.run(annotations, out, None, CONFIG)
    before = digests(out)
    (out / "train-000001.tar").unlink()
    damaged = out / "train-000002.tar"
    damaged.write_bytes(damaged.read_bytes()[:5000])
    (out / "train-000003.tar.partial").write_bytes(b"killed in the middle")
    untouched = (out / "train-000000.tar").stat().st_mtime_ns
    with pytest.raises(HandgenError, match="missing"):
        shards.read_manifest(out)
    report = stage.run(annotations, out, None, CONFIG)
    assert report.written_samples == 14 and report.samples == 24
    assert digests(out) == before
    assert (out / "train-000000.tar").stat().st_mtime_ns == untouched


def test_another_configuration_is_an_error_that_names_the_difference(annotations, made, tmp_path):
    for change, said in (
        ({"size": 64}, "configuration.size: 96 there, 64 now"),
        ({"seed": 6}, "seed: 5 there, 6 now"),
        ({"split": "val"}, "splits.train: .* there, None now"),
    ):
        with pytest.raises(HandgenError, match=said):
            stage.run(annotations, made, None, replace(CONFIG, **change))
    assert shards.read_manifest(made)["samples"] == 24  # untouched
    other = write_annotations(tmp_path / "annotations", frames=1, seed=9)
    with pytest.raises(HandgenError, match="annotations.drawn.sha256"):
        stage.run(other, made, None, CONFIG)


def test_overwrite_replaces_the_shards_and_nothing_else(annotations, tmp_path):
    out = tmp_path / "shards"
    stage.run(annotations, out, None, CONFIG)
    (out / "notes.txt").write_text("mine")
    stage.run(annotations, out, None, replace(CONFIG, samples=5, split="val"), overwrite=True)
    assert sorted(path.name for path in out.iterdir() if path.name != ".journal") == [
        "manifest.json",
        "notes.txt",
        "run.json",
        "val-000000.tar",
    ]


def test_a_directory_that_holds_something_else_is_refused(annotations, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(HandgenError, match="something other than shards"):
            stage.run(annotations, tmp_path, None, CONFIG, overwrite=overwrite)
        with pytest.raises(HandgenError, match="something other than shards"):
            stage.run(annotations, annotations, None, CONFIG, overwrite=overwrite)
    with pytest.raises(HandgenError, match="is a file"):
        stage.run(annotations, tmp_path / "thesis.txt", None, CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def damage_cutout(root: Path, name: str) -> None:
    """Cut the content of a member of the first chunk short."""
    path = root / "chunks/000000.tar"
    with tarfile.open(path) as tar:
        members = [(m.name, tar.extractfile(m).read()) for m in tar]
    write_tar(path, [(other, data[:40] if other == name else data) for other, data in members])


def test_a_damaged_cutout_is_named_and_counted_and_the_rest_goes_on(tmp_path):
    root = write_annotations(tmp_path / "annotations", frames=1, chunk_frames=1)
    damage_cutout(root, "000000_right_cam1.jpg")
    config = replace(CONFIG, samples=9, samples_per_shard=2)  # a shard of its samples alone is not written
    report = stage.run(root, tmp_path / "shards", None, config)
    assert report.left_out_samples == 3 and report.samples == 6  # of three views one is lost
    [(name, reason)] = report.damaged_cutouts
    assert name == "drawn/000000_right_cam1" and "000000.tar: 000000_right_cam1.jpg" in reason
    manifest = shards.read_manifest(tmp_path / "shards")
    assert manifest["samples"] == sum(shard["samples"] for shard in manifest["shards"]) == 6
    assert manifest["left_out"]["cutouts"] == [{"name": name, "samples": 3, "reason": reason}]
    before = digests(tmp_path / "shards")
    (tmp_path / "shards" / manifest["shards"][-1]["name"]).unlink()
    again = stage.run(root, tmp_path / "shards", None, config)
    assert digests(tmp_path / "shards") == before and again.left_out_samples == 3


def test_damaged_cutouts_alone_are_an_error(tmp_path):
    root = write_annotations(tmp_path / "annotations", frames=1, chunk_frames=1)
    (root / "chunks/000000.tar").unlink()
    with pytest.raises(HandgenError, match=r"no sample can be made of the cutouts.*000000\.tar: is missing"):
        stage.run(root, tmp_path / "shards", None, CONFIG)
    assert not (tmp_path / "shards/manifest.json").exists()


def test_damaged_shards_are_errors(tmp_path):
    path = tmp_path / "a.tar"
    write_tar(path, [("a.jpg", b"1"), ("b.jpg", b"2"), ("a.json", b"3")])
    with pytest.raises(HandgenError, match="not adjacent"):
        list(shards.read_groups(path))
    write_tar(path, [("a.jpg", b"1"), ("a.json", b"{}"), ("a.jpg", b"2")])
    with pytest.raises(HandgenError, match=r"has a\.jpg twice"):
        list(shards.read_groups(path))
    write_tar(path, [("a", b"1")])
    with pytest.raises(HandgenError, match="has no suffix"):
        list(shards.read_groups(path))
    write_tar(path, [("a.json", b"{}"), ("a.jpg", b"")])
    [(key, group)] = shards.read_groups(path)
    with pytest.raises(HandgenError, match=r"a\.mask\.png"):
        shards.read_document(path, key, group)
    path.write_bytes(b"no tar" * 200)
    with pytest.raises(HandgenError, match="not a readable tar"):
        list(shards.read_groups(path))
    with pytest.raises(HandgenError, match="no manifest.json"):
        shards.read_manifest(tmp_path)


def square(number: int) -> int:
    if number < 0:
        raise HandgenError(f"{number} is negative")
    return number * number


@pytest.mark.slow
def test_units_run_in_processes_and_errors_come_back():
    assert sorted(map_units(square, range(9), 2)) == [n * n for n in range(9)]
    with pytest.raises(HandgenError, match="-1 is negative"):
        list(map_units(square, [3, -1, 4, 5, 6, 7], 2))


def test_units_run_in_order_in_this_process():
    assert list(map_units(square, iter([3, 1, 2]), 1)) == [9, 1, 4]
    with pytest.raises(ValueError, match="workers"):
        list(map_units(square, [1], 0))


def test_the_bare_command_reads_annotations_and_writes_shards(tmp_path, monkeypatch, rng):
    write_annotations(tmp_path / "annotations", frames=1)
    backgrounds = tmp_path / "pictures"
    images.write_png(backgrounds / "a.png", rng.integers(0, 255, (80, 90, 3), dtype="uint8"))
    (backgrounds / "b.png").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    arguments = ["--backgrounds", "pictures", "--size", "64", "--workers", "1"]
    result = CliRunner().invoke(synthesize, [*arguments, "--out", "shards", "--preview", "sheet.png"])
    assert result.exit_code == 0, result.output
    assert "skipped background b.png" in result.output
    assert "handgen validate shards" in result.output
    assert images.read_rgb(tmp_path / "sheet.png").ndim == 3
    manifest = shards.read_manifest(tmp_path / "shards")
    assert [skipped["name"] for skipped in manifest["backgrounds"]["skipped"]] == ["b.png"]
    assert manifest["samples"] == 3

    result = CliRunner().invoke(synthesize, [*arguments, "--json"])
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["samples"] == 3 and document["written_samples"] == 0


def test_wrong_usage_and_bad_input_exit_with_2_and_1(tmp_path):
    runner = CliRunner()
    assert runner.invoke(main, ["synthesize", str(tmp_path), "--split", "a.b"]).exit_code == 2
    result = runner.invoke(main, ["synthesize", str(tmp_path), "--out", str(tmp_path / "shards")])
    assert result.exit_code == 1
    assert "handgen annotate" in result.stderr and "Traceback" not in result.stderr
