"""`handgen synthesize`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from handgen.cli.options import LocationType, config_options, json_option, overwrite_option
from handgen.stages.synthesize.config import SynthesizeConfig

if TYPE_CHECKING:
    from handgen.storage.filesystem import Location

DEFAULT_ANNOTATIONS, DEFAULT_OUT = "annotations", "shards"
DIRECTORY = LocationType()


@click.command()
@click.argument("annotations", type=DIRECTORY, nargs=-1, metavar="[ANNOTATIONS]...")
@click.option("--backgrounds", type=DIRECTORY, help="Folder of pictures, searched recursively.  [default: synthesized]")
@click.option("--out", type=DIRECTORY, help="Directory to write.  [default: shards]")
@config_options(SynthesizeConfig)
@click.option("--keep-forearm", is_flag=True, help="The same as --forearm 1.")
@overwrite_option(help="Replace the shards of a different run.")
@click.option("--preview", type=click.Path(dir_okay=False, path_type=Path), metavar="SHEET.png",
              help="Draw the first samples on a sheet to look at; without --out, do nothing else.")  # fmt: skip
@json_option
def synthesize(
    annotations: tuple[Location, ...], backgrounds: Location | None, out: Location | None, config: SynthesizeConfig,
    keep_forearm: bool, overwrite: bool, preview: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Composite the hands of ANNOTATIONS on backgrounds and write WebDataset shards.

    \b
    handgen synthesize annotations --backgrounds pictures --out shards --samples 100000
    handgen synthesize annotations --backgrounds pictures --preview sheet.png      look before making a million
    handgen synthesize people/*/annotations --split train=0.9,val=0.1              nobody is in both

    ANNOTATIONS is what `handgen annotate` wrote (default: annotations). Every sample holds the image, a mask, 2D and
    3D keypoints, model parameters and camera, which agree with each other and with the pixels. The same options give
    the same bytes; run it again after an interruption, and finished shards are kept.
    """
    if keep_forearm:
        config = replace(config, forearm_probability=1.0)
    from handgen.cli.console import print_json, print_report, say, show_progress
    from handgen.media.images import write_png
    from handgen.stages.synthesize import stage
    from handgen.visualize.drawing import contact_sheet, sheet_samples

    annotations = annotations or (Path(DEFAULT_ANNOTATIONS),)
    with show_progress() as progress:
        if preview:
            samples = sheet_samples(stage.preview(annotations, backgrounds, config, progress=progress))
            write_png(preview, contact_sheet(samples, columns=4, twice=True))
            if out is None:
                if as_json:
                    print_json({"preview": str(preview)})
                else:
                    say(f"{preview}: look at it; then run the same command with --out instead of --preview")
                return
        report = stage.run(annotations, out or Path(DEFAULT_OUT), backgrounds, config, progress, overwrite)
    next_steps = [
        f"handgen validate {report.out} --digests",
        f'from handgen.data import load_shards; load_shards("{report.out}", "{report.splits[0].name}")',
    ]
    print_report(report, as_json, next_steps, more=[("preview", str(preview))] if preview else [])
