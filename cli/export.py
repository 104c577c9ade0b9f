"""`handgen export`: shards or annotations -> another project's files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from handgen.cli.options import LocationType, config_options, json_option, overwrite_option
from handgen.stages.export.config import ExportConfig

if TYPE_CHECKING:
    from handgen.storage.filesystem import Location


@click.command()
@click.argument("source", type=LocationType(exists=True), metavar="SHARDS|ANNOTATIONS")
@click.option("--out", type=LocationType(), required=True, help="Directory to write.")
@config_options(ExportConfig)
@overwrite_option(help="Replace another export.")
@json_option
def export(source: Location, out: Location, config: ExportConfig, overwrite: bool, as_json: bool) -> None:
    """Write SHARDS or ANNOTATIONS in the files that another project's training code reads, unchanged.

    \b
    handgen export shards --format hamer --out tars            tars for HaMeR, and the entry of its configuration
    handgen export shards --format freihand --out freihand     224 x 224 pixels, right hands; --mirror-left for both
    handgen export shards --format coco --out coco             OneHand10K of mmpose; --wholebody for COCO-WholeBody
    handgen export annotations --format interhand --out ih     the four JSON files of InterHand2.6M

    Conventions of each (frames, units, orders, mean pose): docs/formats.md. Memory does not depend on the number of
    samples. Run it again after an interruption: what is finished is kept.
    """
    from handgen.cli.console import print_report, show_progress
    from handgen.stages.export import stage

    with show_progress() as progress:
        report = stage.run(source, out, config, progress, overwrite)
    print_report(report, as_json, [f"handgen validate {report.out}"])
