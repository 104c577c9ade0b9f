"""Find the words by which handgen's output names the cause of a wrong input."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

# kind of cause -> any of these names it. No word of an intact run's usual output is among them.
WORDS: dict[str, str] = {
    "mirrored": r"mirror",
    "upside down": r"upside[ -]down|(turned|rotated)( by)? 180",
    "rotated": r"(turned|rotated)( by)? (-?90|270|a quarter)|another aspect ratio|rotation tag",
    "exchanged": r"exchang|swapp|interchang|mixed up|names? contradict",
    "late": r"frames? (late|early)|\b(late|early) by|\blags\b|\bleads\b"
    r"|frame_offset\W{0,3}(of |to |by )?-?\d|shifted by|(behind|ahead of) the other",
    "rate": r"frame rates differ|half the (frame )?rate|other (frame )?rate|another (frame )?rate|frames/s, but",
    "gap": r"\bgaps?\b|\d+ frames? missing|dropped|frames? (is|are) missing|missing frames?|has no frame|\d+ missing",
    "holes": r"(pictures?|numbers?) (is|are) missing|\d+ pictures? missing|missing pictures?|\bholes?\b"
    r"|has no (frame|picture)",
    "shorter": r"has \d+ frames,|shorter|ends (at|after) frame",
    "duplicates": r"\btwice\b|duplicate|same (frame|number|picture)|\.jpg and .*\.png|\.png and .*\.jpg",
    "no contrast": r"no contrast|without contrast|one colour|uniform|(black|grey|blank|empty) pictures?|shows? nothing",
    "unit": r"is the unit right|check the unit|wrong unit|unit is wrong|times too (large|small)|the hands suggest"
    r"|hands? (is|are|of) .*mm (long|hand)|metres[ -]per[ -]unit .*(suggest|would)"
    r"|not in metres|centimetres|millimetres",
    "inverted": r"inverted|inverse|wrong way round|cam(era)?[- ]to[- ]world|world[_ ]from[_ ]cam",
    "moved": r"\bmoved\b|refine-extrinsics|\bbumped\b",
    "intrinsics": r"focal|intrinsics (do|of|are|look)|principal point|another size|calibrated at|lens (is|of another)",
    "missing keypoints": r"\(-1, -1\)|\bare -1\b|outside (of )?the (image|picture)|negative (pixels|coordinates)",
    "normalised": r"not in pixels|normali[sz]ed|0 to 1|0\.\.1",
    "keypoints of another": r"exchang|swapp|keypoints? (file )?.*(of another|do not (fit|agree)|belong)",
    "side": r"--hands|left hand.*right|right hand.*left|other side|wrong side|mirror",
    "damaged": r"truncated|damaged|cannot be (read|decoded)|not a video|moov|unreadable",
    "uncalibrated": r"not calibrated|uncalibrated|calibrate (it|them|first)\b|no calibration",
    "offset": r"frame_offset\W{0,3}(of |to |by )?-?\d|frames? (late|early)|\b(late|early) by|shifted by",
}
# Words that make an intact capture a false alarm: suspect cameras, clocks and units.
ALARMS = (
    *("mirrored", "upside down", "rotated", "exchanged", "late", "rate", "gap", "holes", "duplicates", "no contrast"),
    *("unit", "inverted", "moved", "normalised", "damaged"),
)
_CHECK_PASSED = re.compile(r"^\s*\S.*?\s\d+\s+0\s*$")  # a line of `validate`'s table without a finding
_NUMBER = re.compile(r"\d+(\.\d+)?")
_PROGRESS = re.compile(r"━|^\s*─+\s*$")


def output_lines(text: str, folders: dict[Path, str]) -> list[str]:
    """Split an output into lines that say something, with the names of folders replaced."""
    for folder, name in folders.items():
        text = text.replace(str(folder), name)
    lines = (line.strip() for line in text.replace("\r", "\n").splitlines())
    return [line for line in lines if line and not _PROGRESS.search(line) and not _CHECK_PASSED.match(line)]


def find_word(lines: Iterable[str], kinds: Sequence[str]) -> str | None:
    """Return the first line that names one of these kinds of causes; a sentence rather than a row of a table."""
    pattern = re.compile("|".join(f"(?:{WORDS[kind]})" for kind in kinds), re.IGNORECASE)
    found = [line for line in lines if pattern.search(line)]
    return next((line for line in found if ": " in line), found[0] if found else None)


def new_lines(lines: Iterable[str], intact: Iterable[str]) -> list[str]:
    """Leave out the lines that the intact run prints as well, whatever their numbers are."""
    usual = {_without_numbers(line) for line in intact}
    return [line for line in lines if _without_numbers(line) not in usual]


def _without_numbers(line: str) -> str:
    return re.sub(r"\s+", " ", _NUMBER.sub("#", line))


def shortened(line: str, most: int = 170) -> str:
    """Shorten a line for a table: numbers to three digits, paths to their last part."""
    line = re.sub(r"(?:CAPTURE|ANNOTATIONS|FOLDER|/[\w.-]+)(?:/[\w.-]+)*/(?=[\w.-])", "", line)
    line = re.sub(r"\d+\.\d+", lambda found: f"{float(found[0]):.3g}", line)
    line = re.sub(r"\s+", " ", line).replace("|", "/").replace("`", "'")
    return line if len(line) <= most else line[: most - 4].rstrip() + " ..."
