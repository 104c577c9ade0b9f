"""`handgen export`: shards or annotations -> another project's files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from handgen.cli.options import LocationType, engine_options
from handgen.stages.export.config import EXPORT_FORMATS, ExportConfig

if TYPE_CHECKING:
    from handgen.stages.export.report import ExportReport
    from handgen.storage.filesystem import Location

DEFAULTS = ExportConfig()


@click.command()
@click.argument("source", type=LocationType(exists=True), metavar="SHARDS|ANNOTATIONS")
@click.option("--format", type=click.Choice(EXPORT_FORMATS), required=True, help="Whose loader is to read it.")
@click.option("--out", type=LocationType(), required=True, help="Directory to write.")
@click.option("--split", metavar="NAME", help="Of shards that have several.")
@click.option("--mirror-left", is_flag=True,
              help="freihand: make right hands of left ones, pictures, keypoints and parameters.")  # fmt: skip
@click.option("--wholebody", is_flag=True, help="coco: one annotation per picture, as COCO-WholeBody has it.")
@click.option("--segmentation", type=click.Choice(["rle", "polygon"]), default=DEFAULTS.segmentation, show_default=True,
              help="coco: exact masks, or outlines.")  # fmt: skip
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
        config = ExportConfig(**options)
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


def _print_summary(report: ExportReport) -> None:
    from handgen.cli.console import print_summary

    print_summary(report.title, report.rows(), report.remarks(), [f"handgen validate {report.out}"])
