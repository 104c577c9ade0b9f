"""The command group: finds commands by name, sets up logging, shows a HandgenError as one line."""

from __future__ import annotations

import errno
import importlib
import keyword
import logging
import os
from typing import Any

import click

# In the order of a project's life. Each lives in `handgen.cli.<name>` (`import_` of import) and is imported only when
# it is called for.
COMMANDS = {
    "demo": "Render a small capture, annotate it and make shards: everything, in minutes.",
    "models": "Fetch the keypoint networks, add MANO's hands, list both.",
    "inspect": "Say what a capture, annotations or shards directory holds.",
    "annotate": "Calibrated videos -> 3D hands, masks and cutouts.",
    "import": "A data set (FreiHAND, HanCo, InterHand2.6M) -> annotations.",
    "synthesize": "Annotations -> composited, augmented WebDataset shards.",
    "export": "Shards or annotations -> the files of HaMeR, FreiHAND, COCO or InterHand2.6M.",
    "validate": "Is a data set, a capture or a calibration whole, and do its labels mean what they should?",
    "simulate": "Render a capture with known truth.",
    "evaluate": "Annotations against truth: millimetres, pixels, masks, missing and false hands.",
}


_REFUSALS = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EINVAL)  # of a store: what to set up, not to wait for


class HandgenGroup(click.Group):
    """Loads commands when needed; a HandgenError becomes one line, anything else keeps its traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one command."""
        if cmd_name not in COMMANDS:
            return None
        name = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        return getattr(importlib.import_module(f"handgen.cli.{name}"), name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Translate errors in one place."""
        from handgen.errors import HandgenError

        try:
            return super().invoke(ctx)
        except HandgenError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            if "://" not in str(error.filename):
                raise
            hint = "see docs/storage.md" if error.errno in _REFUSALS else "run it again when the store answers"
            raise click.ClickException(f"{error.filename}: {error.strerror}; {hint}") from error


@click.group(cls=HandgenGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="handgen")
@click.option("--plugin", "plugins", multiple=True, metavar="MODULE", is_eager=True, expose_value=False,
              callback=lambda ctx, param, modules: _prepare(modules),
              help="Import a module that adds detectors, calibration formats, metrics, ...; see docs/contributing.md. "
              "May be repeated; HANDGEN_PLUGINS=one,two does the same.")  # fmt: skip
@click.option("-v", "--verbose", count=True, help="Log what happens (-v) and details (-vv) to standard error.")
def main(verbose: int) -> None:
    """Training sets for hand-pose estimation from calibrated multi-camera video; nobody labels anything.

    \b
    handgen demo OUT                                         try it: no cameras, no licensed files
    handgen inspect CAPTURE                                  is the calibration understood?
    handgen annotate CAPTURE --out ANNOTATIONS               find, fit and cut out the hands
    handgen synthesize ANNOTATIONS --backgrounds DIR --out SHARDS

    Exit status: 0 success, 1 something to fix in the input, 2 wrong usage.
    """
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=level, format="%(levelname).1s %(name)s: %(message)s")


def _prepare(modules: tuple[str, ...]) -> None:
    """Load plug-ins, so that the commands have their options; numbers are pinned before any library is loaded."""
    from handgen.errors import HandgenError
    from handgen.plugins import load_plugins
    from handgen.runtime import reproducibility

    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # albumentations asks the network when imported
    reproducibility.pin()
    try:
        load_plugins(modules)
    except HandgenError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
