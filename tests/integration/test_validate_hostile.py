"""Files that are meant to trip: whatever they hold becomes a finding, never an exception."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.annotations import write_annotations
from support.export_sets import entry_of, pictures_of, write_coco, write_hamer
from support.mutations import each_sample

from handgen.datasets.hamer import reader
from handgen.label_checks.evidence import model_beside
from handgen.stages.synthesize import stage
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.stages.validate.stage import run

FUZZED = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
numbers = st.sampled_from([0.0, -1.0, 1e-300, 1e308, -1e308, 1e9, 3.5])
values = st.one_of(
    st.none(),
    st.booleans(),
    numbers,
    st.sampled_from(["", "text", [], [1], {}, {"a": 1}, "../../etc/passwd", 10**30]),
    st.lists(numbers, max_size=70),
)
arrays = st.one_of(
    values,
    st.sampled_from([(21, 3), (21, 4), (48,), (2,), (10,), (0,), (1,), ()]).flatmap(
        lambda shape: st.sampled_from([np.nan, np.inf, 0, 1e30, -5]).map(lambda v: np.full(shape, v, np.float32))
    ),
)


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("hostile")
    annotations = write_annotations(root / "annotations", frames=2, accept_all=True)
    stage.run(annotations, root / "shards", None, SynthesizeConfig(samples=8, size=64, workers=1, seed=5))
    return root / "shards"


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return folder


@FUZZED
@given(st.data())
def test_numbers_of_any_size_in_shards_are_findings(shards, tmp_path, data):
    root = Path(shutil.copytree(shards, fresh(tmp_path / "shards")))
    name = data.draw(
        st.sampled_from(["keypoints_2d", "keypoints_3d", "pose", "betas", "translation_m", "intrinsics", "matrix"])
    )
    value = data.draw(numbers)

    def change(document, _):
        holder = document["hand"] if name in document["hand"] else document
        if name in ("intrinsics", "matrix"):
            holder, key = document["camera"], "intrinsics" if name == "intrinsics" else "cam_from_world"
        else:
            key = name
        array = np.array(holder[key], float)
        array.flat[data.draw(st.integers(0, array.size - 1))] = value
        holder[key] = array.tolist()

    each_sample(change, only=3)(root)
    assert run(root, workers=1).findings.kept or abs(value) < 1e6


@pytest.mark.parametrize(
    ("value", "said"), [(9e9, "the intrinsics are not finite, or beyond all bounds"), (1e308, "maximum of 1")]
)
def test_a_focal_length_beyond_all_bounds_is_a_finding(shards, tmp_path, value, said):
    """It was taken for a camera that is not known: no check looked at it."""
    root = Path(shutil.copytree(shards, tmp_path / "shards"))

    def change(document, _):
        document["camera"]["intrinsics"][0][0] = value

    each_sample(change, only=3)(root)
    assert any(said in str(finding) for finding in run(root, workers=1).findings.kept)


@FUZZED
@given(st.data())
def test_anything_in_a_pickle_of_hamers_is_a_finding(shards, tmp_path, data):
    picture = pictures_of(shards)[0]
    key = data.draw(st.sampled_from(sorted(entry_of(picture, picture.hands[0]))))
    value = data.draw(arrays)
    root = write_hamer(fresh(tmp_path / "tars"), [picture] * 1, lambda entry: [{**entry, key: value}])
    report = run(root, workers=1)
    assert report.kind == "hamer" and report.facts["pictures"] == 1


def test_masks_are_looked_at_once_for_all_hands_of_a_picture(shards, tmp_path, monkeypatch):
    """The directory of a zip may have thousands of entries, and labels thousands of hands."""
    looks = []
    monkeypatch.setattr(reader, "mask_shape", lambda data, where: looks.append(where) or (1, 64, 64))
    [picture, *_] = pictures_of(shards)
    root = write_hamer(tmp_path / "tars", [picture], lambda entry: [entry] * 50)
    assert run(root, workers=1).facts["hands"] == 50 and len(looks) == 1
    root = write_hamer(tmp_path / "crowd", [picture], lambda entry: [entry] * 201)
    findings = run(root, workers=1).findings
    assert findings.kept[0].kind == "hamer list" and "more than 200" in findings.kept[0].what


def test_the_default_of_hamers_loader_is_no_fault(shards, tmp_path):
    def with_default(entry):
        return [{**entry, "extra_info": {**entry["extra_info"], "fitting_loss": np.array({})}}]

    report = run(write_hamer(tmp_path / "tars", pictures_of(shards), with_default), workers=1)
    assert report.valid, report.findings.kept


@pytest.mark.parametrize("value", [None, 3, "text", [], [1], {}, [[]], {"a": [1]}])
def test_other_pickles_in_hamers_tars_are_findings(shards, tmp_path, value):
    root = write_hamer(tmp_path / "tars", pictures_of(shards), lambda _: value)
    assert run(root, workers=1).valid == (value == [])  # a picture without hands


def test_pickles_that_run_something_are_findings_and_run_nothing(shards, tmp_path):
    class Attack:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    assert pickle.dumps([Attack()])
    root = write_hamer(tmp_path / "tars", pictures_of(shards), lambda _: [Attack()])
    findings = run(root, workers=1).findings
    assert findings.kept[0].kind == "hamer list" and "nothing of the file was run" in findings.kept[0].what
    assert not (tmp_path / "ran").exists()


@FUZZED
@given(st.data())
def test_anything_in_a_coco_file_is_a_finding(shards, tmp_path, data):
    member = data.draw(st.sampled_from(["images", "annotations", "categories"]))
    value = data.draw(values)

    def change(document):
        entry = document[member][0]
        if data.draw(st.booleans()):
            document[member][0] = value
        else:
            entry[data.draw(st.sampled_from(sorted(entry)))] = value

    root = write_coco(fresh(tmp_path / "coco"), pictures_of(shards)[:3], change)
    assert run(root, workers=1).kind == "coco"


@pytest.mark.parametrize(
    "manifest", [{}, {"hand_models": 3}, {"hand_models": {"0": 5}, "source": {"path": None}}, {"source": 1}]
)
def test_manifests_of_exports_that_say_nothing_are_passed_over(shards, tmp_path, manifest):
    root = write_hamer(tmp_path / "tars", pictures_of(shards))
    (root / "manifest.json").write_text(json.dumps({"kind": "export", "format": "hamer", **manifest}))
    report = run(root, workers=1)
    assert report.kind == "hamer" and report.valid, report.findings.kept


def test_models_are_read_from_inside_a_directory_alone():
    assert model_beside("/data/annotations", "hand_{side}.npz") == "/data/annotations/hand_{side}.npz"
    for name in ("../hand.npz", "/etc/hand.npz", "a/../../hand.npz", "open", "", 3):
        assert model_beside("/data/annotations", name) is None
    assert model_beside("s3://bucket/annotations", "hand.npz") is None
