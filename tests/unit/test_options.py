from dataclasses import dataclass, replace
from typing import Any

import click
import pytest
from click.testing import CliRunner

from handgen.cli.options import config_options
from handgen.options import REQUIRED, check_options, chosen_options, deciding_options, make_config, option
from handgen.plugins import NoOptions, Registry
from handgen.wording import count_of, counts_of

BRUSHES: Registry[str] = Registry("brush")


@dataclass(frozen=True, kw_only=True)
class RoundOptions:
    radius: float = option(REQUIRED, "of the circle.", above=0, unit="px")
    soft: bool = option(False, "fade towards the edge.", decides_output=False)

    def __post_init__(self):
        check_options(self)


BRUSHES.register("flat", "nowhere:at_all")
BRUSHES.register("round", "nowhere:at_all", RoundOptions)


@dataclass(frozen=True)
class PaintConfig:
    size: int = option(64, "Pixels per side.", low=16, high=4096, unit="px")
    share: float = option(0.5, "How much.", above=0, high=1)
    range_px: tuple[float, float] = option((1.0, 2.0), low=0)
    brush: str = option("flat", "What with.", choices=BRUSHES.names)
    brush_options: Any = chosen_options("brush", BRUSHES)
    wet: bool = option(True, "Whether it runs.", old_flags=("--damp",))
    video: bool = option(True, "Written as.", flag="--format", spellings={"video": True, "images": False})
    colour: tuple[str, ...] = option((), "One of several.", metavar="NAME")
    workers: int | None = option(None, "Processes.", low=1, decides_output=False)

    def __post_init__(self):
        check_options(self)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": 8}, "size must be 16 to 4096 px, got 8"),
        ({"size": "big"}, "size must be a whole number, got 'big'"),
        ({"size": True}, "size must be a whole number, got True"),
        ({"share": 0}, "share must be above 0 and at most 1, got 0"),
        ({"share": float("nan")}, "share must be above 0 and at most 1, got nan"),
        ({"range_px": (1.0, float("inf"))}, "range_px must be at least 0, got 1, inf"),
        ({"wet": 1}, "wet must be true or false, got 1"),
        ({"brush": "big"}, "brush must be flat or round, got 'big'"),
        ({"brush": "round"}, "--brush round needs --radius VALUE"),
        ({"brush": "round", "radius": -1}, "radius must be above 0 px, got -1"),
        ({"radius": 2.0}, "--radius is for --brush round, not flat"),
        ({"brush_options": RoundOptions(radius=1.0)}, "brush_options must be NoOptions for brush flat"),
    ],
)
def test_what_is_not_allowed_is_said(values, message):
    with pytest.raises(ValueError) as caught:
        make_config(PaintConfig, **values)
    assert str(caught.value).startswith(message)


def test_an_option_that_there_is_not():
    with pytest.raises(TypeError, match="no option 'sise'; did you mean 'size'"):
        make_config(PaintConfig, sise=3)


def test_options_of_parts_go_where_they_belong():
    config = make_config(PaintConfig, brush="round", radius=3)
    assert config.brush_options == RoundOptions(radius=3)
    assert PaintConfig().brush_options == NoOptions()
    assert replace(config, size=32).brush_options == config.brush_options
    deciding = {"size": 64, "share": 0.5, "range_px": [1.0, 2.0], "wet": True, "video": True, "colour": []}
    assert deciding_options(PaintConfig(workers=3)) == deciding | {"brush": "flat"}
    assert deciding_options(config) == deciding | {"brush": "round", "brush_options": {"radius": 3}}


@click.command()
@config_options(PaintConfig)
def paint(config):
    click.echo(repr(config))


def run(*arguments):
    return CliRunner().invoke(paint, arguments)


def test_the_command_line_is_made_from_the_fields():
    assert run().stdout == f"{PaintConfig()}\n"
    drawn = ("--no-wet", "--format=images", "--size=16", "--colour=a", "--colour=b")
    found = run("--brush", "round", "--radius", "3", *drawn)
    expected = make_config(PaintConfig, brush="round", radius=3.0, wet=False, video=False, size=16, colour=("a", "b"))
    assert found.stdout == f"{expected}\n" and found.stderr == ""
    help = run("--help").stdout
    for text in ("--size INTEGER RANGE", "[default: 64; 16<=x<=4096]", "--wet / --no-wet", "round: of the circle.",
                 "--format [video|images]"):  # fmt: skip
        assert text in help
    assert "range-px" not in help and "damp" not in help  # not for the command line, and an old name
    for arguments in (("--radius", "3"), ("--size", "8"), ("--brush", "round")):
        assert run(*arguments).exit_code == 2


def test_an_old_name_is_taken_with_a_note():
    found = run("--no-damp")
    assert found.stdout == f"{PaintConfig(wet=False)}\n"
    assert found.stderr == "note: --no-damp is called --no-wet now\n"
    assert run("--no-damp", "--wet").stdout == f"{PaintConfig()}\n"  # the new name counts


def test_words_for_counts():
    assert [count_of(n, "subject") for n in (0, 1, 2)] == ["0 subjects", "1 subject", "2 subjects"]
    assert count_of(2, "person", "people") == "2 people"
    assert counts_of({"right": 2, "left": 1}) == "1 left, 2 right" and counts_of({}) == "none"
