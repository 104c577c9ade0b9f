"""The JSON Schema of records whose fields are declared in Python (`handgen.storage.json_fields`).

`scripts/render_schemas.py` writes them to schemas/. A description is the docstring of the class, or the one that stands
under the field.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from dataclasses import replace
from types import NoneType
from typing import Any, get_args, get_origin

from handgen.records.annotation import HandRecord
from handgen.records.detection import DetectionRecord
from handgen.records.sample import SampleLabels
from handgen.storage.json_fields import Json, declared_members, holds_truth_values, split_hint

# By the schema's name. Other files are plain documents, for which the schema is all there is.
RECORDS = {"annotation_record": HandRecord, "detection": DetectionRecord, "sample": SampleLabels}
_SCALARS = {bool: "boolean", int: "integer", float: "number", str: "string"}
Schema = dict[str, Any]


def schema_of(name: str) -> Schema:
    """The schema of the records called `name`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"handgen {name.replace('_', ' ')}",
        **_of_class(RECORDS[name]),
    }


def _of_class(cls: type) -> Schema:
    texts = _descriptions(cls)
    schema = {"description": _line(cls.__doc__), **_object()}
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
