"""`handgen synthesize`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from handgen.cli.options import LocationType, engine_options
from handgen.stages.synthesize.config import SynthesizeConfig

if TYPE_CHECKING:
    from handgen.io.shards import Sample
    from handgen.stages.synthesize.stage import SynthesizeReport
    from handgen.storage.filesystem import Location

DEFAULTS = SynthesizeConfig()
DEFAULT_ANNOTATIONS, DEFAULT_OUT = "annotations", "shards"
DIRECTORY = LocationType()


@click.command()
@click.argument("annotations", type=DIRECTORY, nargs=-1, metavar="[ANNOTATIONS]...")
@click.option("--backgrounds", type=DIRECTORY, help="Folder of pictures, searched recursively. [default: synthesized]")
@click.option("--out", type=DIRECTORY, help="Directory to write.  [default: shards]")
@click.option("--samples", type=click.IntRange(1), help="How many. [default: one per accepted view]")
@click.option(
    "--size", type=click.IntRange(16, 4096), default=DEFAULTS.size, show_default=True, help="Pixels per side."
)
@click.option("--seed", type=click.IntRange(0), default=DEFAULTS.seed, show_default=True)
@click.option("--split", default=DEFAULTS.split, show_default=True, metavar="NAME|NAME=SHARE,...",
              help="First part of the shards' names; or several splits: train=0.9,val=0.1.")  # fmt: skip
@click.option("--split-by", type=click.Choice(["subject", "sequence"]), default=DEFAULTS.split_by, show_default=True,
              help="What no two splits share. Never frames of one sequence.")  # fmt: skip
@click.option("--samples-per-shard", type=click.IntRange(1, 100_000), help="[default: 1000, less for 8 shards or more]")
@click.option("--flip", type=click.FloatRange(0, 1), default=DEFAULTS.flip_probability, show_default=True,
              help="Probability of a mirrored sample.")  # fmt: skip
@click.option("--light", type=click.FloatRange(0, 1), default=DEFAULTS.light_matching, show_default=True,
              help="How far a hand's light is fitted to its background's.")  # fmt: skip
@click.option("--shadow", type=click.FloatRange(0, 1), default=DEFAULTS.shadow_probability, show_default=True,
              help="Probability of a shadow behind the hand.")  # fmt: skip
@click.option("--occluder", type=click.FloatRange(0, 1), default=DEFAULTS.occluder_probability, show_default=True,
              help="Probability of something in front of it.")  # fmt: skip
@click.option("--grain/--no-grain", default=DEFAULTS.grain, show_default=True,
              help="Give hand and background the same noise and JPEG history.")  # fmt: skip
@click.option("--blend", type=click.Choice(["alpha", "poisson", "hard"]), default=DEFAULTS.blend, show_default=True,
              help="How edges are laid in: soft, with the background's gradients, or cut.")  # fmt: skip
@click.option("--forearm", type=click.FloatRange(0, 1), default=DEFAULTS.forearm_probability, show_default=True,
              help="Probability that forearm and sleeve stay on the hand; masks are of the hand alone.")  # fmt: skip
@click.option("--keep-forearm", is_flag=True, help="The same as --forearm 1.")
@click.option("--other-hand/--no-other-hand", default=DEFAULTS.other_hand, show_default=True,
              help="Lay in the person's other hand too, as the two were.")  # fmt: skip
@click.option("--augment", default=DEFAULTS.augment, show_default=True, metavar="default|none|FILE",
              help="Photometric augmentation: a YAML file of albumentations' transforms.")  # fmt: skip
@engine_options
@click.option("--overwrite", is_flag=True, help="Replace the shards of a different run.")
@click.option("--include-rejected", is_flag=True, help="Also use what `annotate` rejected.")
@click.option("--preview", type=click.Path(dir_okay=False, path_type=Path), metavar="SHEET.png",
              help="Draw the first samples on a sheet to look at; without --out, do nothing else.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def synthesize(
    annotations: tuple[Location, ...], backgrounds: Location | None, out: Location | None, flip: float, light: float,
    shadow: float, occluder: float, forearm: float, keep_forearm: bool, overwrite: bool, preview: Path | None,
    as_json: bool, **options: Any,
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
    try:
        config = SynthesizeConfig(
            flip_probability=flip, light_matching=light, shadow_probability=shadow, occluder_probability=occluder,
            forearm_probability=1.0 if keep_forearm else forearm, **options,
        )  # fmt: skip
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    from handgen.cli.console import progress_bars
    from handgen.stages.synthesize import stage

    annotations = annotations or (Path(DEFAULT_ANNOTATIONS),)
    with progress_bars() as progress:
        if preview:
            _write_preview(preview, stage.preview(annotations, backgrounds, config, progress=progress))
            if out is None:
                _print_preview(preview, as_json)
                return
        report = stage.run(annotations, out or Path(DEFAULT_OUT), backgrounds, config, progress, overwrite)
    if as_json:
        from handgen.storage.documents import dumps

        click.echo(dumps(report.to_json(), indent=True), nl=False)
    else:
        _print_summary(report, preview)


def _write_preview(path: Path, samples: list[Sample]) -> None:
    from handgen.media.images import write_png
    from handgen.visualize.drawing import contact_sheet, sheet_samples

    write_png(path, contact_sheet(sheet_samples(samples), columns=4, twice=True))


def _print_preview(path: Path, as_json: bool) -> None:
    if as_json:
        from handgen.storage.documents import dumps

        click.echo(dumps({"preview": str(path)}, indent=True), nl=False)
    else:
        click.echo(f"{path}: look at it; then run the same command with --out instead of --preview")


def _print_summary(report: SynthesizeReport, preview: Path | None) -> None:
    from handgen.cli.console import print_summary

    facts = report.rows() + ([("preview", str(preview))] if preview else [])
    print_summary(
        report.title,
        facts,
        report.remarks(),
        [
            f"handgen validate {report.out} --digests",
            f'from handgen.data import load_shards; load_shards("{report.out}", "{report.splits[0].name}")',
        ],
    )
