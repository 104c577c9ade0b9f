"""`handgen export`: shards or annotations -> another project's files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from handgen.cli.options import LocationType, engine_options
from handgen.datasets.coco.options import CocoOptions
from handgen.datasets.registry import export_formats
from handgen.stages.export.config import ExportConfig

if TYPE_CHECKING:
    from handgen.stages.export.stage import Report
    from handgen.storage.filesystem import Location


@click.command()
@click.argument("source", type=LocationType(exists=True), metavar="SHARDS|ANNOTATIONS")
@click.option("--format", type=click.Choice(export_formats()), required=True, help="Whose loader is to read it.")
@click.option("--out", type=LocationType(), required=True, help="Directory to write.")
@click.option("--split", metavar="NAME", help="Of shards that have several.")
@click.option("--mirror-left", is_flag=True,
              help="freihand: make right hands of left ones, pictures, keypoints and parameters.")  # fmt: skip
@click.option("--wholebody", is_flag=True, help="coco: one annotation per picture, as COCO-WholeBody has it.")
@click.option("--segmentation", type=click.Choice(["rle", "polygon"]), show_default=True,
              default=CocoOptions.segmentation, help="coco: exact masks, or outlines.")  # fmt: skip
@click.option("--model-is-mano", is_flag=True,
              help="The hand model is MANO, whatever its file is called: parameters are marked as valid.")  # fmt: skip
@click.option("--include-rejected", is_flag=True, help="Of annotations, also what `annotate` rejected.")
@engine_options
@click.option("--overwrite", is_flag=True, help="Replace another export.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def export(source: Location, out: Location, overwrite: bool, as_json: bool, **options: Any) -> None:
    """Write SHARDS or ANNOTATIONS in the files that another project's training code reads, unchanged.

    \b
    handgen export shards --format hamer --out tars            tars for HaMeR, and the entry of its configuration
    handgen export shards --format freihand --out freihand     224 x 224 pixels, right hands; --mirror-left for both
    handgen export shards --format coco --out coco             OneHand10K of mmpose; --wholebody for COCO-WholeBody
    handgen export annotations --format interhand --out ih     the four JSON files of InterHand2.6M

    Conventions of each (frames, units, orders, mean pose): docs/formats.md. Memory does not depend on the number of
    samples. Run it again after an interruption: what is finished is kept.
    """
    try:
        config = ExportConfig.from_options(**options)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    from handgen.cli.console import progress_bars
    from handgen.stages.export import stage

    with progress_bars() as progress:
        report = stage.run(source, out, config, progress, overwrite)
    if as_json:
        from handgen.storage.documents import dumps

        click.echo(dumps(report.to_json(), indent=True), nl=False)
    else:
        _print_summary(report)


def _print_summary(report: Report) -> None:
    from handgen.cli.console import print_summary

    sides = ", ".join(f"{count} {side}" for side, count in report.sides.items())
    facts = [
        ("format", report.format),
        ("pictures", f"{report.pictures} ({sides}), {report.hands} hands labelled"),
        ("files", f"{report.files}, {report.bytes / 1e6:.1f} MB, pictures apart" if report.format != "hamer"
         else f"{report.files}, {report.bytes / 1e6:.1f} MB"),
        ("speed", f"{report.pictures_per_s:.0f} pictures/s, {report.seconds:.1f} s"),
    ]  # fmt: skip
    if kept := report.pictures - report.written_pictures:
        facts.insert(2, ("kept", f"{kept} pictures of an earlier run, {report.written_pictures} written now"))
    facts += [("left out", f"{count} x {reason}") for reason, count in report.left_out.items()]
    facts += [("beta beyond 3", f"{name}: {largest:.2f}") for name, largest in list(report.betas_beyond_3.items())[:10]]
    print_summary(f"{report.out}", facts, report.notes, [f"handgen validate {report.out}"])
