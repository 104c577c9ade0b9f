"""`handgen annotate`: a capture -> annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from handgen.cli.options import LocationType, config_options, json_option, overwrite_option
from handgen.stages.annotate.config import AnnotateConfig

if TYPE_CHECKING:
    from handgen.storage.filesystem import Location


@click.command()
@click.argument("capture", default=".", type=LocationType(exists=True), metavar="[CAPTURE]")
@click.option("--out", type=LocationType(), help="Directory to write.  [default: CAPTURE/annotations]")
@config_options(AnnotateConfig)
@overwrite_option(help="Replace annotations of a different run.")
@json_option
def annotate(capture: Location, out: Location | None, config: AnnotateConfig, overwrite: bool, as_json: bool) -> None:
    """Find, fit and cut out the hands in CAPTURE (default: this folder): nobody labels anything.

    Bare hands of one person: what is held may get into masks, and hands of others be taken for that person's.

    \b
    handgen annotate my_capture --out annotations
    handgen annotate my_capture --metres-per-unit 0.024      chessboard squares of 24 mm
    handgen annotate my_capture --preview 8                  and look at annotations/previews

    Run it again after an interruption: finished chunks are kept. `handgen inspect CAPTURE` says first whether the
    calibration is understood.
    """
    from handgen.cli.console import print_report, show_progress, steps_after_annotations
    from handgen.errors import HandgenError
    from handgen.stages.annotate import stage

    with show_progress() as progress:
        report = stage.run(capture, out or capture / "annotations", config, progress, overwrite)
    print_report(report, as_json, steps_after_annotations(report.out, report.views))
    if report.nothing_accepted:
        raise HandgenError(f"{capture}: nothing was accepted: {report.nothing_accepted}")
