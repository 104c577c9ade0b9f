"""Finding the videos or image folders of a capture, and which camera made which."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import Any

from handgen.errors import HandgenError
from handgen.io.calibration_files.base import Calibration
from handgen.media.image_folder import list_images, natural_key
from handgen.media.images import IMAGE_SUFFIXES
from handgen.media.video import VIDEO_SUFFIXES
from handgen.storage.filesystem import Location
from handgen.storage.output import MANIFEST, RUN

_NOT_FRAMES = ("camera_parameters", "videos", "images")  # sub-folders that are no camera's own


def list_sources(capture: Path) -> list[Path]:
    """The videos in the folder or its `videos/`, else its sub-folders of images, or those of `images/`; maybe none."""
    for below, is_source in (("videos", _is_video), ("images", _is_image_folder)):
        for folder in (capture, capture / below):
            found = [child for child in folder.iterdir() if is_source(child)] if folder.is_dir() else []
            if found:
                return sorted(found, key=lambda child: (natural_key(child.name), child.name))
    return []


def find_sources(capture: Path) -> list[Path]:
    """List the sources like `list_sources`; HandgenError if there is none."""
    found = list_sources(capture)
    if not found:
        raise HandgenError(
            f"{capture}: no videos ({', '.join(VIDEO_SUFFIXES)}) and no sub-folders of images "
            f"({', '.join(IMAGE_SUFFIXES)}) in it, videos/ or images/; put one per camera there"
        )
    return found


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and path.name[0] != "."


def _is_image_folder(path: Path) -> bool:
    if not path.is_dir() or path.name[0] == "." or path.name in _NOT_FRAMES:
        return False
    if path.name.lower().startswith("calib") or (path / MANIFEST).exists():
        return False
    return bool(list_images(path))


def without_outputs(names: Iterable[str]) -> set[str]:
    """Keep the paths that are the capture's own: none in a folder that handgen wrote, none hidden."""
    paths = [PurePath(name) for name in names]
    written = {path.parent for path in paths if path.name in (MANIFEST, RUN) and len(path.parts) > 1}
    return {
        path.as_posix()
        for path in paths
        if written.isdisjoint(path.parents) and not any(part.startswith(".") for part in path.parts)
    }


def check_worth_copying(capture: Location, names: Iterable[str]) -> None:
    """Raise a HandgenError unless there are videos or images among the files of a store."""
    if not any(name.lower().endswith((*VIDEO_SUFFIXES, *IMAGE_SUFFIXES)) for name in names):
        raise HandgenError(
            f"{capture}: no videos ({', '.join(VIDEO_SUFFIXES)}) and no images in it; give the folder of a capture"
        )


def inside(capture: Path, relative: str, what: str) -> Path:
    """`relative` inside the capture; HandgenError if it is absolute, climbs out or does not exist."""
    pure = PurePath(relative)
    if pure.is_absolute() or ".." in pure.parts or "\\" in relative or "\0" in relative:
        raise HandgenError(
            f"{capture / 'capture.json'}: {what}: {relative!r} leads out of the capture folder; "
            "give a path relative to the folder and inside it"
        )
    path = capture / pure
    if not path.exists():
        raise HandgenError(f"{path}: no such file or folder, though capture.json names it as {what}; correct it")
    return path


def choose_files(
    path: Path, listed: Mapping[str, Any] | None, calibrated: Calibration, notes: list[str]
) -> tuple[list[str], list[Path]]:
    """Names and files of the cameras to use. listed: capture.json's cameras. notes: gets what a user should know."""
    if listed is None:
        found = find_sources(path)
        files, note = match_cameras(calibrated.names, found, path, calibrated.path)
        notes += [note] if note else []
        return list(calibrated.names), files
    for name in listed:
        if name not in calibrated.names:
            raise HandgenError(
                f"{path / 'capture.json'}: camera {name} is not in {calibrated.path} "
                f"(cameras: {', '.join(calibrated.names)}); use the calibration's names"
            )
    names = list(listed)
    files = [inside(path, listed[name]["file"], f"camera {name}") for name in names]
    if len(set(files)) < len(files):
        raise HandgenError(f"{path / 'capture.json'}: two cameras have the same file; give each its own")
    unused = [name for name in calibrated.names if name not in listed]
    if unused:
        notes.append(f"not listed in capture.json and left out: camera {', '.join(unused)}")
    return names, files


def match_cameras(
    names: Sequence[str], sources: Sequence[Path], capture: Path, calibration: Path
) -> tuple[list[Path], str | None]:
    """The source of each camera, and what to tell the user about how they were matched.

    By the exact name, else by the last, else by the first number in the name, else, if there are as many files as
    cameras and no other way matches a single one, by order. Raises HandgenError naming what has no partner.
    """
    best: dict[str, Path] = {}
    for key in (_stem, _number, partial(_number, place=0)):
        matched = _match_by(key, names, sources)
        if len(matched) == len(names) == len(sources):
            return [matched[name] for name in names], None
        if len(matched) > len(best):
            best = matched
    if not best and len(names) == len(sources):
        pairs = ", ".join(f"{source.name} = camera {name}" for name, source in zip(names, sources, strict=True))
        return list(sources), f"matched files to cameras by order: {pairs}"
    extra = [source for source in sources if source not in best.values()]
    missing = [name for name in names if name not in best]
    if missing:
        raise HandgenError(
            f"{capture}: camera {missing[0]} of {calibration.name} has no video or image folder "
            f"(found: {', '.join(source.name for source in sources)}); "
            "add it, or list the cameras to use in capture.json"
        )
    raise HandgenError(
        f"{extra[0]}: no camera in {calibration} belongs to it (cameras: {', '.join(names)}); "
        "calibrate it, remove it, or list the cameras to use in capture.json"
    )


def camera_spellings(names: Sequence[str], sources: Sequence[Path]) -> dict[str, str]:
    """Every way in which a file may call a camera -> its name: name, file stem, number if it is unique."""
    numbers = [_number(name) for name in names]
    spellings = {number: name for name, number in zip(names, numbers, strict=True) if number}
    unique = {number: name for number, name in spellings.items() if numbers.count(number) == 1}
    stems = {_stem(source): name for name, source in zip(names, sources, strict=True)}
    return unique | stems | {name: name for name in names}


def _match_by(
    key: Callable[[str | Path], str | None], names: Sequence[str], sources: Sequence[Path]
) -> dict[str, Path]:
    by_source: dict[str | None, list[Path]] = {}
    for source in sources:
        by_source.setdefault(key(source), []).append(source)
    name_keys = [key(name) for name in names]
    return {
        name: by_source[value][0]
        for name, value in zip(names, name_keys, strict=True)
        if value is not None and name_keys.count(value) == 1 and len(by_source.get(value, ())) == 1
    }


def _stem(thing: str | Path) -> str:
    return thing if isinstance(thing, str) else (thing.name if thing.is_dir() else thing.stem)


def _number(thing: str | Path, place: int = -1) -> str | None:
    found = re.findall(r"\d+", _stem(thing))
    return (found[place].lstrip("0") or "0") if found else None
