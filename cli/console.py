"""Printing what a stage found: tables for people or JSON for programs, on standard output."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from handgen.errors import HandgenError
from handgen.wording import printable

if TYPE_CHECKING:
    from handgen.progress import Progress
    from handgen.runtime.report import ReadableReport
    from handgen.stages.inspect.describe import Description
    from handgen.storage.filesystem import Location


def is_quiet() -> bool:
    """Tell whether --quiet was given."""
    ctx = click.get_current_context(silent=True)
    return bool(ctx and ctx.meta.get("handgen.quiet"))


def say(text: str, err: bool = False) -> None:
    """Print a line for people, unless --quiet was given. err: on standard error."""
    if not is_quiet():
        with printing():
            click.echo(printable(text), err=err)


@contextmanager
def show_progress() -> Iterator[Progress]:
    """A callback that shows the progress of a stage; with --quiet it does nothing."""
    from handgen.progress import progress_bars

    if is_quiet():
        yield lambda what, done, total: None
        return
    with progress_bars() as progress:
        yield progress


@contextmanager
def printing(soft_wrap: bool = True) -> Iterator[Console]:
    """Print on standard output while the block lasts; HandgenError where it cannot be written, as on a full disk."""
    try:
        yield Console(highlight=False, soft_wrap=soft_wrap, quiet=is_quiet())
        sys.stdout.flush()
    except BrokenPipeError:
        raise  # nobody reads on, which is no error
    except OSError as error:
        _drop_output()
        raise HandgenError(
            f"standard output: cannot be written ({error.strerror}); make room, or print elsewhere"
        ) from None


def _drop_output() -> None:
    """Send to nowhere what is printed from now on, and what is still to be written when the process ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def plain(text: str, style: str = "") -> Text:
    """Make a text to print as it is: no markup, and nothing that acts on a terminal."""
    return Text(printable(text), style=style)


def print_report(
    report: ReadableReport,
    as_json: bool,
    next_steps: Sequence[str],
    more: Sequence[tuple[str, str]] = (),
    notes: Iterable[str] | None = None,
) -> None:
    """Print a report as JSON, or as a table of its rows and `more`, notes (None: all remarks) and what to run next."""
    if as_json:
        print_json(report.to_json())
        return
    table = Table(title=plain(report.title, "italic"), title_justify="left", show_header=False, box=box.SIMPLE)
    for name, value in [*report.rows(), *more]:
        table.add_row(plain(name), plain(value))
    with printing() as console:
        console.print(table)
        for note in report.remarks() if notes is None else notes:
            console.print(plain(f"note: {note}"))
        for step in ["Next:", *(f"  {step}" for step in next_steps)] if next_steps else ():
            console.print(plain(step))


def print_json(document: Any) -> None:
    """Print a document on standard output, for programs, and harmless on a terminal."""
    from handgen.storage.documents import dumps

    text = dumps(document, indent=True).decode()
    lines = [line if line.isprintable() else "".join(map(_json_character, line)) for line in text.split("\n")]
    with printing():
        click.echo("\n".join(lines).encode(), nl=False)  # bytes: UTF-8 whatever the terminal shows


def _json_character(character: str) -> str:
    """Escape a character of a JSON text unless it can be printed: a terminal may take it for a command."""
    return character if character.isprintable() else json.dumps(character)[1:-1].replace("\x7f", "\\u007f")


def steps_after_annotations(out: Location, views: int) -> list[str]:
    """The commands that go on from annotations with so many accepted views."""
    shards = [f"handgen synthesize {out} --backgrounds DIR --out shards"] if views else []
    return [*shards, f"handgen validate {out} --digests"]


def print_checks(checks: Sequence[tuple[str, int | None, int]], first: Callable[[str], str]) -> None:
    """A table of checks: name, how many were looked at (None: not counted), how many are wrong, where the first is."""
    numbers = (Column(name, justify="right") for name in ("looked at", "wrong"))
    table = Table("check", *numbers, "first", box=box.SIMPLE)
    for name, looked_at, wrong in checks:
        style = "bold red" if wrong else ""
        cells = (name, "" if looked_at is None else str(looked_at), str(wrong), first(name))
        table.add_row(*(plain(cell, style) for cell in cells))
    print_table(table)


def print_table(table: Table) -> None:
    """Print a table for people."""
    with printing() as console:
        console.print(table)


def print_description(description: Description) -> None:
    """Print what a directory holds: facts, tables and notes."""
    with printing(soft_wrap=False) as console:
        console.print(plain(f"{description.path}: {description.kind}", "bold"))
        facts = Table(box=None, show_header=False, pad_edge=False)
        for name, value in description.facts:
            facts.add_row(plain(name, "dim"), plain(value))
        console.print(facts)
        for table in description.tables:
            shown = Table(title=plain(table.title, "italic"), title_justify="left", box=box.SIMPLE)
            for i, column in enumerate(table.columns):
                shown.add_column(plain(column), justify="right" if i else "left")
            for row in table.rows:
                shown.add_row(*map(plain, row))
            console.print(shown)
        for note in description.notes:
            console.print(plain(f"note: {note}"))
