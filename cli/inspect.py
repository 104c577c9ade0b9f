"""`handgen inspect`: what a directory holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from handgen.cli.options import LocationType, config_options, json_option
from handgen.stages.inspect.config import InspectConfig

if TYPE_CHECKING:
    from handgen.storage.filesystem import Location


@click.command()
@click.argument("directory", default=".", type=LocationType(exists=True), metavar="[DIR]")
@config_options(InspectConfig)
@json_option
def inspect(directory: Location, config: InspectConfig, as_json: bool) -> None:
    """Say what DIR (default: this folder) holds: a capture, annotations, shards or an export.

    \b
    handgen inspect my_capture              before annotating: is the calibration understood, is the
                                            unit right, does every camera have its video?
    handgen inspect my_capture --detect     is a camera mirrored, late, exchanged; do hands have
                                            a person's size? Some seconds
    handgen inspect my_capture/annotations  frames, hands, what was accepted
    handgen inspect shards                  samples, seed, configuration

    For a capture check that the baselines are what a tape measure gives: a wrong unit shows there first.
    Every video is decoded once to count its frames.
    """
    from handgen.cli.console import print_description, print_json
    from handgen.progress import progress_bars
    from handgen.stages.inspect import describe as stage

    with progress_bars() as progress:
        description = stage.describe(directory, config, progress)
    if as_json:
        print_json(stage.as_document(description))
    else:
        print_description(description)
