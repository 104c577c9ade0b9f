"""`handgen simulate`: a rendered capture with known truth."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from handgen.cli.options import LocalPath
from handgen.stages.simulate.config import MOTIONS, RENDERERS, RIGS, SimulateConfig

DEFAULT = SimulateConfig()


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


class Background(click.ParamType):
    """`green`, `room`, or a folder of pictures."""

    name = "green|room|DIR"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word, or the folder's path; a folder that is not there is wrong usage."""
        text = str(value)
        if text not in ("green", "room") and not Path(text).is_dir():
            self.fail(f"{text!r} is neither green nor room, nor a folder of pictures", param, ctx)
        return text


@click.command()
@click.argument("out", type=LocalPath(file_okay=False, path_type=Path), metavar="OUT")
@click.option("--views", type=click.IntRange(1, 64), default=DEFAULT.views, show_default=True, help="Cameras.")
@click.option("--frames", type=click.IntRange(1, 1_000_000), default=DEFAULT.frames, show_default=True, help="Frames.")
@click.option("--size", type=Size(), default="640x480", show_default=True, help="Image size, pixels, 64 to 4096.")
@click.option("--fps", type=click.FloatRange(0.1, 1000), default=DEFAULT.fps, show_default=True, help="Frames/s.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=DEFAULT.seed, show_default=True,
              help="Of everything that is drawn.")  # fmt: skip
@click.option("--subject-seed", type=click.IntRange(0, 2**63 - 1),
              help="Of the person: shape, skin, clothes.  [default: --seed]")  # fmt: skip
@click.option("--rig", type=click.Choice(RIGS), default=DEFAULT.rig, show_default=True,
              help="Cameras about the person's front, all round, or side by side.")  # fmt: skip
@click.option("--hands", type=click.Choice(["right", "left", "both"]),
              help="Hands in view.  [default: right; both with --motion interact]")  # fmt: skip
@click.option("--motion", type=click.Choice(MOTIONS), default=DEFAULT.motion, show_default=True,
              help="interact: two hands touch and interleave fingers.")  # fmt: skip
@click.option("--background", type=Background(), default=DEFAULT.background, show_default=True,
              help="A green studio, a furnished room, or pictures behind the hands.")  # fmt: skip
@click.option("--shutter", "shutter_s", type=click.FloatRange(0, 0.1), default=DEFAULT.shutter_s, show_default=True,
              help="Exposure of a frame, seconds: motion blur.")  # fmt: skip
@click.option("--sync-error", "sync_error_frames", type=click.FloatRange(0, 2), default=0.0, show_default=True,
              help="Largest error of a camera's clock, frames.")  # fmt: skip
@click.option("--calibration-error", "calibration_error_px", type=click.FloatRange(0, 50), default=0.0,
              show_default=True, help="RMS error of calibration.json, px; the truth keeps the exact one.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(["video", "images"]), default="video", show_default=True,
              help="H.264 videos, or folders of JPEGs.")  # fmt: skip
@click.option("--renderer", type=click.Choice(RENDERERS), default=DEFAULT.renderer, show_default=True,
              help="mitsuba: path tracing, minutes per frame; pip install 'handgen[photoreal]'.")  # fmt: skip
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: one per core]")
@click.option("--overwrite", is_flag=True, help="Replace a capture in OUT that was simulated with other options.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def simulate(out: Path, overwrite: bool, as_json: bool, form: str, hands: str | None, **options: Any) -> None:
    """Render a capture into OUT, with the exact truth about it in OUT/truth.

    \b
    handgen simulate my_capture
    handgen simulate my_capture --views 15 --rig cage --background green --size 1280x960
    handgen simulate my_capture --motion interact --sync-error 0.5

    The person is not of the model that annotate fits: their shape is outside its ten betas. The same options give the
    same truth, byte by byte. A run that was interrupted goes on where it stopped.
    """
    from handgen.cli.console import print_summary, progress_bars
    from handgen.stages.simulate import stage
    from handgen.storage.documents import dumps

    hands = hands or ("both" if options["motion"] == "interact" else DEFAULT.hands)
    try:
        config = SimulateConfig(hands=hands, video=form == "video", **options)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with progress_bars() as progress:
        report = stage.run(out, config, progress, overwrite)
    if as_json:
        click.echo(dumps(report.to_json(), indent=True), nl=False)
        return
    print_summary(
        report.title,
        report.rows(),
        report.remarks(),
        [
            f"handgen annotate {report.out} --out {report.out / 'annotations'}",
            f"handgen evaluate {report.out / 'annotations'} --truth {report.truth}",
        ],
    )
