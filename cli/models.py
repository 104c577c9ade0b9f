"""`handgen models`: the keypoint networks in the user's cache."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def models() -> None:
    """Fetch and list the keypoint networks that `annotate` runs."""


@models.command()
@click.option(
    "--from",
    "source",
    type=click.Path(exists=True, path_type=Path),
    help="A mediapipe 0.10.21 wheel, a hand_landmarker.task, or a folder with the two .tflite files; "
    "without it the wheel is downloaded by pip (36 MB).",
)
def fetch(source: Path | None) -> None:
    """Put MediaPipe's palm and landmark networks (Apache-2.0) into the cache."""
    from handgen.detect import networks

    for network in networks.fetch(source):
        digest = "SHA-256 as pinned" if network.pinned else "SHA-256 NOT the pinned one"
        click.echo(f"wrote {network.path} ({network.size_bytes / 1e6:.1f} MB, {digest})")


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_models(as_json: bool) -> None:
    """Show which networks are in the cache."""
    from handgen.detect import networks

    found = {network.name: network for network in networks.installed()}
    if as_json:
        import json

        rows = [
            {
                "name": name,
                "path": str(networks.cache_folder() / name),
                "installed": name in found,
                "size_bytes": found[name].size_bytes if name in found else None,
                "sha256_as_pinned": found[name].pinned if name in found else None,
            }
            for name in networks.NETWORKS
        ]
        click.echo(json.dumps(rows, indent=2))
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
