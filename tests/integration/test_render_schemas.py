import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import record_schemas  # noqa: E402
import render_schemas  # noqa: E402
from render_schemas import Page, rendered  # noqa: E402


def test_the_pages_are_those_of_the_schemas():
    assert not render_schemas.stale(), "run python scripts/render_schemas.py"


def test_a_changed_schema_makes_pages_stale(tmp_path, monkeypatch):
    schemas = tmp_path / "schemas"
    schemas.mkdir()
    for path in (ROOT / "schemas").glob("*.json"):
        (schemas / path.name).write_bytes(path.read_bytes())
    path = schemas / "capture.schema.json"
    path.write_text(path.read_text().replace("Frames per second of", "How many frames per second"))
    made = schemas / "detection.schema.json"
    made.write_text(made.read_text().replace("The camera's name", "The name of the camera"))
    monkeypatch.setattr(render_schemas, "SCHEMAS", schemas)
    changed = {file.name: text for file, text in render_schemas.stale().items()}
    assert changed.keys() == {"capture.md", "detection.schema.json"}
    assert "How many frames per second" in changed["capture.md"] and "The camera's name" in changed[made.name]
    path.unlink()
    with pytest.raises(ValueError, match="capture"):
        rendered()


def test_a_changed_record_makes_its_schema_and_page_stale(monkeypatch):
    @dataclass(frozen=True)
    class Changed:
        """One hand seen in one image."""

        camera: str
        """The name of the camera."""

    monkeypatch.setitem(record_schemas.RECORDS, "detection", Changed)
    changed = {file.name: text for file, text in render_schemas.stale().items()}
    assert changed.keys() == {"README.md", "detection.md", "detection.schema.json"}
    assert "The name of the camera." in changed["detection.md"]


def test_what_a_run_of_the_script_writes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(render_schemas, "DOCS", tmp_path / "docs")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "old.md").write_text("of a schema that is gone")
    for arguments, status in ((["--check"], 1), ([], 0), (["--check"], 0)):
        monkeypatch.setattr(sys, "argv", ["render_schemas.py", *arguments])
        assert render_schemas.main() == status
    pages = {path: text for path, text in rendered().items() if path.suffix == ".md"}
    assert {path: path.read_text() for path in (tmp_path / "docs").iterdir()} == pages
    assert "old.md: removed" in capsys.readouterr().out


def properties(schema):
    """Every name of a property, wherever it is."""
    if isinstance(schema, dict):
        for name, field in schema.get("properties", {}).items():
            yield name
            yield from properties(field)
        for key, value in schema.items():
            if key != "properties":
                yield from properties(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from properties(value)


@pytest.mark.parametrize("name", render_schemas.FILES)
def test_every_field_is_on_its_page_in_a_table_that_holds_together(name):
    schema = json.loads((ROOT / "schemas" / f"{name}.schema.json").read_text())
    page = rendered()[render_schemas.DOCS / f"{name}.md"]
    fields = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    assert {field.split(".")[-1].removesuffix("[]") for field in fields} >= set(properties(schema))
    for line in page.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 5, line
    for link in re.findall(r"\]\(#([^)]+)\)", page):
        assert f"## {link}\n" in page
    for link in re.findall(r"\]\(([^)#]+)\)", page):
        assert (ROOT / "docs" / "schemas" / link).exists()
    assert f"({name}.md)" in rendered()[render_schemas.DOCS / "README.md"]


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "number", "minimum": 0, "maximum": 1}, "number, 0 to 1"),
        ({"type": "integer", "exclusiveMinimum": 0}, "integer, > 0"),
        ({"type": ["number", "null"], "minimum": 0}, "number, >= 0, or null"),
        ({"type": ["array", "null"], "minItems": 2, "maxItems": 2, "items": {"type": "number"}}, "2 numbers, or null"),
        ({"const": 2}, "`2`"),
        ({"enum": ["left", None]}, '`"left"` or `null`'),
        ({"type": "array", "minItems": 2, "maxItems": 2, "items": {"enum": [0, 1]}}, "2 values `0` or `1`"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string, or null"),
        ({"type": "array", "items": {"type": "string"}}, "list of strings"),
        ({"type": "array", "minItems": 1, "items": {"type": "object"}}, "list of 1 or more objects"),
        ({"$ref": "#/$defs/matrix"}, "3 x 3 numbers"),
        ({"type": "array", "items": {"$ref": "#/$defs/matrix"}}, "list of arrays of 3 x 3 numbers"),
        ({"$ref": "#/$defs/thing"}, "[thing](#thing)"),
        ({"type": "array", "items": {"$ref": "#/$defs/thing"}}, "list of [thing](#thing)"),
        ({"type": "array", "items": {"type": "array", "items": {"type": "number"}}}, "list of lists of numbers"),
    ],
)
def test_types_in_words(schema, kind):
    matrix = {"type": "array", "minItems": 3, "maxItems": 3}
    definitions = {
        "matrix": matrix | {"items": matrix | {"items": {"type": "number"}}},
        "thing": {"type": "object", "properties": {"a": {"type": "string"}}},
    }
    assert Page("run", {"title": "t", "description": "d", "$defs": definitions}).kind(schema) == kind


def test_names_of_nested_fields():
    inner = {"type": "object", "properties": {"b": {"type": "string", "description": "x | y"}}, "required": ["b"]}
    schema = {
        "properties": {
            "list": {"type": "array", "items": inner},
            "map": {"type": "object", "additionalProperties": inner},
            "maybe": {"anyOf": [inner, {"type": "null"}]},
        },
        "required": ["list"],
    }
    rows = list(Page("run", schema).fields(schema, ""))
    assert [(row.name, row.required) for row in rows] == [
        *(("list", True), ("list[].b", True), ("map", False), ("map.<name>", False), ("map.<name>.b", True)),
        *(("maybe", False), ("maybe.b", True)),
    ]
    assert rows[1].markdown() == "| `list[].b` | string | yes | x \\| y |"


def test_the_script_runs_by_itself():
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "render_schemas.py"), "--check"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_class_of_several_fields_is_defined_once(monkeypatch):
    @dataclass(frozen=True)
    class Size:
        """Width and height."""

        width: int
        height: int

    @dataclass(frozen=True)
    class Picture:
        """Sizes of one picture."""

        size: Size
        """Of the file."""
        reduced: Size | None
        thumbnails: tuple[Size, ...]

    for name, cls in (("Size", Size), ("Picture", Picture)):
        monkeypatch.setitem(globals(), name, cls)  # hints are looked up among the module's names
    monkeypatch.setattr(record_schemas, "_descriptions", lambda cls: {"size": "Of the file."} if cls is Picture else {})
    monkeypatch.setitem(record_schemas.RECORDS, "picture", Picture)
    schema = record_schemas.schema_of("picture")
    reference = {"$ref": "#/$defs/size"}
    assert schema["properties"] == {
        "size": reference | {"description": "Of the file."},
        "reduced": {"anyOf": [reference, {"type": "null"}]},
        "thumbnails": {"type": "array", "items": reference},
    }
    assert schema["$defs"] == {
        "size": {
            "description": "Width and height.",
            "type": "object",
            "properties": {"width": {"type": "integer"}, "height": {"type": "integer"}},
            "required": ["width", "height"],
            "additionalProperties": False,
        }
    }
