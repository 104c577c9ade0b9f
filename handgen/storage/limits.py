"""Bounds of what a file may ask for when it is read: memory, members, depth and work, of a file and of a sample.

A file from outside says how large it is in a few bytes, and nothing that it says is believed. Every reader asks here
before it makes room, and whatever asks for more than its share is a `HandgenError` that says how to raise the budget.
Six budgets are all there is to raise, each by a variable of the environment; what one kind of file may take is a share
of one of them and grows with it. They are read once per process: set them before the first file is read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import NoReturn

from handgen.errors import HandgenError

_KIB, _MIB, _MILLION = 2**10, 2**20, 10**6


@dataclass(frozen=True)
class Budget:
    """A bound of all files or samples. default: in units of `scale` bytes, pixels or pieces. most: what readers stand.

    about: of what it is the bound, for people.
    """

    name: str
    variable: str
    default: int
    unit: str
    about: str
    scale: int = 1
    most: int | None = None

    @property
    def allowed(self) -> int:
        """The bound in bytes, pixels or pieces; HandgenError if the environment's is no number."""
        return _allowed()[self.variable]

    def read(self) -> int:
        """Read the bound from the environment."""
        text = os.environ.get(self.variable, "").strip()
        if not text:
            return self.default * self.scale
        if not (text.isascii() and text.isdigit() and len(text) <= 12 and int(text) > 0):
            raise HandgenError(f"{self.variable}: {text[:40]!r} is no whole number above 0 ({self.unit}); correct it")
        if self.most is not None and int(text) > self.most:
            raise HandgenError(f"{self.variable}: {text} is more than {self.most}, which readers stand; lower it")
        return int(text) * self.scale


@dataclass(frozen=True)
class Share:
    """A part of a budget that one kind of thing may take. amount: in bytes, pixels or pieces, of the default budget."""

    budget: Budget
    amount: int
    what: str

    @property
    def allowed(self) -> int:
        """The bound now."""
        return self.amount * self.budget.allowed // (self.budget.default * self.budget.scale)

    def check(self, asked: int, where: object, hint: str = "is this the right file?") -> None:
        """Raise a HandgenError naming `where` if more is asked for than allowed."""
        if asked > self.allowed:
            self.refuse(asked, f"{where}: {self.what} {self.bound}; {hint}")

    def refuse(self, asked: int, message: str) -> NoReturn:
        """Raise a HandgenError of `message`, which says what is too much, and of how to allow it."""
        raise HandgenError(f"{message} ({self.how_to_raise(asked)})")

    @property
    def bound(self) -> str:
        """The bound in words: `larger than 256 MiB`."""
        deep = " deep" if self.budget.unit == "levels" else ""
        return f"{'larger' if self.budget.scale == _MIB else 'more'} than {self.in_words(self.allowed)}{deep}"

    def in_words(self, amount: int) -> str:
        """Return an amount, rounded up, with its unit."""
        if self.budget.scale == 1:
            return str(amount)
        if self.budget.scale == _MIB and amount < _MIB:
            return f"{-(-amount // _KIB)} KiB"
        return f"{-(-amount // self.budget.scale)} {self.budget.unit}"

    def how_to_raise(self, asked: int) -> str:
        """Say which budget is exceeded by how much, and what allows it."""
        budget = self.budget
        needed = -(-asked * budget.default // self.amount)
        allows = f"{budget.variable}={needed} allows it"
        if budget.most is not None and needed > budget.most:
            allows = f"{budget.variable} goes up to {budget.most}"
        return f"the budget of {budget.name}: it asks for {self.in_words(asked)}; if you trust it, {allows}"


@cache
def _allowed() -> dict[str, int]:
    return {budget.variable: budget.read() for budget in BUDGETS}


def check_environment() -> None:
    """Raise a HandgenError if a budget in the environment is no number."""
    _allowed()


def forget_environment() -> None:
    """Read the environment again when a budget is asked for next."""
    _allowed.cache_clear()


FILE = Budget("a file", "HANDGEN_MAX_FILE_MIB", 1536, "MiB", "memory of one file, unpacked and parsed", _MIB)
SAMPLE = Budget("a sample", "HANDGEN_MAX_SAMPLE_MIB", 256, "MiB", "bytes of a sample, unpacked, or of an entry", _MIB)
PIXELS = Budget(
    "a picture",
    "HANDGEN_MAX_MEGAPIXELS",
    100,
    "megapixels",
    "pixels of a picture or of a video's frame, of three bytes each",
    _MILLION,
    most=178,  # Pillow stops there
)
MEMBERS = Budget("members", "HANDGEN_MAX_MEMBERS", 1000, "members", "members of a sample or of an archive")
DEPTH = Budget("depth", "HANDGEN_MAX_DEPTH", 64, "levels", "lists and objects in one another", most=200)
STEPS = Budget("work", "HANDGEN_MAX_STEPS", 200_000, "steps", "steps that reading a pickle takes")
BUDGETS = (FILE, SAMPLE, PIXELS, MEMBERS, DEPTH, STEPS)

# Of a file
JSON_TEXT = Share(FILE, 256 * _MIB, "the text of a JSON file")
JSON_VALUES = Share(FILE, 1536 * _MIB, "the values of a JSON file, in memory,")
STREAM_INDEX = Share(FILE, 1536 * _MIB, "the places of a JSON file's entries, in memory,")
RECORDS = Share(FILE, 1024 * _MIB, "the records of a chunk")
NOTES = Share(FILE, 1024 * _MIB, "the journal of a run")
FETCHED = Share(FILE, 512 * _MIB, "the cutouts of a shard that are fetched from a store at once")
ARRAYS = Share(FILE, 1536 * _MIB, "the arrays of a file, with what is made of them,")
MASKS = Share(FILE, 512 * _MIB, "the masks of a picture, unpacked,")
KEYPOINT_FILE = Share(FILE, 1024 * _MIB, "a file of keypoints")
KEYPOINTS = Share(FILE, 1536 * _MIB, "the keypoints of a camera, in memory,")
OPENPOSE_FILE = Share(FILE, 4 * _MIB, "a file of one frame's keypoints")  # a person has 15 KB
TIMESTAMPS = Share(FILE, 256 * _MIB, "a file of timestamps")
TIMES = Share(FILE, 768 * _MIB, "the rows of a file of timestamps, in memory,")
CALIBRATION = Share(FILE, 8 * _MIB, "the text of a calibration")
TOML_TEXT = Share(FILE, 4 * _MIB, "the text of a TOML file")
AUGMENTATIONS = Share(FILE, 64 * _KIB, "a list of augmentations")
VIDEO_FRAMES = Share(FILE, 30_000 * _MIB, "all frames of a video of few bytes, decoded,")
PICTURE_FILE = Share(FILE, 512 * _MIB, "the file of a picture")
HAND_MODEL = Share(FILE, 64 * _MIB, "a hand model, packed or unpacked,")  # MANO has 4 MiB, SMPL's body 40
WEIGHTS = Share(FILE, 384 * _MIB, "a file of a network's weights")
WEIGHT_ARRAYS = Share(FILE, 256 * _MIB, "the arrays of a network's weights")
NETWORK = Share(FILE, 64 * _MIB, "a network")  # the larger of the two has 5.5 MiB
BUNDLE = Share(FILE, 256 * _MIB, "a bundle of networks")
# Of a sample, an entry or a line
SAMPLE_BYTES = Share(SAMPLE, 256 * _MIB, "all members of a sample")
MEMBER = Share(SAMPLE, 64 * _MIB, "a member of a sample")
CUTOUT = Share(SAMPLE, 128 * _MIB, "a cutout")
LABELS = Share(SAMPLE, 16 * _MIB, "the labels of a picture")
LABEL_ARRAYS = Share(SAMPLE, 64 * _MIB, "the arrays in the labels of a picture")
ENTRY = Share(SAMPLE, 16 * _MIB, "an entry of a JSON file")  # those of known data sets have some kilobytes
RECORD_LINE = Share(SAMPLE, 4 * _MIB, "a record")  # one seen by eight cameras takes about 20 KB
DETECTION_LINE = Share(SAMPLE, 64 * _KIB, "a line of detections")  # one has about 1 KB
CSV_LINE = Share(SAMPLE, 1 * _MIB, "a row of a CSV file")
PIXEL_COUNT = Share(PIXELS, 100 * _MILLION, "pixels")
SCANNED_PIXELS = Share(PIXELS, 2000 * _MILLION, "pixels in all scans of a JPEG")
SAMPLE_MEMBERS = Share(MEMBERS, 1000, "the members of a sample are")
ARCHIVE_MEMBERS = Share(MEMBERS, 10_000, "the members of an archive are")
CSV_COLUMNS = Share(MEMBERS, 4000, "the columns of a CSV file are")
PEOPLE = Share(MEMBERS, 200, "the people in a picture are")
CAMERAS = Share(MEMBERS, 64, "the cameras of a frame are")
NESTING = Share(DEPTH, 64, "lists and objects nested")
TOML_KEY = Share(DEPTH, 8, "a key of TOML")
YAML_NESTING = Share(DEPTH, 12, "lists and mappings nested")
PICKLE_NESTING = Share(DEPTH, 8, "values of a pickle nested")
PICKLE_STEPS = Share(STEPS, 200_000, "the steps to read a pickle are")  # a MANO file takes some 500
PICKLE_VALUES = Share(STEPS, 100_000, "the values of a pickle are")
SHARES = tuple(value for value in list(globals().values()) if isinstance(value, Share))


def to_markdown() -> str:
    """Return the tables of docs/limits.md."""
    rows = ["| budget | variable | default | bounds |", "| --- | --- | --- | --- |"]
    rows += [f"| {one.name} | `{one.variable}` | {one.default} {one.unit} | {one.about} |" for one in BUDGETS]
    rows += ["", "| of the budget of | may be at most | |", "| --- | --- | --- |"]
    for share in SHARES:
        what = share.what.removesuffix(" are").rstrip(",")
        rows.append(f"| {share.budget.name} | {share.in_words(share.amount)} | {what} |")
    return "\n".join(rows) + "\n"
