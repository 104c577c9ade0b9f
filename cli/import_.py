"""`handgen import`: a data set in another project's format -> annotations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from handgen.cli.options import LocalPath, LocationType, config_options, json_option, overwrite_option
from handgen.stages.import_.config import ImportConfig

if TYPE_CHECKING:
    from handgen.storage.filesystem import Location


@click.command("import")
@click.argument("directory", type=LocalPath(exists=True, file_okay=False, path_type=Path), metavar="DIR")
@click.option("--out", type=LocationType(), required=True, help="Directory to write.")
@config_options(ImportConfig)
@overwrite_option(help="Replace annotations of a different run.")
@json_option
def import_(directory: Path, out: Location, config: ImportConfig, overwrite: bool, as_json: bool) -> None:
    """Turn the data set in DIR into annotations, so that `synthesize` puts its hands on new backgrounds.

    \b
    handgen import --format freihand FreiHAND_pub_v2 --out annotations
    handgen import --format hanco HanCo --split train --out annotations --limit 1000
    handgen import --format interhand InterHand2.6M --split val --out annotations

    DIR is what you downloaded and unpacked; its terms hold for what is made of it. Run it again after an interruption:
    finished chunks are kept. What is read of each format: docs/import.md.
    """
    from handgen.cli.console import print_report, show_progress, steps_after_annotations
    from handgen.errors import HandgenError
    from handgen.stages.import_ import stage

    with show_progress() as progress:
        report = stage.run(directory, out, config, progress, overwrite)
    print_report(report, as_json, steps_after_annotations(report.out, report.views))
    if report.nothing_accepted:
        raise HandgenError(f"{directory}: nothing was accepted: {report.nothing_accepted}")
