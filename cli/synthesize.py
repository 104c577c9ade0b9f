"""`handgen synthesize`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from handgen.config import SynthesizeConfig

if TYPE_CHECKING:
    from rich.progress import TaskID

    from handgen.synthesize.stage import Report

DEFAULTS = SynthesizeConfig()
DIRECTORY = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("annotations", type=DIRECTORY, default="annotations", required=False)
@click.option(
    "--backgrounds", type=DIRECTORY, help="Folder of pictures, searched recursively. [default: synthesized]"
)
@click.option("--out", type=DIRECTORY, default="shards", show_default=True, help="Directory to write.")
@click.option("--samples", type=click.IntRange(1), help="How many. [default: one per accepted view]")
@click.option(
    "--size", type=click.IntRange(16, 4096), default=DEFAULTS.size, show_default=True, help="Pixels per side."
)
@click.option("--seed", type=click.IntRange(0), default=DEFAULTS.seed, show_default=True)
@click.option("--split", default=DEFAULTS.split, show_default=True, help="First part of the shards' names.")
@click.option(
    "--samples-per-shard", type=click.IntRange(1, 100_000), help="[default: 1000, less for 8 shards or more]"
)
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
    """Composite the hands of ANNOTATIONS on backgrounds and write WebDataset shards."""
    try:
        config = SynthesizeConfig(
            samples=samples, size=size, seed=seed, split=split, samples_per_shard=samples_per_shard,
            flip_probability=flip, workers=workers, include_rejected=include_rejected,
        )  # fmt: skip
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    from handgen.synthesize import stage

    with _progress() as progress:
        report = stage.run(annotations, out, backgrounds, config, progress, overwrite)
    if preview:
        from handgen.io.images import write_png
        from handgen.view import contact_sheet, read_sheet

        write_png(preview, contact_sheet(read_sheet(out)))
    if as_json:
        import orjson

        click.echo(orjson.dumps(report.to_json()).decode())
    else:
        _print_summary(report, preview)


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on standard error; one line per phase where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        tasks: dict[str, TaskID] = {}

        def update(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield update


def _print_summary(report: Report, preview: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    sides = ", ".join(f"{count} {side}" for side, count in report.sides.items())
    kept = report.samples - report.written_samples
    rows = [
        ("samples", f"{report.samples} ({sides}), from {report.views} views"),
        ("shards", f"{report.shards}, {report.bytes / 1e6:.1f} MB"),
        ("speed", f"{report.samples_per_s:.0f} samples/s, {report.seconds:.1f} s"),
        ("backgrounds", f"{report.backgrounds} pictures" if report.backgrounds else "synthesized"),
    ]
    if kept:
        rows.insert(1, ("kept", f"{kept} samples of an earlier run, {report.written_samples} written now"))
    if report.flip_note:
        rows.append(("mirrored", f"none: {report.flip_note}"))
    if preview:
        rows.append(("preview", str(preview)))
    console = Console(highlight=False)
    table = Table(box=None, show_header=False, pad_edge=False, title=str(report.out), title_justify="left")
    for name, value in rows:
        table.add_row(Text(name, style="dim"), Text(value))
    console.print(table)
    for name, reason in report.skipped_backgrounds:
        console.print(Text(f"skipped background {name}: {reason}"))
    click.echo(f"\nNext: handgen inspect {report.out}")
    click.echo("      from handgen.data import load_shards")
    click.echo(f'      dataset = load_shards("{report.out}", batch_size=32, shuffle=True)')
