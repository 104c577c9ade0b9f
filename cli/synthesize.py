"""`handgen synthesize`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from handgen.config import SynthesizeConfig

if TYPE_CHECKING:
    from handgen.synthesize.stage import Report

DEFAULTS = SynthesizeConfig()
DIRECTORY = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("annotations", type=DIRECTORY, default="annotations", required=False)
@click.option("--backgrounds", type=DIRECTORY, help="Folder of pictures, searched recursively. [default: synthesized]")
@click.option("--out", type=DIRECTORY, default="shards", show_default=True, help="Directory to write.")
@click.option("--samples", type=click.IntRange(1), help="How many. [default: one per accepted view]")
@click.option(
    "--size", type=click.IntRange(16, 4096), default=DEFAULTS.size, show_default=True, help="Pixels per side."
)
@click.option("--seed", type=click.IntRange(0), default=DEFAULTS.seed, show_default=True)
@click.option("--split", default=DEFAULTS.split, show_default=True, help="First part of the shards' names.")
@click.option("--samples-per-shard", type=click.IntRange(1, 100_000), help="[default: 1000, less for 8 shards or more]")
@click.option("--flip", type=click.FloatRange(0, 1), default=DEFAULTS.flip_probability, show_default=True,
              help="Probability of a mirrored sample.")  # fmt: skip
@click.option("--workers", type=click.IntRange(1), help="Processes. [default: one per core]")
@click.option("--overwrite", is_flag=True, help="Replace the shards of a different run.")
@click.option("--include-rejected", is_flag=True, help="Also use what `annotate` rejected.")
@click.option("--preview", type=click.Path(dir_okay=False, path_type=Path), help="Write a contact sheet PNG.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def synthesize(
    annotations: Path, backgrounds: Path | None, out: Path, samples: int | None, size: int, seed: int,
    split: str, samples_per_shard: int | None, flip: float, workers: int | None, overwrite: bool,
    include_rejected: bool, preview: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Composite the hands of ANNOTATIONS on backgrounds and write WebDataset shards.

    \b
    handgen synthesize annotations --backgrounds pictures --out shards --samples 100000
    handgen synthesize annotations --samples 48 --preview sheet.png      look before making a million

    ANNOTATIONS is what `handgen annotate` wrote (default: annotations). Every sample holds the image, a mask, 2D and
    3D keypoints, model parameters and camera, which agree with each other and with the pixels. The same options give
    the same bytes; run it again after an interruption, and finished shards are kept.
    """
    try:
        config = SynthesizeConfig(
            samples=samples, size=size, seed=seed, split=split, samples_per_shard=samples_per_shard,
            flip_probability=flip, workers=workers, include_rejected=include_rejected,
        )  # fmt: skip
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    from handgen.cli.console import progress_bars
    from handgen.synthesize import stage

    with progress_bars() as progress:
        report = stage.run(annotations, out, backgrounds, config, progress, overwrite)
    if preview:
        from handgen.io.images import write_png
        from handgen.view import contact_sheet, read_sheet

        write_png(preview, contact_sheet(read_sheet(out)))
    if as_json:
        from handgen.io.schema import dumps

        click.echo(dumps(report.to_json(), indent=True), nl=False)
    else:
        _print_summary(report, preview)


def _print_summary(report: Report, preview: Path | None) -> None:
    from handgen.cli.console import print_summary

    sides = ", ".join(f"{count} {side}" for side, count in report.sides.items())
    facts = [
        ("samples", f"{report.samples} ({sides}), from {report.views} views"),
        ("shards", f"{report.shards}, {report.bytes / 1e6:.1f} MB"),
        ("speed", f"{report.samples_per_s:.0f} samples/s, {report.seconds:.1f} s"),
        ("backgrounds", f"{report.backgrounds} pictures" if report.backgrounds else "synthesized"),
    ]
    if kept := report.samples - report.written_samples:
        facts.insert(1, ("kept", f"{kept} samples of an earlier run, {report.written_samples} written now"))
    if preview:
        facts.append(("preview", str(preview)))
    notes = [f"skipped background {name}: {reason}" for name, reason in report.skipped_backgrounds]
    if report.flip_note:
        notes.append(f"no sample is mirrored: {report.flip_note}")
    print_summary(
        str(report.out),
        facts,
        notes,
        [
            f"handgen inspect {report.out}",
            f'from handgen.data import load_shards; load_shards("{report.out}", batch_size=32, shuffle=True)',
        ],
    )
