"""`handgen evaluate`: annotations against truth, or against a view that was left out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from handgen.cli.options import LocationType, config_options, json_option, overwrite_option
from handgen.stages.evaluate.config import EvaluateConfig

if TYPE_CHECKING:
    from handgen.storage.filesystem import Location

FOLDER = LocationType(exists=True)


@click.command()
@click.argument("annotations", type=FOLDER)
@click.option("--truth", type=FOLDER, metavar="TRUTH",
              help="Annotations to measure against, or a simulated capture that holds them in truth/.")  # fmt: skip
@click.option("--leave-one-view-out", is_flag=True,
              help="Without truth: fit on the other views, compare with the view's own detections.")  # fmt: skip
@click.option("--capture", type=FOLDER, help="For --leave-one-view-out.  [default: the folder ANNOTATIONS lies in]")
@click.option("--report", "report_dir", type=LocationType(), metavar="DIR",
              help="Write report.html, plots and evaluation.json there.")  # fmt: skip
@config_options(EvaluateConfig)
@overwrite_option(help="Replace the report of another run in DIR.")
@json_option
def evaluate(
    annotations: Location, truth: Location | None, leave_one_view_out: bool, capture: Location | None,
    report_dir: Location | None, config: EvaluateConfig, overwrite: bool, as_json: bool,
) -> None:  # fmt: skip
    """Measure ANNOTATIONS: millimetres, pixels, masks, missing and false hands.

    \b
    handgen evaluate annotations --truth my_capture --report report     simulated: the truth is known
    handgen evaluate annotations --leave-one-view-out --capture my_capture

    Annotations of any program will do, if they are in handgen's format (docs/annotations.md). What each figure means
    is in docs/evaluation.md.
    """
    if truth is None and not leave_one_view_out:
        raise click.UsageError("nothing to compare with; give --truth TRUTH, or --leave-one-view-out, or both")
    if capture is not None and not leave_one_view_out:
        raise click.UsageError("--capture is for --leave-one-view-out; give both or neither")
    from handgen.cli.console import print_report, show_progress
    from handgen.stages.evaluate import stage

    if leave_one_view_out:
        config = replace(config, capture=str(capture or annotations.resolve().parent))
    with show_progress() as progress:
        report = stage.run(annotations, truth, config, progress, report_dir, overwrite)
    print_report(report, as_json, [f"open {report_dir / 'report.html'}"] if report_dir else [])
