"""A plug-in with an export format: one table of 2D keypoints, with a choice of the separator."""

from dataclasses import dataclass

from handgen.datasets.registry import DataSetFormat, register_format
from handgen.datasets.writer import Written, join_parts, write_file, write_part
from handgen.hand.skeleton import SIDES
from handgen.options import check_options, option


@dataclass(frozen=True)
class TableOptions:
    separator: str = option("comma", "between values.", choices=("comma", "semicolon"))

    def __post_init__(self):
        check_options(self)


class TableWriter:
    sides, other_sides_option = SIDES, ""

    def __init__(self, job):
        self.job, self.separator = job, {"comma": ",", "semicolon": ";"}[job.options.separator]

    def write(self, unit, first, pictures):
        written, rows = Written(), []
        for number, picture in enumerate(pictures, first):
            for hand in picture.hands:
                rows.append(
                    self.separator.join([str(number), hand.side, *map(str, hand.keypoints_px.ravel())]).encode()
                )
                written.hands += 1
        write_part(self.job, unit, "rows", rows, written)
        return written

    def finish(self, units):
        return [write_file(self.job, "keypoints.csv", join_parts(self.job, "rows", units))]

    def place(self, manifest):
        pass

    def notes(self):
        return []


OWNED = ("keypoints.csv",)
register_format(
    DataSetFormat("table", "a table", writer=f"{__name__}:TableWriter", owned=f"{__name__}:OWNED", options=TableOptions)
)
