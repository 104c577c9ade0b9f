"""`handgen import`: a data set in another project's format -> annotations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from handgen.cli.options import LocalPath, LocationType
from handgen.datasets.registry import import_formats
from handgen.stages.import_.config import ImportConfig

if TYPE_CHECKING:
    from handgen.stages.import_.stage import Report
    from handgen.storage.filesystem import Location

DEFAULTS = ImportConfig(import_formats()[0])


@click.command("import")
@click.argument("directory", type=LocalPath(exists=True, file_okay=False, path_type=Path), metavar="DIR")
@click.option("--format", type=click.Choice(import_formats()), required=True, help="Whose format DIR is in.")
@click.option("--out", type=LocationType(), required=True, help="Directory to write.")
@click.option("--split", help="training or evaluation; train or test; train, val or test.  [default: the first there]")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Read the first N frames only.")
@click.option("--hand-model", metavar="NAME",
              help="mano, or an .npz in MANO's format: take the data set's parameters over; open: fit the open hand to "
                   "its keypoints.  [default: mano where it is installed, else open]")  # fmt: skip
@click.option("--min-iou", "min_mask_iou", type=click.FloatRange(0, 1), default=DEFAULTS.min_mask_iou,
              show_default=True, help="Smallest overlap of mask and mesh.")  # fmt: skip
@click.option("--chunk-frames", type=click.IntRange(1, 4096), default=DEFAULTS.chunk_frames, show_default=True,
              help="Frames per unit of work.")  # fmt: skip
@click.option("--skip-missing", is_flag=True, help="Do without pictures that are not there.")
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: one per core]")
@click.option("--overwrite", is_flag=True, help="Replace annotations of a different run.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def import_(directory: Path, out: Location, overwrite: bool, as_json: bool, **options: Any) -> None:
    """Turn the data set in DIR into annotations, so that `synthesize` puts its hands on new backgrounds.

    \b
    handgen import --format freihand FreiHAND_pub_v2 --out annotations
    handgen import --format hanco HanCo --split train --out annotations --limit 1000
    handgen import --format interhand InterHand2.6M --split val --out annotations

    DIR is what you downloaded and unpacked; its terms hold for what is made of it. Run it again after an interruption:
    finished chunks are kept. What is read of each format: docs/import.md.
    """
    try:
        config = ImportConfig(**options)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    from handgen.cli.console import progress_bars
    from handgen.stages.import_ import stage

    with progress_bars() as progress:
        report = stage.run(directory, out, config, progress, overwrite)
    if as_json:
        from handgen.storage.documents import dumps

        click.echo(dumps(report.to_json(), indent=True), nl=False)
    else:
        _print(report)


def _print(report: Report) -> None:
    from handgen.cli.console import print_summary

    def counted(counts: dict[str, int]) -> str:
        return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"

    residual = report.residual_mm
    facts = [
        ("data set", f"{report.format}, split {report.split}"),
        ("frames", str(report.frames)),
        ("hands", counted(report.records)),
        ("accepted", counted(report.accepted)),
        ("rejected", counted(report.rejected)),
        ("left out", counted(report.left_out)),
        ("views accepted", str(report.views)),
        ("views rejected", counted(report.views_rejected)),
        ("hand model", f"{report.hand_model}, parameters {report.parameters}"),
        (
            "from its keypoints",
            "-" if residual is None else f"{residual[0]:.2f} mm median, {residual[1]:.2f} mm (95 %)",
        ),
        ("median mask IoU", "-" if report.mask_iou is None else f"{report.mask_iou:.3f}"),
        ("shapes", f"{report.shapes}, of {report.people or 'unknown'} people"),
        ("cameras", str(report.cameras)),
        ("speed", f"{report.written_frames / max(report.seconds, 1e-9):.1f} frames/s ({report.seconds:.0f} s)"),
    ]
    steps = [
        f"handgen synthesize {report.out} --backgrounds DIR --out shards",
        f"handgen validate {report.out} --digests",
    ]
    print_summary(f"{report.out}", facts, report.notes, steps if report.views else steps[1:])
