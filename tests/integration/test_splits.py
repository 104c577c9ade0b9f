import collections
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from support.annotations import write_annotations

from handgen.cli.main import main
from handgen.errors import HandgenError
from handgen.io import shards
from handgen.stages.synthesize import stage
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.stages.synthesize.splits import Group, assign, divided, groups_of

CONFIG = SynthesizeConfig(size=48, workers=1, seed=3, augment="none", split="train=0.75,val=0.25")
NAMES = ("train", "val", "test")


@st.composite
def sequences(draw):
    count = draw(st.integers(1, 12))
    people = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=3, unique=True)
    return (
        draw(st.lists(people, min_size=count, max_size=count)),
        draw(st.lists(st.integers(1, 500), min_size=count, max_size=count)),
    )


@given(sequences())
def test_groups_keep_people_and_sequences_whole(case):
    subjects, views = case
    groups = groups_of(subjects, views, "subject")
    assert sorted(number for group in groups for number in group.members) == list(range(len(subjects)))
    for number, group in enumerate(groups):
        assert set(group.subjects) == {name for member in group.members for name in subjects[member]}
        assert group.views == sum(views[member] for member in group.members)
        for other in groups[number + 1 :]:
            assert not set(group.subjects) & set(other.subjects)
    assert [group.members for group in groups_of(subjects, views, "sequence")] == [(n,) for n in range(len(subjects))]


def test_a_sequence_of_two_people_ties_their_sequences_together():
    groups = groups_of([["a"], ["b"], ["c"], ["a", "b"]], [1, 2, 3, 4], "subject")
    assert groups == [Group((0, 1, 3), ("a", "b"), 7), Group((2,), ("c",), 3)]


@given(st.lists(st.integers(1, 300), min_size=3, max_size=20), st.integers(0, 2**60), st.integers(1, 3))
def test_no_split_is_empty_and_shares_are_met_within_one_group(views, seed, count):
    shares = {1: (1.0,), 2: (0.9, 0.1), 3: (0.6, 0.3, 0.1)}[count]
    groups = [Group((number,), (str(number),), n) for number, n in enumerate(views)]
    chosen = assign(groups, shares, seed, NAMES, "subject")
    reached = [sum(n for n, split in zip(views, chosen, strict=True) if split == s) for s in range(count)]
    assert len(chosen) == len(groups) and min(reached) > 0
    assert chosen == assign(groups, shares, seed, NAMES, "subject")
    for asked, found in zip(shares, reached, strict=True):
        # A split is given a group while it lacks views, so it has one group too many at most; one that is to be
        # filled at the end takes a group from the others.
        assert found <= asked * sum(views) + max(views)


def test_fewer_groups_than_splits_is_an_error_that_says_what_to_do():
    with pytest.raises(HandgenError, match="1 subject cannot be divided into train and val.*--split-by sequence"):
        assign([Group((0,), ("a",), 9)], (0.9, 0.1), 0, NAMES[:2], "subject")
    with pytest.raises(HandgenError, match="2 sequences cannot be divided.*more annotations"):
        assign([Group((0,), ("a",), 9)] * 2, (0.5, 0.3, 0.2), 0, NAMES, "sequence")


@given(st.integers(1, 5000), st.lists(st.integers(1, 100), min_size=1, max_size=5))
def test_samples_are_divided_without_rest(samples, weights):
    shares = [weight / sum(weights) for weight in weights]
    parts = divided(samples, shares)
    assert sum(parts) == samples
    assert samples < len(shares) or min(parts) >= 1
    if samples >= 200:  # each is at least one then, and nothing is moved
        assert all(abs(part - share * samples) < 1 + len(shares) for part, share in zip(parts, shares, strict=True))


@pytest.fixture(scope="module")
def captures(tmp_path_factory) -> list[Path]:
    """Four sequences of three people: "anna" is in two, the people of the others have no names."""
    root = tmp_path_factory.mktemp("captures")
    found = []
    for number, subject in enumerate(("anna", "0", "anna", "0")):
        path = write_annotations(root / f"seq{number}", frames=2, cameras=2, seed=number, accept_all=True)
        rename(path, f"seq{number}", subject)
        found.append(path)
    return found


def rename(root: Path, capture: str, subject: str) -> None:
    manifest = json.loads((root / "manifest.json").read_text())
    manifest["capture"]["path"] = capture
    manifest["subjects"] = {subject: next(iter(manifest["subjects"].values()))}
    (root / "manifest.json").write_text(json.dumps(manifest))
    for path in (root / "chunks").glob("*.jsonl"):
        records = [json.loads(line) | {"subject": subject} for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(record) + "\n" for record in records))


def samples_of(root: Path) -> list[dict]:
    return [
        shards.read_document(path, key, group)
        for path in sorted(root.glob("*.tar"))
        for key, group in shards.read_groups(path)
    ]


def test_nobody_is_in_two_splits_and_all_views_are_used_alike(captures, tmp_path):
    report = stage.run(captures, tmp_path / "out", None, replace(CONFIG, samples=200))
    manifest = shards.read_manifest(tmp_path / "out")
    documents = samples_of(tmp_path / "out")
    people, used = collections.defaultdict(set), collections.defaultdict(collections.Counter)
    for document in documents:
        split, source = document["key"].split("_")[0], document["source"]
        people[split].add(source["subject"])
        side = {"left": "right", "right": "left"}[document["side"]] if document["mirrored"] else document["side"]
        used[split][source["capture"], source["frame"], source["camera"], side] += 1
    assert people["train"].isdisjoint(people["val"])
    assert people["train"] | people["val"] == {"anna", "seq1/0", "seq3/0"}
    assert len({document["key"] for document in documents}) == len(documents) == 200
    assert len({tuple(document["seed"]) for document in documents}) == 200
    for split, reported in zip(manifest["splits"], report.splits, strict=True):
        counts = used[split["name"]]
        assert split["samples"] == counts.total() == {"train": 150, "val": 50}[split["name"]]
        assert len(counts) == split["views"] == reported.views
        assert [min(counts.values()), max(counts.values())] == split["uses"]
        assert {name for group in split["groups"] for name in group["subjects"]} == people[split["name"]]
    assert sum(entry["views"] for entry in manifest["annotations"]) == report.views == 32


def test_the_order_of_the_directories_changes_nothing(captures, tmp_path):
    for name, order in (("a", captures), ("b", captures[::-1])):
        stage.run(order, tmp_path / name, None, replace(CONFIG, samples=24))
    first, second = ((tmp_path / name / "manifest.json").read_bytes() for name in "ab")
    assert first == second


def test_without_a_number_of_samples_every_view_gives_one(captures, tmp_path):
    report = stage.run(captures, tmp_path / "out", None, CONFIG)
    assert report.samples == report.views == 32
    assert all(split.samples == split.views for split in report.splits)


def test_by_sequence_the_same_person_may_be_in_both_and_that_is_said(captures, tmp_path):
    config = replace(CONFIG, split="train=0.5,val=0.5", split_by="sequence", samples=8)
    report = stage.run([captures[0], captures[2]], tmp_path / "out", None, config)
    assert [split.sequences for split in report.splits] == [1, 1]
    assert any("in all splits" in note and "anna" in note for note in report.notes)
    with pytest.raises(HandgenError, match="1 subject cannot be divided"):
        stage.run([captures[0], captures[2]], tmp_path / "by_subject", None, CONFIG)


def test_captures_of_one_name_are_told_apart_and_the_same_one_twice_is_refused(captures, tmp_path):
    shutil.copytree(captures[1], tmp_path / "again")
    with pytest.raises(HandgenError, match="the same annotations as"):
        stage.run([captures[1], tmp_path / "again"], tmp_path / "out", None, replace(CONFIG, split="train"))
    rename(tmp_path / "again", "seq1", "ben")
    stage.run([captures[1], tmp_path / "again"], tmp_path / "out", None, replace(CONFIG, split="train"))
    assert {document["source"]["capture"] for document in samples_of(tmp_path / "out")} == {"seq1", "seq1-2"}


def test_other_shares_are_another_run(captures, tmp_path):
    stage.run(captures, tmp_path / "out", None, replace(CONFIG, samples=12))
    for split in ("train=0.5,val=0.5", "val=0.25,train=0.75"):
        with pytest.raises(HandgenError, match="splits"):
            stage.run(captures, tmp_path / "out", None, replace(CONFIG, samples=12, split=split))


def test_splits_share_no_picture(captures, tmp_path, rng):
    from handgen.media import images

    for number in range(8):
        images.write_png(tmp_path / f"pictures/{number}.png", rng.integers(0, 255, (64, 64, 3), dtype="uint8"))
    stage.run(captures, tmp_path / "out", tmp_path / "pictures", replace(CONFIG, samples=64))
    shown = collections.defaultdict(set)
    for document in samples_of(tmp_path / "out"):
        shown[document["key"].split("_")[0]].add(document["background"])
    assert len(shown["train"]) >= 2 and len(shown["val"]) >= 2 and shown["train"].isdisjoint(shown["val"])


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ("train=0.9,val=0.2", "sum to 1.1"),
        ("train=0.9,train=0.1", "named twice"),
        ("train=0.9,val", "is no share"),
        ("train=1.5,val=-0.5", "above 0"),
        ("a.b=1", "letters, digits"),
        ("", "letters, digits"),
    ],
)
def test_wrong_splits_are_wrong_usage(split, said):
    result = CliRunner().invoke(main, ["synthesize", "nowhere", "--split", split])
    assert result.exit_code == 2 and said in result.output


def test_the_command_takes_several_directories_and_says_what_became_of_them(captures, tmp_path):
    command = ["synthesize", *map(str, captures), "--out", str(tmp_path / "out"), "--samples", "16", "--size", "48"]
    result = CliRunner().invoke(main, [*command, "--split", "train=0.75,val=0.25", "--workers", "1"])
    assert result.exit_code == 0, result.output
    assert "split train" in result.output and "12 samples" in result.output
    assert "split val" in result.output and "4 samples" in result.output
