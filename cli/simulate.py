"""`handgen simulate`: a rendered capture with known truth."""

from __future__ import annotations

import re
from pathlib import Path

import click

from handgen.config import SimulateConfig

_DEFAULT = SimulateConfig()


class Size(click.ParamType):
    """Width and height in pixels, as in 640x480."""

    name = "WxH"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """(640, 480) of "640x480"; anything else is wrong usage."""
        found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", str(value))
        if not found:
            self.fail(f"{value!r} is not a size such as 640x480", param, ctx)
        width, height = int(found[1]), int(found[2])
        return width, height


@click.command()
@click.argument("out", type=click.Path(file_okay=False, path_type=Path), metavar="OUT")
@click.option("--views", type=click.IntRange(1, 64), default=_DEFAULT.views, show_default=True, help="Cameras.")
@click.option("--frames", type=click.IntRange(1, 1_000_000), default=_DEFAULT.frames, show_default=True, help="Frames.")
@click.option("--size", type=Size(), default="640x480", show_default=True, help="Image size, pixels, 64 to 4096.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=_DEFAULT.seed, show_default=True)
@click.option("--hands", type=click.Choice(["right", "left", "both"]), default=_DEFAULT.hands, show_default=True)
@click.option("--workers", type=click.IntRange(1), help="Processes; one per core by default.")
@click.option("--overwrite", is_flag=True, help="Replace a capture in OUT that was simulated with other options.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def simulate(
    out: Path,
    views: int,
    frames: int,
    size: tuple[int, int],
    seed: int,
    hands: str,
    workers: int | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Render a capture of the bundled hand into OUT, with the truth about it in OUT/truth.

    \b
    handgen simulate my_capture
    handgen simulate my_capture --views 8 --frames 120 --hands both --seed 7

    The same options give the same bytes. A run that was interrupted goes on where it stopped.
    """
    from handgen import simulate as stage
    from handgen.cli.console import print_summary, progress_bars
    from handgen.io.schema import dumps

    if not all(64 <= side <= 4096 for side in size):
        raise click.BadParameter(f"{size[0]}x{size[1]} is not within 64 to 4096 px", param_hint="--size")
    config = SimulateConfig(views=views, frames=frames, size=size, seed=seed, hands=hands, workers=workers)
    with progress_bars() as progress:
        report = stage.run(out, config, progress, overwrite)
    if as_json:
        click.echo(dumps(report.to_json(), indent=True), nl=False)
        return
    print_summary(
        str(report.out),
        [
            ("frames", f"{report.frames} from {report.cameras} cameras"),
            ("hands", ", ".join(report.hands)),
            ("truth", f"{report.truth}, which annotate does not read"),
            ("speed", f"{report.views_per_s:.1f} views/s, {report.seconds:.1f} s"),
        ],
        [],
        [f"handgen annotate {report.out} --out {report.out / 'annotations'}"],
    )
