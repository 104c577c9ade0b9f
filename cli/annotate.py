"""`handgen annotate`: a capture -> annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from handgen.cli.options import LocationType, config_options, json_option, overwrite_option
from handgen.stages.annotate.config import AnnotateConfig
from handgen.wording import counts_of

if TYPE_CHECKING:
    from handgen.stages.annotate.stage import AnnotateReport
    from handgen.storage.filesystem import Location


@click.command()
@click.argument("capture", default=".", type=LocationType(exists=True), metavar="[CAPTURE]")
@click.option("--out", type=LocationType(), help="Directory to write.  [default: CAPTURE/annotations]")
@config_options(AnnotateConfig)
@overwrite_option(help="Replace annotations of a different run.")
@json_option
def annotate(capture: Location, out: Location | None, config: AnnotateConfig, overwrite: bool, as_json: bool) -> None:
    """Find, fit and cut out the hands in CAPTURE (default: this folder): nobody labels anything.

    \b
    handgen annotate my_capture --out annotations
    handgen annotate my_capture --metres-per-unit 0.024      chessboard squares of 24 mm
    handgen annotate my_capture --preview 8                  and look at annotations/previews

    Run it again after an interruption: finished chunks are kept. `handgen inspect CAPTURE` says first whether the
    calibration is understood.
    """
    from handgen.cli.console import print_report, progress_bars
    from handgen.stages.annotate import stage

    with progress_bars() as progress:
        report = stage.run(capture, out or capture / "annotations", config, progress, overwrite)
    print_report(report, as_json, _print)


def _print(report: AnnotateReport) -> None:
    from handgen.cli.console import print_summary

    facts = [
        ("frames", str(report.frames)),
        ("hands fitted", counts_of(report.records)),
        ("accepted", counts_of(report.accepted)),
        ("rejected", counts_of(report.rejected)),
        ("frames bridged", str(report.bridged)),
        ("views accepted", f"{report.views}, {report.views_detected_again} of them found when searched again"),
        ("views rejected", counts_of(report.views_rejected)),
        ("median reprojection", "-" if report.reprojection_px is None else f"{report.reprojection_px:.2f} px"),
        ("median mask IoU", "-" if report.mask_iou is None else f"{report.mask_iou:.3f}"),
        ("scale", f"{report.metres_per_unit:.6g} m per calibration unit ({report.scale})"),
        ("speed", f"{report.frames_per_s:.1f} frames/s ({report.seconds:.0f} s)"),
    ]
    if report.previews:
        facts.append(("pictures", str(report.previews[0].parent)))
    next_steps = [
        f"handgen synthesize {report.out} --backgrounds DIR --out shards",
        f"handgen validate {report.out} --digests",
    ]
    print_summary(f"{report.out}", facts, report.notes, next_steps if report.views else next_steps[1:])
