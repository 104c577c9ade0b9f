"""The JSON Schema of records whose fields are declared in Python (`handgen.storage.json_fields`).

`scripts/render_schemas.py` writes them to schemas/. A description is the docstring of the class, or the one that stands
under the field.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from handgen.records.annotation import HandRecord
from handgen.records.detection import DetectionRecord
from handgen.records.sample import SampleLabels
from handgen.stages.evaluate.document import EvaluationDocument
from handgen.stages.validate.report import ValidationDocument
from handgen.storage.json_fields import Json, declared_members, holds_truth_values, split_hint

# By the schema's name. Other files are plain documents, for which the schema is all there is.
RECORDS: dict[str, type] = {
    "annotation_record": HandRecord,
    "detection": DetectionRecord,
    "sample": SampleLabels,
    "evaluation": EvaluationDocument,
    "validation": ValidationDocument,
}
_CLASS = object()  # key of the class that an object of a schema is made from, until it is finished
_SCALARS = {bool: "boolean", int: "integer", float: "number", str: "string"}
Schema = dict[Any, Any]


def schema_of(name: str) -> Schema:
    """The schema of the records called `name`; a class that several fields are of is defined once, in `$defs`."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"handgen {name.replace('_', ' ')}",
        **_of_class(RECORDS[name]),
    }
    uses = Counter(node[_CLASS] for node in _nodes(schema) if _CLASS in node)
    definitions: Schema = {}
    schema = _with_references(schema, {cls for cls, count in uses.items() if count > 1}, definitions)
    return schema | ({"$defs": definitions} if definitions else {})


def _nodes(node: Any) -> Iterator[Schema]:
    """All objects in a schema."""
    if isinstance(node, dict):
        yield node
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _nodes(inner)


def _with_references(node: Any, shared: set[type], definitions: Schema, inside: bool = False) -> Any:
    """The schema with each object of a shared class replaced by a reference, and the objects in `definitions`.

    inside: the node is the definition itself.
    """
    if isinstance(node, list):
        return [_with_references(item, shared, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    cls = node.get(_CLASS)
    if cls in shared and not inside:
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()
        if name not in definitions:
            definitions[name] = None  # keeps the place before those that are in it
            own = _of_class(cls)
            definitions[name] = _with_references(own, shared, definitions, inside=True)
        reference: Schema = {"$ref": f"#/$defs/{name}"}
        if isinstance(node["type"], list):
            reference = {"anyOf": [reference, {"type": "null"}]}
        text = node.get("description", "")
        return reference | ({"description": text} if text and text != definitions[name]["description"] else {})
    return {key: _with_references(value, shared, definitions) for key, value in node.items() if key != _CLASS}


def _of_class(cls: type) -> Schema:
    texts = _descriptions(cls)
    schema = {"description": _line(cls.__doc__), **_object(), _CLASS: cls}
    for member in declared_members(cls):
        json = member.json
        own = _of_type(member.hint, json)
        if json.inline:
            schema["properties"] |= own["properties"]
            schema["required"] += own["required"]
            continue
        if json.group and json.group not in schema["properties"]:
            schema["properties"][json.group] = _object()
            schema["required"].append(json.group)
        owner = schema["properties"][json.group] if json.group else schema
        text = texts.get(member.attribute, own.pop("description", ""))
        owner["properties"][member.key] = ({"description": text} if text else {}) | own
        if not (json.optional or json.omit_default):
            owner["required"].append(member.key)
    return schema


def _object() -> Schema:
    return {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


def _of_type(hint: Any, json: Json) -> Schema:
    hint, json = split_hint(hint, json)
    origin, arguments = get_origin(hint), get_args(hint)
    if NoneType in arguments:
        schema = _of_type(next(argument for argument in arguments if argument is not NoneType), json)
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
        return schema | {"type": [schema["type"], "null"]}  # limits hold for values of the other type alone
    if json.stored:
        return _of_type(json.stored.form, replace(json, stored=None))
    if hint is Any:
        return {}
    if origin is Literal:
        return {"enum": list(arguments)}
    if hasattr(hint, "dim_str"):
        schema = {"enum": [0, 1]} if holds_truth_values(hint) else {"type": "number", **json.limits}
        for size in reversed(hint.dim_str.split()):
            schema = {"type": "array", "minItems": int(size), "maxItems": int(size), "items": schema}
        return schema
    if origin is tuple:
        length = {} if arguments[1] is ... else {"minItems": len(arguments), "maxItems": len(arguments)}
        return {"type": "array", **length, "items": _of_type(arguments[0], json)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _of_type(arguments[1], json)}
    return {"type": _SCALARS[hint], **json.limits} if hint in _SCALARS else _of_class(hint)


def _descriptions(cls: type) -> dict[str, str]:
    """The docstring of each property, and of each field the one under it."""
    found = {name: _line(value.__doc__) for name, value in vars(cls).items() if isinstance(value, property)}
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)
    for this, below in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(this, ast.AnnAssign) and isinstance(this.target, ast.Name) and isinstance(below, ast.Expr):
            found[this.target.id] = _line(ast.literal_eval(below.value))
    return found


def _line(text: str | None) -> str:
    return " ".join((text or "").split())
