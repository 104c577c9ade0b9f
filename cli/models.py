"""`handgen models`: the keypoint networks in the user's cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from handgen.detect.networks import Installed


@click.group()
def models() -> None:
    """Fetch and list the keypoint networks that `annotate` runs."""


@models.command()
@click.option(
    "--from",
    "source",
    type=click.Path(exists=True, path_type=Path),
    help="A mediapipe 0.10.21 wheel, a hand_landmarker.task, or a folder with the two .tflite files; "
    "without it the wheel is downloaded by pip (36 MB), unless both are there already.",
)
@click.option("--force", is_flag=True, help="Download the networks although they are there already.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def fetch(source: Path | None, force: bool, as_json: bool) -> None:
    """Put MediaPipe's palm and landmark networks (Apache-2.0) into the cache."""
    from handgen.detect import networks

    found = networks.fetch(source, force)
    if as_json:
        _echo_json([_row(network) | {"written": network.written} for network in found])
        return
    for network in found:
        digest = "SHA-256 as pinned" if network.pinned else "SHA-256 NOT the pinned one"
        verb = "wrote" if network.written else "already there:"
        click.echo(f"{verb} {network.path} ({network.size_bytes / 1e6:.1f} MB, {digest})")


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_models(as_json: bool) -> None:
    """Show which networks are in the cache."""
    from handgen.detect import networks

    found = {network.name: network for network in networks.installed()}
    if as_json:
        missing = {"installed": False, "size_bytes": None, "sha256_as_pinned": None}
        _echo_json(
            [
                {"name": name, "path": str(networks.cache_folder() / name)}
                | (_row(found[name]) if name in found else missing)
                for name in networks.NETWORKS
            ]
        )
        return
    from rich.console import Console
    from rich.table import Column, Table

    table = Table("network", "size", "SHA-256", Column("path", overflow="fold"))
    for name in networks.NETWORKS:
        network = found.get(name)
        size = f"{network.size_bytes / 1e6:.1f} MB" if network else "not fetched"
        digest = ("as pinned" if network.pinned else "not the pinned one") if network else "-"
        table.add_row(name, size, digest, str(networks.cache_folder() / name))
    Console().print(table)


def _row(network: Installed) -> dict[str, Any]:
    return {
        "name": network.name,
        "path": str(network.path),
        "installed": True,
        "size_bytes": network.size_bytes,
        "sha256_as_pinned": network.pinned,
    }


def _echo_json(rows: list[dict[str, Any]]) -> None:
    from handgen.io.schema import dumps

    click.echo(dumps(rows, indent=True), nl=False)
