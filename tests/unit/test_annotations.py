import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from support.cameras import look_at

from handgen.errors import HandgenError
from handgen.io import annotations as store
from handgen.io.annotations import Annotations
from handgen.io.camera_json import camera_document
from handgen.io.cutouts import Cutout
from handgen.records.annotation import HandRecord, ViewRecord
from handgen.storage import filesystem
from handgen.storage.documents import write_json
from handgen.storage.filesystem import location
from handgen.storage.output import MANIFEST, kind_of, prepare_output


def record(rng, frame=3) -> tuple[HandRecord, Cutout]:
    camera = look_at("cam0", np.array([0.3, 0.1, 0.5]), np.zeros(3)).ideal().cropped(100, 80, 64, 48)
    view = ViewRecord(
        camera=camera,
        cutout=f"{frame:08d}_right_00",
        box_px=(100, 80, 64, 48),
        detected_px=rng.random((21, 3)).round(3),
        reprojection_px=1.25,
        mask_iou=0.9,
        accepted=True,
        edge_blur_px=0.725,
        screen="blue",
    )
    missed = replace(
        view,
        cutout="other",
        detected_px=None,
        reprojection_px=None,
        accepted=False,
        reasons=("mask disagrees",),
        edge_blur_px=None,
        screen=None,
    )
    hand = HandRecord(
        frame=frame,
        side="right",
        subject="0",
        pose=rng.normal(size=48).round(6),
        translation_m=rng.normal(size=3).round(6),
        keypoints_world_m=rng.normal(size=(21, 3)).round(6),
        accepted=True,
        reprojection_px=1.25,
        mask_iou=0.9,
        views_detected=1,
        views=(view, missed),
        covariance_mm2=np.stack([a @ a.T for a in rng.normal(size=(21, 3, 3))]),
        source="silhouette",
        terms={"keypoints": 0.75, "contact": 0.25},
    )
    mask = np.zeros((48, 64), np.uint8)
    mask[10:30, 5:40] = 255
    return hand, Cutout(np.full((48, 64, 3), (200, 30, 90), np.uint8), mask)


def manifest(chunks=1):
    return {
        "kind": "annotations", "format_version": 1, "created_by": "a test",
        "capture": {
            "path": "x", "frame_count": 4, "fps": 30.0, "calibration_format": "h", "scale": "given",
            "metres_per_unit": 1.0,
        },
        "cameras": [], "hand_model": {"name": "open", "sha256": {}},
        "subjects": {"0": {"betas": [0.5] * 10, "detector_offsets_m": np.zeros((21, 3)).tolist(), "frames": 4}},
        "configuration": {}, "summary": {},
        "chunks": [{"index": i, "first_frame": 0, "frames": 4, "records": 1, "accepted": 1} for i in range(chunks)],
    }  # fmt: skip


@pytest.fixture
def written(tmp_path, rng):
    hand, cutout = record(rng)
    store.write_chunk(tmp_path, 0, [hand], [(view.cutout, cutout) for view in hand.views])
    write_json(tmp_path / MANIFEST, manifest(), store.MANIFEST_SCHEMA)
    return tmp_path, hand, cutout


def test_what_is_written_is_read(written):
    root, hand, cutout = written
    opened = Annotations(root)
    ((chunk, found),) = list(opened)
    assert chunk == 0 and found.accepted and found.views_detected == 1
    for name in ("pose", "translation_m", "keypoints_world_m"):
        np.testing.assert_array_equal(getattr(found, name), getattr(hand, name))
    np.testing.assert_allclose(found.covariance_mm2, hand.covariance_mm2, atol=5e-4)  # three digits
    assert found.source == "silhouette" and found.terms == hand.terms
    for ours, theirs in zip(found.views, hand.views, strict=True):
        np.testing.assert_array_equal(ours.camera.intrinsics, theirs.camera.intrinsics)
        found_matrix, matrix = ours.camera.cam_from_world.as_matrix(), theirs.camera.cam_from_world.as_matrix()
        np.testing.assert_allclose(found_matrix, matrix, atol=1e-11)  # twelve digits
        for name in ("box_px", "reasons", "cutout", "edge_blur_px", "screen"):
            assert getattr(ours, name) == getattr(theirs, name)
    pixels = opened.cutout(0, found.views[0])
    np.testing.assert_array_equal(pixels.mask, cutout.mask)
    assert np.abs(pixels.image.astype(int) - cutout.image).max() <= 3  # JPEG of a flat colour
    np.testing.assert_array_equal(opened.betas["0"], np.full(10, 0.5))


def test_records_of_before_edges_and_arms_are_read(written):
    root, hand, _ = written
    path = store.chunk_path(root, 0, ".jsonl")
    document = json.loads(path.read_text())
    for view in document["views"]:
        del view["edge_blur_px"], view["screen"]
    path.write_text(json.dumps(document))
    opened = Annotations(root)
    ((_, found),) = list(opened)
    assert [(view.edge_blur_px, view.screen) for view in found.views] == [(None, None)] * 2
    assert opened.cutout(0, found.views[0]).arm is None


def test_an_arm_is_kept_where_there_is_one(tmp_path, rng):
    hand, without = record(rng)
    with_arm = replace(without, arm=np.roll(without.mask, 18, axis=0))
    store.write_chunk(tmp_path, 0, [hand], zip((v.cutout for v in hand.views), (with_arm, without), strict=True))
    write_json(tmp_path / MANIFEST, manifest(), store.MANIFEST_SCHEMA)
    opened = Annotations(tmp_path)
    np.testing.assert_array_equal(opened.cutout(0, hand.views[0]).arm, with_arm.arm)
    assert opened.cutout(0, hand.views[1]).arm is None


def test_an_arm_of_another_size_is_named(tmp_path, rng):
    hand, cutout = record(rng)
    wrong = replace(cutout, arm=np.full((48, 60), 255, np.uint8))
    store.write_chunk(tmp_path, 0, [hand], [(hand.views[0].cutout, wrong)])
    write_json(tmp_path / MANIFEST, manifest(), store.MANIFEST_SCHEMA)
    with pytest.raises(HandgenError, match="arm.png: is 60x48, but should be 64x48"):
        Annotations(tmp_path).cutout(0, hand.views[0])


def test_the_same_chunk_has_the_same_bytes(tmp_path, rng):
    hand, cutout = record(rng)
    for name in ("a", "b"):
        store.write_chunk(tmp_path / name, 0, [hand], [(view.cutout, cutout) for view in hand.views])
    for suffix in (".tar", ".jsonl"):
        paths = [store.chunk_path(tmp_path / name, 0, suffix) for name in ("a", "b")]
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_chunk_that_fails_halfway_is_absent(tmp_path, rng):
    hand, cutout = record(rng)

    def broken():
        yield hand.views[0].cutout, cutout
        raise RuntimeError("the disk went away")

    with pytest.raises(RuntimeError):
        store.write_chunk(tmp_path, 0, [hand], broken())
    assert not list(tmp_path.rglob("*.jsonl")) and not list(tmp_path.rglob("*.tar"))


def damaged(text: str, **changes) -> str:
    return json.dumps(json.loads(text) | changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[: len(t) // 2], "not valid JSON"),
        (lambda t: damaged(t, side="both"), "side"),
        (lambda t: damaged(t, pose=[0.0] * 47), "pose"),
        (lambda t: damaged(t, extra=1), "extra"),
        (lambda t: damaged(t, translation_m=[0, 0, None]), "translation_m"),
    ],
)
def test_damaged_records_are_named(written, change, message):
    path = store.chunk_path(written[0], 0, ".jsonl")
    path.write_text(change(path.read_text()))
    with pytest.raises(HandgenError, match=message) as error:
        list(Annotations(written[0]))
    assert f"{path}, line 1" in str(error.value)


def test_a_camera_that_is_none_is_named(written):
    path = store.chunk_path(written[0], 0, ".jsonl")
    document = json.loads(path.read_text())
    document["views"][0]["cam_from_world"] = np.diag([1, 1, -1, 1]).tolist()
    path.write_text(json.dumps(document))
    with pytest.raises(HandgenError, match="rotation is not orthonormal"):
        list(Annotations(written[0]))


def test_missing_pieces_are_named(written, tmp_path):
    root, hand, _ = written
    opened = Annotations(root)
    with pytest.raises(HandgenError, match=r"no member other2\.jpg"):
        opened.cutout(0, replace(hand.views[0], cutout="other2"))
    with pytest.raises(HandgenError, match="is 64x48, but should be 32x48"):
        opened.cutout(0, replace(hand.views[0], camera=hand.views[0].camera.cropped(0, 0, 32, 48)))
    store.chunk_path(root, 0, ".jsonl").unlink()
    with pytest.raises(HandgenError, match="run `handgen annotate` again"):
        list(Annotations(root))
    with pytest.raises(HandgenError, match=r"no manifest\.json"):
        Annotations(tmp_path / "nothing")


RUN = {"size": 224, "seed": 1}


@pytest.mark.parametrize("kind", [[], {}, 3, None])
def test_a_kind_that_is_no_text_is_none(tmp_path, kind):
    (tmp_path / "run.json").write_text(json.dumps({"kind": kind}))
    assert kind_of(tmp_path) is None
    (tmp_path / MANIFEST).write_text(json.dumps({"kind": "shards"}))
    assert kind_of(tmp_path) == "shards"


def test_an_output_directory_is_claimed_once(tmp_path):
    out = tmp_path / "out"
    prepare_output(out, "annotations", RUN, ("chunks",), False)
    assert kind_of(out) == "annotations"
    (out / "chunks").mkdir()
    prepare_output(out, "annotations", RUN, ("chunks",), False)  # the same run goes on
    assert (out / "chunks").exists()
    with pytest.raises(HandgenError, match=r"size: 224 there, 256 now.*--overwrite"):
        prepare_output(out, "annotations", RUN | {"size": 256}, ("chunks",), False)
    prepare_output(out, "annotations", RUN | {"size": 256}, ("chunks",), True)
    assert not (out / "chunks").exists()


def test_an_output_directory_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(HandgenError, match="holds something other than annotations"):
            prepare_output(tmp_path, "annotations", RUN, ("*",), overwrite)
    assert (tmp_path / "thesis.tex").exists()
    with pytest.raises(HandgenError, match="is a file"):
        prepare_output(tmp_path / "thesis.tex", "annotations", RUN, (), False)


def test_a_chunk_needs_both_of_its_files(written):
    root = written[0]
    assert store.find_finished_chunks(root, 2, {}).keys() == {0}
    for suffix in (".tar", ".jsonl"):
        path = store.chunk_path(root, 0, suffix)
        content = path.read_bytes()
        path.unlink()
        assert not store.find_finished_chunks(root, 2, {})
        path.write_bytes(content)


def test_records_that_are_far_too_many_are_not_read(written):
    path = store.chunk_path(written[0], 0, ".jsonl")
    content = path.read_bytes()
    path.write_bytes(b" " * (5 * 2**20) + content)
    with pytest.raises(HandgenError, match=r"line 1: a record larger than 4 MiB.*HANDGEN_MAX_SAMPLE_MIB"):
        store.read_chunk(written[0], 0)
    with path.open("wb") as file:
        file.truncate(2**30 + 1)  # a hole: it takes no place on the disk
    with pytest.raises(HandgenError, match="larger than 1024 MiB"):
        store.read_chunk(written[0], 0)


def test_too_many_records_of_a_store_are_not_fetched(written, set_budget, monkeypatch, tmp_path):
    root = location(f"memory://records/{tmp_path.name}")
    content = store.chunk_path(written[0], 0, ".jsonl").read_bytes()
    filesystem.put(store.chunk_path(root, 0, ".jsonl"), content)
    assert len(store.read_chunk(root, 0)) == len(store.read_chunk(written[0], 0))
    set_budget("HANDGEN_MAX_FILE_MIB", 1)  # of which records may take two thirds
    filesystem.put(store.chunk_path(root, 0, ".jsonl"), content + b"\n" * 2**21)
    fetched = []
    monkeypatch.setattr(filesystem, "read_range", partial(_counted, filesystem.read_range, fetched))
    with pytest.raises(HandgenError, match="the records of a chunk larger than 683 KiB.*HANDGEN_MAX_FILE_MIB"):
        store.read_chunk(root, 0)
    assert fetched == [2**20 * 1024 // 1536 + 1]  # of three megabytes and more


def test_no_more_cutouts_are_fetched_ahead_than_memory_holds(written, set_budget, monkeypatch, tmp_path):
    set_budget("HANDGEN_MAX_FILE_MIB", 1)  # of which cutouts may take a third
    asked = []
    monkeypatch.setattr(filesystem, "is_remote", lambda place: True)
    monkeypatch.setattr(filesystem, "read_ranges", lambda wanted: asked.extend(span for _, span in wanted) or {})
    Annotations(written[0]).fetch([(0, (0, 200_000)), (0, (200_000, 100_000)), (0, (300_000, 2**40)), (0, (0, 10))])
    assert asked == [(0, 200_000), (200_000, 100_000)]


def _counted(read, fetched, *arguments):
    data = read(*arguments)
    fetched.append(len(data))
    return data


def test_the_rig_of_the_manifest(written, rig):
    root = written[0]
    write_json(
        root / MANIFEST, manifest() | {"cameras": [camera_document(camera) for camera in rig]}, store.MANIFEST_SCHEMA
    )
    for ours, theirs in zip(Annotations(root).rig, rig, strict=True):
        assert (ours.name, ours.size_px, ours.lens) == (theirs.name, theirs.size_px, theirs.lens)
        np.testing.assert_array_equal(ours.cam_from_world.as_matrix(), theirs.cam_from_world.as_matrix())
    bent = camera_document(rig.cameras[0]) | {"cam_from_world": (2 * np.eye(4)).tolist()}
    write_json(root / MANIFEST, manifest() | {"cameras": [bent]}, store.MANIFEST_SCHEMA)
    with pytest.raises(HandgenError, match=r"manifest\.json: camera cam0: .*orthonormal"):
        _ = Annotations(root).rig
    write_json(root / MANIFEST, manifest() | {"cameras": [camera_document(rig.cameras[0])] * 2}, store.MANIFEST_SCHEMA)
    with pytest.raises(HandgenError, match="names must differ"):
        _ = Annotations(root).rig
