"""`handgen validate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from handgen.cli.options import LocationType

if TYPE_CHECKING:
    from handgen.io.storage import Location


@click.command()
@click.argument("directory", type=LocationType(), metavar="DIR")
@click.option("--digests", is_flag=True, help="Recompute the SHA-256 of every file and compare it with the manifest's.")
@click.option("--pixels", is_flag=True, help="Decode every image of shards; without it their headers are read.")
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: one per core]")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def validate(directory: Location, digests: bool, pixels: bool, workers: int | None, as_json: bool) -> None:
    """Check a directory of shards or of annotations: is it whole, and what its manifest says?

    \b
    handgen validate shards                 every sample, its labels, picture and mask; every view as often as asked
    handgen validate shards --digests       and whether every byte is as it was written
    handgen validate annotations

    Changes nothing. Exit status: 0 all is well, 1 something is wrong (each thing with the next step), 2 wrong usage.
    """
    from handgen.cli.console import print_summary, progress_bars
    from handgen.validate.stage import run

    with progress_bars() as progress:
        report = run(directory, digests, pixels, workers, progress)
    if as_json:
        from handgen.io.schema import dumps

        click.echo(dumps(report.to_json(), indent=True), nl=False)
    else:
        facts = [(name.replace("_", " "), str(value)) for name, value in report.facts.items()]
        counted = ", ".join(f"{count} x {kind}" for kind, count in sorted(report.findings.counts.items()))
        facts.append(("found", counted or "nothing wrong"))
        print_summary(f"{report.path}: {report.kind}", facts, report.notes, ())
        for finding in report.findings.kept:
            click.echo(f"{finding.kind}: {finding.where}: {finding.what}; {finding.next}")
    if not report.valid:
        raise SystemExit(1)
