"""`handgen validate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from handgen.cli.options import LocationType, json_option

if TYPE_CHECKING:
    from handgen.storage.filesystem import Location


@click.command()
@click.argument("path", type=LocationType(file=True), metavar="PATH")
@click.option("--digests", is_flag=True, help="Recompute the SHA-256 of every file and compare it with the manifest's.")
@click.option("--pixels", is_flag=True, help="Look at every picture and mask; without it at some of each part.")
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: one per core]")
@json_option
def validate(path: Location, digests: bool, pixels: bool, workers: int | None, as_json: bool) -> None:
    """Check PATH: is it whole, is it what its files say, and do its labels mean what they should?

    \b
    handgen validate capture                a capture: videos, clocks, calibration
    handgen validate calibration.toml       a calibration, in any format that is read
    handgen validate annotations            records, cutouts, cameras
    handgen validate shards --digests       samples, and whether every byte is as it was written
    handgen validate export --pixels        HaMeR tars, FreiHAND, COCO, InterHand2.6M: handgen's or others'

    All labels are looked at (reprojection, metres, side, joint order, mean pose, rotations, betas), and some pictures.
    Changes nothing: it says what to change. Exit status: 0 all is well, 1 something is wrong, 2 wrong usage.
    """
    from handgen.cli.console import print_checks, print_json, print_report, printing, show_progress
    from handgen.stages.validate.stage import run
    from handgen.wording import printable

    with show_progress() as progress:
        report = run(path, digests, pixels, workers, progress)
    if as_json:
        print_json(report.to_json())
    else:
        print_checks(report.checks, lambda name: report.findings.first_of(name).rpartition("/")[2])
        print_report(report, False, (), notes=report.notes)
        with printing():
            for finding in report.findings.kept:
                click.echo(printable(str(finding)))
    if not report.valid:
        raise SystemExit(1)
