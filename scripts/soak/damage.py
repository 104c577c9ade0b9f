"""Damage to what a run reads: cutouts of annotations, a picture of a capture."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from benchmark import Bench
from runs import Run

from handgen.io import shards
from handgen.io.annotations import Annotations, chunk_path
from handgen.records.annotation import ViewRecord
from handgen.storage.output import MANIFEST

View = tuple[int, str]  # frame, camera: there is one hand
_HEADER = 40  # bytes of a JPEG to be overwritten, after its first member's header of 512


def damaged_cutouts(bench: Bench) -> str:
    """Damage one cutout's JPEG header, of another chunk the second half, of a third the whole tar.

    Exactly the samples of these cutouts must be missing; all others must have the same bytes. Without occluders: a
    sample that would borrow a damaged hand as an occluder is made without it.
    """
    stage = bench.stage.with_options("--occluder", "0")
    whole, out, copy = bench.fresh(), bench.folder / "damaged-shards", bench.folder / "damaged-annotations"
    for path in (out, copy):
        shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(stage.source, copy)
    damaged = _damage(copy)
    bench.check(Run(stage, whole).wait() == 0, "the run without damage failed")
    run = Run(stage.on(copy), out)
    bench.check(run.wait() == 0, f"exit status {run.wait()}: {run.said()}")
    all_samples, found = _samples(whole), _samples(out)
    expected = {key: sample for key, sample in all_samples.items() if _view(sample) not in damaged}
    lost = len(all_samples) - len(expected)
    bench.check(found == expected, f"{len(found)} samples, not the {len(expected)} expected, or others")
    left_out = json.loads((out / MANIFEST).read_bytes())["left_out"]
    bench.check(left_out["samples"] == lost > 0, f"left_out.samples: {left_out['samples']}, not {lost}")
    named = {entry["name"] for entry in left_out["cutouts"]}
    bench.check(named == set(damaged.values()), f"named: {sorted(named)}, not {sorted(damaged.values())}")
    reason = min((entry["reason"].replace(str(copy), "ANNOTATIONS") for entry in left_out["cutouts"]), key=len)
    return (
        f"{lost} of {len(all_samples)} samples left out, all of the {len(named)} damaged cutouts; counted and named, "
        f"the rest the same bytes; e.g. {reason}"
    )


def _damage(root: Path) -> dict[View, str]:
    """Damage three chunks; gives the names of the cutouts that are lost, of accepted views."""
    annotations = Annotations(root)
    first, second, third = ([(r.frame, v) for r in annotations.records(i) for v in r.views] for i in range(3))
    lost = [first[0], *second[len(second) // 2 :], *third]

    def tar(chunk: int) -> Path:
        return Path(chunk_path(root, chunk, ".tar"))

    data = bytearray(tar(0).read_bytes())
    start = _start_of(first[0][1]) + 512
    data[start : start + _HEADER] = bytes(_HEADER)
    tar(0).write_bytes(data)
    tar(1).write_bytes(tar(1).read_bytes()[: _start_of(second[len(second) // 2][1]) + 700])
    tar(2).unlink()
    # The manifest names each with the capture that it is of.
    capture = annotations.manifest["capture"]["path"]
    return {(frame, view.camera.name): f"{capture}/{view.cutout}" for frame, view in lost if view.accepted}


def _start_of(view: ViewRecord) -> int:
    assert view.cutout_span is not None
    return view.cutout_span[0]


def _samples(root: Path) -> dict[str, dict[str, bytes]]:
    return {key: group for path in sorted(root.glob("*.tar")) for key, group in shards.read_groups(path)}


def _view(sample: dict[str, bytes]) -> View:
    source = json.loads(sample[shards.LABELS])["source"]
    return source["frame"], source["camera"]


def damaged_picture(bench: Bench) -> str:
    """A frame is cut off: the error names it; once it is back, the same command completes."""
    copy = bench.folder / "damaged-capture"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(bench.stage.source, copy / bench.stage.source.name)
    source = copy / bench.stage.source.name
    pictures = sorted((source / "cam_1").iterdir())
    picture = pictures[len(pictures) // 2]
    whole = picture.read_bytes()
    picture.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
    stage, out = bench.stage.on(source), bench.fresh()
    said = bench.fails(Run(stage, out), str(picture))
    bench.is_whole(out)
    picture.write_bytes(whole)
    bench.ends_well(Run(stage, out))
    return said.replace(str(source), "CAPTURE")
