import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.annotations import write_annotations
from support.mutations import members_of, rewrite

from handgen.cli.main import main
from handgen.errors import HandgenError
from handgen.stages.synthesize import stage
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.stages.validate.stage import run
from handgen.storage.documents import validate
from handgen.storage.tar import write_tar

SAMPLES, SHARD = 22, 6  # 11 views, each used twice


@pytest.fixture(scope="module")
def annotations(tmp_path_factory) -> Path:
    return write_annotations(tmp_path_factory.mktemp("annotations"))


@pytest.fixture(scope="module")
def made(annotations, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("made") / "shards"
    config = SynthesizeConfig(samples=SAMPLES, size=64, samples_per_shard=SHARD, workers=1, seed=5)
    stage.run(annotations, out, None, config)
    return out


def relabel(path: Path, change: Callable[[dict], None]) -> None:
    """Change the labels of a shard's first sample."""

    def changed(members):
        index = next(i for i, (name, _) in enumerate(members) if name.endswith(".json"))
        document = json.loads(members[index][1])
        change(document)
        return [*members[:index], (members[index][0], json.dumps(document).encode()), *members[index + 1 :]]

    rewrite(path, changed)


def with_manifest(root: Path, change: Callable[[dict], None]) -> None:
    manifest = json.loads((root / "manifest.json").read_text())
    change(manifest)
    (root / "manifest.json").write_text(json.dumps(manifest))


def test_what_synthesize_writes_is_valid(made):
    report = run(made, digests=True, pixels=True, workers=1)
    assert report.valid and not report.findings.kept
    assert report.facts == {"samples": SAMPLES, "shards": 4, "views": 11, "left_out": 0, "digests": 4}


@pytest.mark.slow
def test_several_processes_find_the_same(made):
    assert run(made, digests=True, workers=2).facts == run(made, digests=True, workers=1).facts


def flip_byte(root: Path) -> None:
    data = bytearray((root / "train-000001.tar").read_bytes())
    data[700] ^= 0xFF  # within the first image
    (root / "train-000001.tar").write_bytes(data)


def cut_off(root: Path) -> None:
    path = root / "train-000001.tar"
    path.write_bytes(path.read_bytes()[:5000])


def lose_a_sample(root: Path) -> None:
    rewrite(root / "train-000001.tar", lambda members: members[3:])


def repeat_a_shard(root: Path) -> None:
    shutil.copy(root / "train-000000.tar", root / "train-000001.tar")
    rewrite(root / "train-000001.tar", lambda members: members)


def repeat_a_sample(root: Path) -> None:
    def again(members):
        return members + [(name.replace("train_000000006", "train_000000999"), data) for name, data in members[:3]]

    rewrite(root / "train-000001.tar", again)


def swap_pictures(root: Path) -> None:
    def swapped(members):
        found = dict(members)
        jpegs = [name for name in found if name.endswith(".mask.png")]
        found[jpegs[0]], found[jpegs[1]] = found[jpegs[1]], found[jpegs[0]]
        return list(found.items())

    rewrite(root / "train-000001.tar", swapped)


def another_view(document: dict) -> None:
    document["source"]["frame"] += 100


DAMAGE = {
    "digest": (flip_byte, r"SHA-256 is"),
    "wrong size": (cut_off, r"has 5000 bytes; the manifest says"),
    "damaged shard": (cut_off, r"not a readable tar"),
    "missing file": (lambda root: (root / "train-000002.tar").unlink(), "train-000002.tar"),
    "stray file": (lambda root: shutil.copy(root / "train-000000.tar", root / "train-000009.tar"), "train-000009"),
    "torn file": (lambda root: (root / "train-000004.tar.1f.partial").write_bytes(b"x"), "killed"),
    "count": (lose_a_sample, "holds 5 samples"),
    "view used too seldom": (lose_a_sample, "1 views are used less than 2 times"),
    "sample twice": (repeat_a_shard, "begin with number 0, but train-000000.tar ends with 5"),
    "view used too often": (repeat_a_shard, "used more than 2 times"),
    "seed twice": (repeat_a_shard, "share the seeds"),
    "sample": (repeat_a_sample, "its labels say train_000000006"),
    "view lost": (lambda root: with_manifest(root, lambda m: m["splits"][0].update(views=12)), "11 views are used"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_found_and_named(made, tmp_path, kind):
    damage, said = DAMAGE[kind]
    root = Path(shutil.copytree(made, tmp_path / "shards"))
    damage(root)
    report = run(root, digests=True, workers=1)
    assert not report.valid and report.findings.counts[kind] >= 1
    assert any(said.replace("\\", "") in f"{f.where}: {f.what}" for f in report.findings.kept if f.kind == kind)
    assert all(finding.fix for finding in report.findings.kept)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["box_px"].__setitem__(2, d["box_px"][2] + 1), "the mask's box is"),
        (lambda d: d["camera"]["size_px"].__setitem__(0, 65), "its image is 64x64"),
        (lambda d: d.__setitem__("key", "train_000000099"), "its labels say train_000000099"),
        (lambda d: d["seed"].__setitem__(0, 6), "seed 6, not 5"),
        (lambda d: d["source"].__setitem__("subject", "somebody"), "somebody, who is not in split train"),
        (lambda d: d.pop("visible"), "visible"),
    ],
)
def test_labels_that_do_not_agree_are_found(made, tmp_path, change, said):
    root = Path(shutil.copytree(made, tmp_path / "shards"))
    relabel(root / "train-000002.tar", change)
    report = run(root, workers=1)
    assert any(f.kind == "sample" and said in f.what and "train_000000012" in f.where for f in report.findings.kept)


def test_a_view_in_place_of_another_is_found(made, tmp_path):
    root = Path(shutil.copytree(made, tmp_path / "shards"))
    relabel(root / "train-000002.tar", another_view)
    counts = run(root, workers=1).findings.counts
    assert counts["view lost"] == 1 and counts["view used too seldom"] == 1


def test_masks_of_other_samples_are_found(made, tmp_path):
    root = Path(shutil.copytree(made, tmp_path / "shards"))
    swap_pictures(root)
    assert run(root, workers=1).findings.counts["sample"] >= 2


def test_somebody_in_two_splits_is_found(made, tmp_path):
    root = Path(shutil.copytree(made, tmp_path / "shards"))

    def doubled(manifest):
        manifest["splits"].append({**manifest["splits"][0], "name": "val", "samples": 0})

    with_manifest(root, doubled)
    assert run(root, workers=1).findings.counts["subject in two splits"] == 1


def test_annotations_that_were_written_are_valid(annotations):
    report = run(annotations, digests=True, workers=1)
    assert report.valid and report.facts == {"frames": 3, "chunks": 2, "records": 6, "views": 12}
    assert any("no digests" in note for note in report.notes)  # drawn, not annotated


def repeat_a_record(root: Path) -> None:
    path = root / "chunks/000000.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines, lines[0]]))


def damage_a_cutout(root: Path) -> None:
    path = root / "chunks/000000.tar"
    name = members_of(path)[0][0]
    write_tar(path, [(other, data[:40] if other == name else data) for other, data in members_of(path)])


def add_a_cutout(root: Path) -> None:
    path = root / "chunks/000000.tar"
    write_tar(path, [*members_of(path), ("nobodys.jpg", b"x")])


ANNOTATION_DAMAGE = {
    "record twice": repeat_a_record,
    "count": repeat_a_record,
    "damaged cutout": damage_a_cutout,
    "stray cutout": add_a_cutout,
    "missing file": lambda root: (root / "chunks/000001.tar").unlink(),
    "stray file": lambda root: (root / "chunks/000007.tar").write_bytes(b""),
    "damaged records": lambda root: (root / "chunks/000001.jsonl").write_text("{}\n"),
    "damaged cutouts": lambda root: (root / "chunks/000001.tar").write_bytes(b"no tar" * 200),
    "frames": lambda root: with_manifest(root, lambda m: m["chunks"][1].update(first_frame=1)),
    "manifest": lambda root: with_manifest(root, lambda m: m["cameras"].append(m["cameras"][0])),
    "subject": lambda root: with_manifest(root, lambda m: m.update(subjects={"other": m["subjects"]["subject_0"]})),
}


@pytest.mark.parametrize("kind", ANNOTATION_DAMAGE)
def test_damaged_annotations_are_found(annotations, tmp_path, kind):
    root = Path(shutil.copytree(annotations, tmp_path / "annotations"))
    ANNOTATION_DAMAGE[kind](root)
    report = run(root, workers=1)
    assert report.findings.counts[kind] >= 1 and not report.valid


def test_an_unfinished_directory_is_told_how_to_finish(made, tmp_path):
    root = Path(shutil.copytree(made, tmp_path / "shards"))
    (root / "manifest.json").unlink()
    [finding] = run(root).findings.kept
    assert finding.kind == "unfinished" and "handgen synthesize" in finding.fix
    with pytest.raises(HandgenError, match="no output of handgen"):
        run(tmp_path)


def test_the_command_exits_with_1_where_something_is_wrong(made, tmp_path):
    runner = CliRunner()
    good = runner.invoke(main, ["validate", str(made), "--digests", "--workers", "1"])
    assert good.exit_code == 0 and "nothing wrong" in good.output
    root = Path(shutil.copytree(made, tmp_path / "shards"))
    flip_byte(root)
    bad = runner.invoke(main, ["validate", str(root), "--digests", "--workers", "1", "--json"])
    assert bad.exit_code == 1
    document = json.loads(bad.stdout)
    validate(document, "validation", "the report")
    assert not document["valid"] and document["counts"]["digest"] == 1
    checks = {check["name"]: (check["looked_at"], check["wrong"]) for check in document["checks"]}
    assert checks["digest"] == (None, 1) and checks["reprojection"][0] > 0 and checks["sample"][0] == SAMPLES
    shown = runner.invoke(main, ["validate", str(root), "--digests", "--workers", "1"])
    assert "digest: " in shown.output and "train-000001.tar" in shown.output and "mean pose" in shown.output
    assert runner.invoke(main, ["validate", str(tmp_path / "nowhere")]).exit_code == 1
