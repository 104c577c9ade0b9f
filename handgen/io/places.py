"""Words for a place that holds something other than the annotations that were asked for."""

from __future__ import annotations

from pathlib import Path

from handgen.errors import HandgenError
from handgen.io.capture.camera_files import list_sources
from handgen.storage import filesystem
from handgen.storage.filesystem import Location
from handgen.storage.output import MANIFEST, kind_of


def looks_like_capture(place: Location, kind: str | None) -> bool:
    """Tell whether a folder is a capture: by its word (kind), or by its videos or folders of pictures."""
    if kind is not None or not isinstance(place, Path):
        return kind == "capture"
    return (place / "capture.json").is_file() or bool(list_sources(place))


def no_annotations(place: Location) -> HandgenError:
    """Make the error about a place without finished annotations: what lies there, and what to give or to run."""
    there, kind, made = isinstance(place, Path) and place.exists(), kind_of(place), place / "annotations"
    if there and not filesystem.is_folder(place):
        fact, step = "is a file", "give the directory that `handgen annotate` wrote"
    elif there and looks_like_capture(place, kind):
        is_made = filesystem.size_of(made / MANIFEST) is not None
        fact = "a capture, not annotations"
        step = f"give those that were made of it, {made}" if is_made else f"run `handgen annotate {place} --out {made}`"
        step += "" if is_made else f" first, and give {made}"
    elif kind not in ("annotations", None):
        fact, step = f"holds {kind}, not annotations", "give the directory that `handgen annotate` wrote"
    else:
        fact = f"no {MANIFEST}, so no finished annotations"
        step = f"run `handgen annotate CAPTURE --out {place}` first"
    return HandgenError(f"{place}: {fact}; {step}")
