"""Writes the schemas of declared records, and all schemas as tables for people with an index.

    declared classes (`record_schemas.RECORDS`) -> schemas/NAME.schema.json -> docs/schemas/NAME.md

    python scripts/render_schemas.py            write what has changed
    python scripts/render_schemas.py --check    write nothing; exit status 1 if something has

Each file has one definition: the declared record, or for the files that are plain documents in Python the schema
itself. A test fails when something made from it is stale.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from record_schemas import RECORDS, schema_of

ROOT = Path(__file__).resolve().parents[1]
SCHEMAS, DOCS = ROOT / "schemas", ROOT / "docs" / "schemas"
SUFFIX = ".schema.json"
# Which file each schema is of, in the order in which the files come to be.
FILES = {
    "capture": "`capture.json` in a capture (optional)",
    "calibration": "handgen's own calibration; `calibration.json` of simulated captures",
    "detection": "a line of `detections/NNNNNN.jsonl` in annotations, and of the JSONL that `--keypoints` reads",
    "annotation_manifest": "`manifest.json` in annotations",
    "annotation_record": "a line of `chunks/NNNNNN.jsonl` in annotations",
    "sample": "`KEY.json` in a shard's tar",
    "shard_manifest": "`manifest.json` in a directory of shards",
    "export_manifest": "`manifest.json` in an export",
    "run": "`run.json` in every directory that handgen writes",
    "journal": "a line of `.journal/NNNNNN.jsonl` in directories that commands go on with",
    "validation": "what `handgen validate --json` prints",
    "evaluation": "`evaluation.json`, which `handgen evaluate` writes and `--json` prints",
}
_COUNTED = ("number", "integer", "string", "object", "boolean")
_INDEX = """# Files

What handgen reads and writes, field by field, as the JSON schemas in [schemas/](../../schemas) say it: handgen checks
every file by them, when it writes and when it reads. These pages are made from the schemas by
`python scripts/render_schemas.py`.

Each file is defined in one place. The records that come by the thousand (annotation_record, detection, sample, in
[handgen/records/](../../handgen/records)) and the reports (evaluation, validation, in
[handgen/stages/](../../handgen/stages)) are classes: the type, the limits, the rounding and the description of a field
stand together there, and the script makes the schema from them, since they are used by their fields and a schema knows
no numpy array. The other files are plain documents in Python; their
schemas are written by hand and are the only definition.

`a[].b` is the field b of every item of the list a, `a.<name>` what the object a has under any name; *required* is meant
within the object that a field is in.

| page | file | what it holds |
| --- | --- | --- |
"""
Schema = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One field of a table. required: of the object that it is in."""

    name: str
    kind: str
    required: bool
    description: str

    def markdown(self) -> str:
        """The table's line."""
        cells = (f"`{self.name}`", self.kind, "yes" if self.required else "", self.description)
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


class Page:
    """One schema as a page."""

    def __init__(self, name: str, schema: Schema) -> None:
        self.name, self.schema = name, schema
        self.definitions: Schema = schema.get("$defs", {})

    def markdown(self) -> str:
        """The page: a table of the document, then one of each kind of object that occurs in several places."""
        link = f"[{self.name}{SUFFIX}](../../schemas/{self.name}{SUFFIX})"
        parts = [
            f"# {self.schema['title']}",
            f"{FILES[self.name][0].upper()}{FILES[self.name][1:]}. This page shows {link}. "
            "All files: [README.md](README.md).",
            self.schema["description"],
            _table(self.fields(self.schema, "")),
            _closed(self.schema),
        ]
        for name, schema in self.definitions.items():
            if "properties" in schema:
                parts += [f"## {name}", schema.get("description", ""), _table(self.fields(schema, ""))]
        return "\n\n".join(part for part in parts if part) + "\n"

    def fields(self, schema: Schema, path: str) -> Iterator[Row]:
        """The rows of an object's fields, and of what is in them."""
        required = schema.get("required", [])
        for key, field in schema.get("properties", {}).items():
            yield from self.rows(field, f"{path}.{key}" if path else key, key in required)
        others = schema.get("additionalProperties")
        if isinstance(others, dict):
            yield from self.rows(others, f"{path}.<name>" if path else "<name>", False)

    def rows(self, schema: Schema, name: str, required: bool) -> Iterator[Row]:
        """The row of a field, then those of the objects in it."""
        yield Row(name, self.kind(schema), required, " ".join(self.descriptions(schema)))
        yield from self.inside(schema, name)

    def inside(self, schema: Schema, name: str) -> Iterator[Row]:
        """The rows of the objects in a field."""
        schema, linked = self.resolved(schema)
        if linked:
            return
        for option in schema.get("anyOf", []):
            yield from self.inside(option, name)
        if isinstance(schema.get("items"), dict):
            yield from self.inside(schema["items"], f"{name}[]")
        yield from self.fields(schema, name)

    def kind(self, schema: Schema, several: bool = False) -> str:
        """The type of a value in words; several: of values."""
        target = schema.get("$ref", "").rpartition("/")[2]
        schema, linked = self.resolved(schema)
        if linked:
            return f"[{target}](#{target.lower()})"
        if "anyOf" in schema:
            return ", or ".join(dict.fromkeys(self.kind(option, several) for option in schema["anyOf"]))
        if "const" in schema or "enum" in schema:
            values = " or ".join(f"`{json.dumps(value)}`" for value in schema.get("enum", [schema.get("const")]))
            return f"values {values}" if several else values
        kind = schema.get("type", "anything")
        if isinstance(kind, list):
            return self.kind({"anyOf": [schema | {"type": one} for one in kind]}, several)
        if kind == "array":
            return self.list_kind(schema, several)
        return kind + ("s" if several and kind in _COUNTED else "") + _bounds(schema)

    def list_kind(self, schema: Schema, several: bool) -> str:
        """A list, or what several are: their shape where they have one."""
        shape, items = [], schema
        while items.get("type") == "array" and items.get("minItems") == items.get("maxItems") is not None:
            shape.append(str(items["minItems"]))
            items, _ = self.resolved(items.get("items", {}))
        if shape:
            return ("arrays of " if several else "") + f"{' x '.join(shape)} {self.kind(items, several=True)}"
        low, high = schema.get("minItems", 0), schema.get("maxItems")
        count = f" of {low} to {high}" if high is not None else f" of {low} or more" if low else " of"
        return f"list{'s' if several else ''}{count} {self.kind(schema.get('items', {}), several=True)}"

    def descriptions(self, schema: Schema) -> Iterator[str]:
        """The descriptions of a field, and of the alternatives that it has."""
        if "description" in schema:
            yield schema["description"]
        if "default" in schema:
            yield f"Default: `{json.dumps(schema['default'])}`."
        if "pattern" in schema:
            yield f"Matches `{schema['pattern']}`."
        for option in schema.get("anyOf", []):
            yield from self.descriptions(option)

    def resolved(self, schema: Schema) -> tuple[Schema, bool]:
        """A schema with its reference followed, and whether that has a table of its own."""
        if "$ref" not in schema:
            return schema, False
        target = self.definitions[schema["$ref"].removeprefix("#/$defs/")]
        return target | {key: value for key, value in schema.items() if key != "$ref"}, "properties" in target


def rendered() -> dict[Path, str]:
    """File below schemas/ and docs/schemas/ -> text; of schemas/ those that are made from declared records.

    ValueError for a schema that `FILES` does not tell of, or the reverse.
    """
    found = {path.name.removesuffix(SUFFIX): path for path in sorted(SCHEMAS.glob(f"*{SUFFIX}"))}
    if found.keys() | RECORDS.keys() != FILES.keys():
        raise ValueError(f"FILES: differs from the schemas in {sorted((found.keys() | RECORDS.keys()) ^ FILES.keys())}")
    schemas = {
        name: schema_of(name) if name in RECORDS else json.loads(found[name].read_text("utf-8")) for name in FILES
    }
    made = {SCHEMAS / f"{name}{SUFFIX}": json.dumps(schemas[name], indent=2) + "\n" for name in RECORDS}
    pages = {DOCS / f"{name}.md": Page(name, schema).markdown() for name, schema in schemas.items()}
    rows = [f"| [{name}]({name}.md) | {what} | {schemas[name]['description']} |" for name, what in FILES.items()]
    return made | pages | {DOCS / "README.md": _INDEX + "\n".join(rows) + "\n"}


def stale() -> dict[Path, str | None]:
    """Files that differ -> the text that each must have, None for a page that must go."""
    wanted = rendered()
    there = {path: path.read_text("utf-8") for path in {*wanted, *DOCS.glob("*.md")} if path.is_file()}
    return {path: wanted.get(path) for path in wanted.keys() | there.keys() if wanted.get(path) != there.get(path)}


def main() -> int:
    """Write or check; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    changes = stale()
    for path, text in sorted(changes.items()):
        print(f"{path.parent.name}/{path.name}: {'differs' if check else 'removed' if text is None else 'written'}")
        if check:
            continue
        if text is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    return int(check and bool(changes))


def _table(rows: Iterator[Row]) -> str:
    lines = [row.markdown() for row in rows]
    return "\n".join(["| field | type | required | |", "| --- | --- | --- | --- |", *lines]) if lines else ""


def _closed(schema: Schema) -> str:
    return "There are no other fields." if schema.get("additionalProperties") is False else ""


def _bounds(schema: Schema) -> str:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    above = ">" if "exclusiveMinimum" in schema else ">="
    below = "<" if "exclusiveMaximum" in schema else "<="
    if schema.get("type") == "null":
        return ""
    if low is not None and high is not None and (above, below) == (">=", "<="):
        return f", {low} to {high}"
    return "".join(f", {sign} {bound}" for sign, bound in ((above, low), (below, high)) if bound is not None)


if __name__ == "__main__":
    sys.exit(main())
