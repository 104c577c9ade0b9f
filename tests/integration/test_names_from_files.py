"""Names out of files that would act on a terminal or a browser: what is printed and shown holds them escaped."""

import html.parser
import io
import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console
from support.annotations import write_annotations
from support.captures import make_capture

from handgen.cli import console
from handgen.cli.main import _StderrHandler, main
from handgen.io.annotations import Annotations
from handgen.progress import _Lines, progress_bars
from handgen.stages.evaluate import page
from handgen.stages.evaluate.config import EvaluateConfig
from handgen.stages.evaluate.distributions import Distribution
from handgen.stages.evaluate.leave_one_out import LeaveOneOut, LeftOutView
from handgen.stages.evaluate.report import EvaluateReport
from handgen.stages.evaluate.results import source_of
from handgen.wording import printable

EVIL = 'a\x1b[31m\n\x00\x9b2J\u202e\u2066\x7f\udc80$\\frac{$[/]<script>alert(1)</script>"><img src=x onerror=alert(1)>'
ACTING = ("\x1b", "\x00", "\x9b", "\u202e", "\u2066", "\x7f", "\udc80")


def assert_harmless(text: str) -> None:
    assert not any(character in text for character in ACTING)
    assert all(line.isprintable() for line in text.split("\n"))


def test_a_message_that_quotes_a_file_keeps_its_ends_alone(tmp_path):
    annotations = write_annotations(tmp_path / "annotations", frames=1)
    manifest = json.loads((annotations / "manifest.json").read_text())
    manifest["hand_model"]["name"] = "x" * 100_000 + "{side}.npz"
    (annotations / "manifest.json").write_text(json.dumps(manifest))
    result = CliRunner().invoke(main, ["synthesize", str(annotations), "--out", str(tmp_path / "shards")])
    assert result.exit_code == 1 and 1000 < len(result.output) < 5000 and " ... " in result.output


def test_what_is_printable_stays_and_the_rest_is_escaped():
    assert printable("Zoë 手 [x]") == "Zoë 手 [x]"
    assert printable("a\nb\x1b\u202e\udc80") == "a\\nb\\x1b\\u202e\\udc80"


def test_names_in_a_capture_are_printed_escaped_and_json_stays_json(tmp_path):
    capture = make_capture(tmp_path)
    document = json.loads((capture / "calibration.json").read_text())
    for settings in (
        {"calibration": "no\x1b[31m\u202e\nfile.json"},
        {"cameras": {"cam\x1b\u202e\n9": {}}},
        {"\x1b\n": 1},
    ):
        (capture / "capture.json").write_text(json.dumps({"format_version": 1, **settings}))
        for command in ("inspect", "validate", "annotate"):
            result = CliRunner().invoke(main, [command, str(capture)])
            assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
            assert_harmless(result.output)
            if command != "validate":
                (line,) = [line for line in result.stderr.splitlines() if line]
                assert line.startswith("Error: ")
    (capture / "capture.json").unlink()
    document["cameras"][1]["name"] = "cam1\x1b[2J\u202e\n\x9b"
    (capture / "cam1.mp4").rename(capture / "cam1\x1b[2J\u202e\n\x9b.mp4")
    (capture / "calibration.json").write_text(json.dumps(document))
    result = CliRunner().invoke(main, ["inspect", str(capture)])
    assert result.exit_code == 0, result.output
    assert "cam1\\x1b[2J" in result.output
    assert_harmless(result.output)
    result = CliRunner().invoke(main, ["inspect", str(capture), "--json"])
    assert_harmless(result.stdout)
    assert json.loads(result.stdout)["cameras"][1]["name"] == "cam1\x1b[2J\u202e\n\x9b"


def test_arguments_and_titles_with_markup_are_printed_as_they_are(tmp_path):
    folder = tmp_path / "[red]x[/blue]\x1b[31m\n"
    folder.mkdir(parents=True)
    for arguments in (["inspect", str(folder)], ["validate", str(folder)], ["inspect", str(folder / "none\u202e")]):
        result = CliRunner().invoke(main, arguments)
        assert isinstance(result.exception, SystemExit)
        assert_harmless(result.output)
    make_capture(folder)
    for command in ("inspect", "validate"):
        result = CliRunner().invoke(main, [command, str(folder)])
        assert isinstance(result.exception, SystemExit | None) and "x[/blue]" in result.output.replace("\n", "")
        assert_harmless(result.output)


def test_lines_of_progress_logs_and_people_are_escaped(capsys, monkeypatch):
    _Lines().report(EVIL, 0, 3)
    console.say(EVIL)
    logger = logging.getLogger("handgen.test_names")
    handler = _StderrHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger.addHandler(handler)
    logger.propagate = False
    logger.warning("%s", EVIL)
    captured = capsys.readouterr()
    assert_harmless(captured.out + captured.err)
    assert captured.err.count("\n") == 2 and captured.out.count("\n") == 1
    try:
        raise ValueError("x\x1b")
    except ValueError:
        logger.exception("failed")
    lines = capsys.readouterr().err
    assert lines.count("\n") > 3  # a traceback keeps its lines
    assert_harmless(lines)


def test_a_bar_takes_no_markup_and_no_escapes(monkeypatch):
    shown = io.StringIO()
    shown.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("TERM", "dumb")
    with progress_bars() as report:
        report(EVIL, 1, 2)
    assert not any(character in shown.getvalue() for character in ACTING if character != "\x1b")
    assert "\x1b[31m" not in shown.getvalue()


class Page(html.parser.HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


@pytest.mark.parametrize("name", [EVIL, "javascript:alert(1)", "' onmouseover='alert(1)", "{{ 7*7 }}"])
def test_a_report_escapes_names(name, tmp_path):
    annotations = Annotations(write_annotations(tmp_path / "annotations", frames=2, accept_all=True))
    spread = Distribution(2, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0)
    left_out = LeaveOneOut(
        hands=1,
        views=(LeftOutView(camera=name, hands=1, error_px=spread, error_mm=spread),),
        error_px=spread,
        error_mm=spread,
    )
    source = replace(source_of(annotations), path=name, capture=name, hand_model=name)
    report = EvaluateReport(source, source, EvaluateConfig(), (name,), leave_one_out=left_out)
    page.write_page(report, annotations, None, tmp_path / "report", lambda *_: None)
    text = (tmp_path / "report" / page.PAGE).read_bytes().decode()
    assert_harmless(text)
    for tag, attributes in Page(text).tags:
        assert tag != "script" and not any(key.startswith("on") for key in attributes)
        assert all((attributes.get(key) or "data:image/").startswith("data:image/") for key in ("src", "href"))
    assert "{{" not in name or name in text


def test_file_names_that_are_not_utf8_are_named_in_one_line(tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe"))
    folder.mkdir(parents=True)
    for arguments in (["inspect"], ["validate"], ["annotate"], ["synthesize"], ["inspect", "--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "handgen.cli.main", *arguments[:1], os.fsencode(folder), *arguments[1:]],
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
        )
        assert done.returncode == 1 and b"Traceback" not in done.stderr, done.stderr
        assert done.stderr.count(b"\n") <= 1 and (done.stdout + done.stderr).isascii()


def test_printing_to_a_console_uses_no_markup():
    text = console.plain("[bold]a[/]\x1b", "italic")
    shown = io.StringIO()
    Console(file=shown).print(text)
    assert shown.getvalue() == "[bold]a[/]\\x1b\n"
