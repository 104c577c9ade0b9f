"""`handgen demo`: the whole job on a capture that handgen renders itself."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import click

from handgen.cli.options import LocalPath, json_option


@click.command()
@click.argument("out", type=LocalPath(file_okay=False, path_type=Path), metavar="OUT")
@click.option("--workers", type=click.IntRange(1), help="Processes; one per core by default.")
@json_option
def demo(out: Path, workers: int | None, as_json: bool) -> None:
    """Render a small capture, annotate it, make training shards of it: all in OUT, in minutes.

    \b
    OUT/capture             4 cameras x 24 frames of a moving hand, rendered
    OUT/annotations         what `handgen annotate` made of it: from the pixels, never from the truth
    OUT/shards              what `handgen synthesize` made of that: WebDataset tars
    OUT/contact_sheet.png   some of the samples, keypoints drawn

    Needs no cameras and no licensed files; downloads the two keypoint networks if `handgen models fetch` has
    not been run. A demo that was interrupted goes on where it stopped.
    """
    from handgen.cli.console import print_json, say, show_progress
    from handgen.detect.mediapipe import networks
    from handgen.errors import HandgenError
    from handgen.media.images import write_png
    from handgen.stages.annotate import stage as annotate
    from handgen.stages.annotate.config import AnnotateConfig
    from handgen.stages.simulate import stage as simulate
    from handgen.stages.simulate.config import SimulateConfig
    from handgen.stages.synthesize import stage as synthesize
    from handgen.stages.synthesize.config import SynthesizeConfig
    from handgen.visualize import drawing

    began = time.perf_counter()

    tell = partial(say, err=as_json)

    capture, annotations, shards = out / "capture", out / "annotations", out / "shards"
    sheet = out / "contact_sheet.png"
    if out.is_dir() and any(out.iterdir()) and not capture.is_dir():
        raise HandgenError(f"{out}: holds something other than a demo; choose another OUT")
    try:
        for name in networks.NETWORKS:
            networks.locate(name)
    except HandgenError:
        tell(f"0. fetching the two keypoint networks (from {networks.WHEEL_REQUIREMENT}, by pip; once)")
        networks.fetch()
    tell(f"1. rendering a capture: {capture}")
    with show_progress() as progress:
        simulated = simulate.run(capture, SimulateConfig(views=4, frames=24, fps=8, workers=workers), progress)
    tell(
        f"   {simulated.cameras} cameras x {simulated.frames} frames "
        f"({simulated.seconds:.0f} s, {simulated.views_per_s:.1f} views/s)"
    )
    tell(f"2. annotating it from its pixels: {annotations}")
    # The truth lies in the capture, too: it is not passed on, and `annotate` does not look for it.
    with show_progress() as progress:
        annotated = annotate.run(capture, annotations, AnnotateConfig(workers=workers), progress)
    accepted, found = sum(annotated.accepted.values()), sum(annotated.records.values())
    tell(
        f"   {accepted} of {found} hands accepted in {annotated.frames} frames, "
        f"reprojection {_show(annotated.reprojection_px, '.1f')} px, "
        f"mask IoU {_show(annotated.mask_iou, '.2f')} ({annotated.seconds:.0f} s)"
    )
    tell(f"3. synthesizing training samples on made-up backgrounds: {shards}")
    with show_progress() as progress:
        synthesized = synthesize.run(annotations, shards, None, SynthesizeConfig(workers=workers), progress)
    tell(
        f"   {synthesized.samples} samples in {synthesized.shards} shards "
        f"({synthesized.seconds:.0f} s, {synthesized.samples_per_s:.0f} samples/s)"
    )
    write_png(sheet, drawing.contact_sheet(drawing.read_sheet(shards, 48), columns=8))
    seconds = time.perf_counter() - began
    if as_json:
        document = {
            "seconds": round(seconds, 2),
            "contact_sheet": str(sheet),
            "simulate": simulated.to_json(),
            "annotate": annotated.to_json(),
            "synthesize": synthesized.to_json(),
        }
        print_json(document)
        return
    tell(f"4. done in {seconds:.0f} s; look at {sheet}")
    tell("Next:")
    tell(f"  handgen inspect {shards}")
    tell(f"  handgen annotate {capture} --out {annotations} --preview 4     the fits, drawn on the views")
    tell("  handgen inspect CAPTURE; handgen annotate CAPTURE     with your own cameras")


def _show(value: float | None, form: str) -> str:
    return "unknown" if value is None else format(value, form)
