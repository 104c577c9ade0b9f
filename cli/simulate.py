"""`handgen simulate`: a rendered capture with known truth."""

from __future__ import annotations

from pathlib import Path

import click

from handgen.cli.options import LocalPath, config_options, json_option, overwrite_option
from handgen.stages.simulate.config import SimulateConfig


@click.command()
@click.argument("out", type=LocalPath(file_okay=False, path_type=Path), metavar="OUT")
@config_options(SimulateConfig)
@overwrite_option(help="Replace a capture in OUT that was simulated with other options.")
@json_option
def simulate(out: Path, config: SimulateConfig, overwrite: bool, as_json: bool) -> None:
    """Render a capture into OUT, with the exact truth about it in OUT/truth.

    \b
    handgen simulate my_capture
    handgen simulate my_capture --views 15 --rig cage --background green --size 1280x960
    handgen simulate my_capture --motion interact --sync-error 0.5

    The person is not of the model that annotate fits: their shape is outside its ten betas. The same options give the
    same truth, byte by byte. A run that was interrupted goes on where it stopped.
    """
    from handgen.cli.console import print_report, show_progress
    from handgen.stages.simulate import stage

    with show_progress() as progress:
        report = stage.run(out, config, progress, overwrite)
    annotations = report.out / "annotations"
    next_steps = [
        f"handgen annotate {report.out} --out {annotations}",
        f"handgen evaluate {annotations} --truth {report.truth}",
    ]
    print_report(report, as_json, next_steps)
