"""`handgen import`: a data set in another project's format -> annotations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from handgen.cli.options import LocalPath, LocationType, config_options, json_option, overwrite_option
from handgen.stages.import_.config import ImportConfig
from handgen.wording import count_of, counts_of

if TYPE_CHECKING:
    from handgen.stages.import_.stage import Report
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
    from handgen.cli.console import print_report, progress_bars
    from handgen.stages.import_ import stage

    with progress_bars() as progress:
        report = stage.run(directory, out, config, progress, overwrite)
    print_report(report, as_json, _print)


def _print(report: Report) -> None:
    from handgen.cli.console import print_summary

    residual = report.residual_mm
    people = count_of(report.people, "person", "people") if report.people else "unknown people"
    facts = [
        ("data set", f"{report.format}, split {report.split}"),
        ("frames", str(report.frames)),
        ("hands", counts_of(report.records)),
        ("accepted", counts_of(report.accepted)),
        ("rejected", counts_of(report.rejected)),
        ("left out", counts_of(report.left_out)),
        ("views accepted", str(report.views)),
        ("views rejected", counts_of(report.views_rejected)),
        ("hand model", f"{report.hand_model}, parameters {report.parameters}"),
        (
            "from its keypoints",
            "-" if residual is None else f"{residual[0]:.2f} mm median, {residual[1]:.2f} mm (95 %)",
        ),
        ("median mask IoU", "-" if report.mask_iou is None else f"{report.mask_iou:.3f}"),
        (
            "shapes",
            f"{report.shapes}, of {people}",
        ),
        ("cameras", str(report.cameras)),
        ("speed", f"{report.written_frames / max(report.seconds, 1e-9):.1f} frames/s ({report.seconds:.0f} s)"),
    ]
    steps = [
        f"handgen synthesize {report.out} --backgrounds DIR --out shards",
        f"handgen validate {report.out} --digests",
    ]
    print_summary(f"{report.out}", facts, report.notes, steps if report.views else steps[1:])
