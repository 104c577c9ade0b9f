"""`handgen models`: the keypoint networks and MANO's hands in the user's cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.table import Column, Table

from handgen.cli.console import plain, print_json, print_table, say
from handgen.cli.options import json_option


@click.group()
def models() -> None:
    """Fetch the keypoint networks that `annotate` runs, add MANO's hands, list both."""


@models.command()
@click.option(
    "--from",
    "source",
    type=click.Path(exists=True, path_type=Path),
    help="A mediapipe 0.10.21 wheel, a hand_landmarker.task, or a folder with the two .tflite files; "
    "without it the wheel is downloaded by pip (36 MB), unless both are there already.",
)
@click.option("--force", is_flag=True, help="Download the networks although they are there already.")
@json_option
def fetch(source: Path | None, force: bool, as_json: bool) -> None:
    """Put MediaPipe's palm and landmark networks (Apache-2.0) into the cache."""
    from handgen.detect.mediapipe import networks

    found = networks.fetch(source, force)
    if as_json:
        print_json([_row(network.path, network) | {"written": network.written} for network in found])
        return
    for network in found:
        digest = "SHA-256 as pinned" if network.pinned else "SHA-256 NOT the pinned one"
        verb = "wrote" if network.written else "already there:"
        say(f"{verb} {network.path} ({network.size_bytes / 1e6:.1f} MB, {digest})")


@models.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@json_option
def add(files: tuple[Path, ...], as_json: bool) -> None:
    """Put MANO's hands into the cache, for `--hand-model mano`.

    FILE: MANO_RIGHT.pkl, MANO_LEFT.pkl or both, as they come from mano.is.tue.mpg.de (registration; for
    non-commercial use), the folder with both, or such a model as .npz. Read without chumpy; nothing in a
    file is run. Each hand is compared with smplx's own kinematics before it is written.
    """
    from handgen.hand import mano

    added = mano.add(files)
    if as_json:
        more = ("side", "remarks", "smplx_difference_mm")
        print_json([_row(hand.path, hand) | {name: getattr(hand, name) for name in more} for hand in added])
        return
    for hand in added:
        say(f"wrote {hand.path} (MANO's {hand.side} hand, {hand.size_bytes / 1e6:.1f} MB)")
        difference_mm = hand.smplx_difference_mm
        if difference_mm is None:
            compared = "not compared with smplx, which is not installed"
        else:
            compared = f"within {difference_mm:.1g} mm of smplx's own kinematics in random poses and shapes"
        for line in (*hand.remarks, *([f"mended: {hand.note}"] if hand.note else []), compared):
            say(f"  {line}")
    say("use: --hand-model mano")


@models.command("list")
@json_option
def list_models(as_json: bool) -> None:
    """Show which networks and hand models are in the cache."""
    from handgen.detect.mediapipe import networks
    from handgen.hand import mano
    from handgen.hand.model_files import mano_path
    from handgen.hand.skeleton import SIDES
    from handgen.storage.local_copies import cache_folder

    installed: list[Any] = [*networks.installed(), *mano.installed()]
    found = {each.path: each for each in installed}
    network_paths = [cache_folder() / name for name in networks.NETWORKS]
    paths = [*network_paths, *map(mano_path, SIDES)]
    if as_json:
        print_json([_row(path, found.get(path)) for path in paths])
        return
    table = Table("model", "size", "checked", Column("path", overflow="fold"))
    for path in paths:
        there, checked = found.get(path), "-"
        size = "not fetched" if path in network_paths else "not added"
        if there is not None:
            size = f"{there.size_bytes / 1e6:.1f} MB"
            if path in network_paths:
                checked = "SHA-256 as pinned" if there.pinned else "SHA-256 not the pinned one"
            else:
                checked = "mended" if there.note else "as given"
        table.add_row(*map(plain, (path.name, size, checked, str(path))))
    print_table(table)


def _row(path: Path, found: Any) -> dict[str, Any]:
    """A file of the cache. found: the network or hand that is there, or None."""
    return {
        "name": path.name,
        "path": str(path),
        "installed": found is not None,
        "size_bytes": getattr(found, "size_bytes", None),
        "sha256_as_pinned": getattr(found, "pinned", None),
        **({"mended": found.note or None} if hasattr(found, "note") else {}),
    }
