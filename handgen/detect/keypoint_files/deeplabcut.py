"""DeepLabCut: a CSV per camera (`save_as_csv=True`, or `deeplabcut.analyze_videos_converth5_to_csv`).

Header rows `scorer`, (`individuals`,) `bodyparts`, `coords`; then a row per frame: its number, from 0, and x, y and
likelihood of each body part, empty where there is none. Body parts are known by name (`names`), in any order; which
hand they are of is said by individuals called left and right, by names such as `left_wrist`, or by `--hands`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from handgen.detect.keypoint_files.hands import SMALLER, CameraHands, HandList, check_file, check_frame
from handgen.detect.keypoint_files.names import places_of, side_of
from handgen.errors import HandgenError
from handgen.storage import filesystem, limits

MARK = "DLC"  # in a file's name, between the video's and the network's
START = b"scorer"
_COORDS = ("x", "y", "likelihood")


def read(file: Path, side: str | None) -> CameraHands:
    """The hands of a camera's file. side: if the file does not say it. Raises HandgenError for what does not fit."""
    found = HandList(str(file))
    rows = _rows(file)
    hands = _columns(rows, side, file)
    seen = set()
    for number, row in rows:
        frame = _frame(row[0], f"{file}: row {number}")
        if frame in seen:
            raise HandgenError(f"{file}: row {number}: frame {frame} is there twice; remove one")
        seen.add(frame)
        for hand, columns in hands:
            found.add(frame, _numbers(row, columns, f"{file}: row {number}"), float(hand == "right"))
    return found.packed_scored()


def _rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows and their numbers, from 1."""
    try:
        check_file(file, limits.KEYPOINT_FILE, SMALLER)
        most_characters, most_columns = limits.CSV_LINE.allowed, limits.CSV_COLUMNS.allowed
        with open(file, encoding="utf-8", newline="", opener=filesystem.regular_file) as stream:
            lines = iter(lambda: stream.readline(most_characters + 1), "")
            for number, row in enumerate(csv.reader(lines), 1):
                if max(map(len, row), default=0) > most_characters:
                    limits.CSV_LINE.check(most_characters + 1, f"{file}: row {number}", "is it DeepLabCut's?")
                if len(row) > most_columns:
                    limits.CSV_COLUMNS.check(len(row), f"{file}: row {number}", "is it DeepLabCut's?")
                if row:
                    yield number, row
    except OSError as error:
        raise HandgenError(f"{file}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise HandgenError(f"{file}: cannot be read as CSV ({error}); is it DeepLabCut's?") from None


def _columns(
    rows: Iterator[tuple[int, list[str]]], side: str | None, file: Path
) -> list[tuple[str, list[tuple[int, int, int | None]]]]:
    """Read the header: of each hand its side, and the columns of x, y and likelihood of each of our keypoints."""
    header: dict[str, list[str]] = {}
    for _, row in rows:
        header[row[0].strip().lower()] = [cell.strip() for cell in row[1:]]
        if "coords" in header or len(header) == 4:
            break
    parts, coords = header.get("bodyparts", []), header.get("coords", [])
    individuals = header.get("individuals", [""] * len(parts))
    if not parts or len(parts) != len(coords) or len(parts) != len(individuals):
        raise HandgenError(
            f"{file}: no header rows scorer, (individuals,) bodyparts, coords of the same length; is it DeepLabCut's?"
        )
    hands = []
    for individual in dict.fromkeys(individuals):
        where = f"{file}: individual {individual!r}" if individual else str(file)
        cells = {
            (part, coord): column
            for column, (whose, part, coord) in enumerate(zip(individuals, parts, coords, strict=True), 1)
            if whose == individual
        }
        names = list(dict.fromkeys(part for part, _ in cells))
        for said, places in places_of(names, where).items():
            hand = said or side_of(individual) or side
            if hand is None:
                raise HandgenError(
                    f"{where}: does not say which hand it is; give --hands left or --hands right, or call it so"
                )
            hands.append((hand, [_cells(cells, names[place], where) for place in places]))
    if len({hand for hand, _ in hands}) != len(hands):
        raise HandgenError(
            f"{file}: {len(hands)} individuals, but two of one side ({', '.join(dict.fromkeys(individuals))}); "
            "call them left and right, or keep one of them"
        )
    return hands


def _cells(cells: dict[tuple[str, str], int], part: str, where: str) -> tuple[int, int, int | None]:
    x, y, likelihood = (cells.get((part, coord)) for coord in _COORDS)
    if x is None or y is None:
        raise HandgenError(f"{where}: {part}: no coords x and y")
    return x, y, likelihood


def _frame(text: str, where: str) -> int:
    digits = text.strip().removesuffix(".0")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise HandgenError(f"{where}: {text[:60]!r} is no frame number; labelled images (CollectedData) are not read")
    return check_frame(int(digits), where)


def _numbers(
    row: Sequence[str], columns: Sequence[tuple[int, int, int | None]], where: str
) -> Float[np.ndarray, "21 3"]:
    """x, y, likelihood of a hand's keypoints; 1 where the file has no likelihoods."""
    try:
        texts = [("1" if column is None else row[column]) for columns_ in columns for column in columns_]
        return np.array([float(text) if text.strip() else np.nan for text in texts], np.float32).reshape(-1, 3)
    except IndexError:
        raise HandgenError(f"{where}: fewer columns than the header; is the file truncated?") from None
    except ValueError as error:
        raise HandgenError(f"{where}: {error}; expected numbers") from None
