"""`handgen evaluate`: annotations against truth, or against a view that was left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from handgen.cli.options import LocationType
from handgen.stages.evaluate.config import EvaluateConfig

if TYPE_CHECKING:
    from handgen.stages.evaluate.report import EvaluateReport
    from handgen.storage.filesystem import Location

DEFAULTS = EvaluateConfig()
FOLDER = LocationType(exists=True)


@click.command()
@click.argument("annotations", type=FOLDER)
@click.option("--truth", type=FOLDER, metavar="TRUTH",
              help="Annotations to measure against, or a simulated capture that holds them in truth/.")  # fmt: skip
@click.option("--leave-one-view-out", is_flag=True,
              help="Without truth: fit on the other views, compare with the view's own detections.")  # fmt: skip
@click.option("--capture", type=FOLDER, help="For --leave-one-view-out.  [default: the folder ANNOTATIONS lies in]")
@click.option("--calibration", type=LocationType(exists=True, file=True), metavar="FILE",
              help="Calibration, if not in the capture.")  # fmt: skip
@click.option("--report", "report_dir", type=LocationType(), metavar="DIR",
              help="Write report.html, plots and evaluation.json there.")  # fmt: skip
@click.option("--include-rejected", is_flag=True, help="Also measure records and views that annotate rejected.")
@click.option("--match-distance", "match_distance_mm", type=click.FloatRange(0, 10_000, min_open=True),
              default=DEFAULTS.match_distance_mm, show_default=True,
              help="Largest mean distance, mm, of an annotated hand from the true one that it is.")  # fmt: skip
@click.option("--align-world", is_flag=True, help="Find the motion between two different worlds, then measure.")
@click.option("--fingertip-frames", type=click.IntRange(1), default=DEFAULTS.fingertip_frames, show_default=True,
              help="Evenly chosen frames for the fingertip figure.")  # fmt: skip
@click.option("--fps", type=click.FloatRange(0, 100_000, min_open=True),
              help="Frames per second, for jitter.  [default: as the truth says]")  # fmt: skip
@click.option("--worst", type=click.IntRange(0, 200), default=DEFAULTS.worst, show_default=True,
              help="How many of the worst hands to name and draw.")  # fmt: skip
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: one per core]")
@click.option("--overwrite", is_flag=True, help="Replace the report of another run in DIR.")
@click.option("--json", "as_json", is_flag=True, help="Print evaluation.json instead of a table.")
def evaluate(
    annotations: Location,
    truth: Location | None,
    leave_one_view_out: bool,
    capture: Location | None,
    report_dir: Location | None,
    overwrite: bool,
    as_json: bool,
    **options: Any,
) -> None:
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
    folder = capture or annotations.resolve().parent
    options["calibration"] = None if options["calibration"] is None else str(options["calibration"])
    try:
        config = EvaluateConfig(capture=str(folder) if leave_one_view_out else None, **options)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    from handgen.cli.console import progress_bars
    from handgen.stages.evaluate import stage

    with progress_bars() as progress:
        report = stage.run(annotations, truth, config, progress, report_dir, overwrite)
    if as_json:
        from handgen.storage.documents import dumps

        click.echo(dumps(report.to_json(), indent=True), nl=False)
    else:
        _print(report, report_dir)


def _print(report: EvaluateReport, report_dir: Location | None) -> None:
    from handgen.cli.console import print_summary

    steps = [f"open {report_dir / 'report.html'}"] if report_dir else []
    print_summary(report.title, report.rows(), report.remarks(), steps)
