"""Records declared once: a dataclass whose fields say their Python type and, in `Json`, what they are in a file.

    @dataclass(frozen=True)
    class Sighting:
        '''One hand in one picture.'''

        frame: Annotated[int, Json({"minimum": 0})]
        '''Number of the frame.'''
        points_px: Annotated[Float[np.ndarray, "21 2"], Json(decimals=3)]
        '''Pixels of the picture.'''
        sharp: Annotated[bool, Json(optional=True)] = True
        '''Whether the picture is sharp.'''

From such a class come the document that is written (`to_document`), the record that is read (`from_document`) and the
JSON Schema, in which the docstrings are the descriptions (`scripts/render_schemas.py`). Files are checked by it first.

Types: bool, int, float, str, Literal of texts, numpy arrays of a fixed jaxtyping shape, tuples, dict[str, X], declared
classes, Any for what is JSON already, and X | None. `Stored` gives any other type a form in the file.

msgspec knows neither numpy arrays nor their shapes: each would be spelled as nested tuples and converted a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache, partial
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")
Convert = Callable[[Any], Any]


@dataclass(frozen=True)
class Stored:
    """The form that a value has in its file, when that is not its own type.

    write: from the value to a value of type `form`. read: back; it takes the fields of a declared class as keywords. A
    ValueError says why it is impossible.
    """

    form: Any
    write: Convert
    read: Convert


@dataclass(frozen=True)
class Json:
    """The meaning of a field in JSON: what its Python type does not say.

    limits: keywords of JSON Schema for every number or text in the field. decimals: to which its numbers are rounded
    when written. key: the name in the file, if it is another one. group: name of the object in the file that the field
    is put in. inline: the fields of the declared class stand among those of the record that has it. optional: absent
    in files of earlier versions, for which the default is taken. omit_default: not written when it is the default.
    stored: its form, if that is not its own type.
    """

    limits: Mapping[str, Any] = field(default_factory=dict, hash=False)  # `X | None` hashes what annotates X
    decimals: int | None = None
    key: str = ""
    group: str = ""
    inline: bool = False
    optional: bool = False
    omit_default: bool = False
    stored: Stored | None = None


Count = Annotated[int, Json({"minimum": 0})]
Share = Annotated[float, Json({"minimum": 0, "maximum": 1})]


@dataclass(frozen=True)
class Member:
    """One attribute of a declared class. computed: it is a property, which is written and not read."""

    attribute: str
    hint: Any
    json: Json
    default: Any = None
    computed: bool = False

    @property
    def key(self) -> str:
        """Its name in the file."""
        return self.json.key or self.attribute


def declared_members(cls: type) -> list[Member]:
    """The fields of a declared class, then its properties that have a `Json`."""
    hints = get_type_hints(cls, include_extras=True)
    found = [Member(own.name, *split_hint(hints[own.name]), own.default) for own in fields(cls)]
    for name, value in vars(cls).items():
        if isinstance(value, property):
            hint, json = split_hint(get_type_hints(value.fget, include_extras=True).get("return"))
            if json != Json():
                found.append(Member(name, hint, json, computed=True))
    return found


def split_hint(hint: Any, json: Json | None = None) -> tuple[Any, Json]:
    """A type without its annotations, and the `Json` among these; without one, `json`."""
    if get_origin(hint) is not Annotated:
        return hint, json or Json()
    return hint.__origin__, next((extra for extra in hint.__metadata__ if isinstance(extra, Json)), json or Json())


class _Codec(NamedTuple):
    """The way of one type to JSON and back."""

    encode: Convert
    decode: Convert


def to_document(record: Any) -> dict[str, Any]:
    """The JSON document of a record of a declared class."""
    return _codec_of_class(type(record)).encode(record)  # type: ignore[arg-type]


def from_document(cls: type[T], document: Mapping[str, Any]) -> T:
    """The record in a document that fits the schema of the class. Raises ValueError as its types do when made."""
    return _codec_of_class(cls).decode(document)  # type: ignore[arg-type]


@cache
def _codec_of_class(cls: type, make: Callable[..., Any] | None = None) -> _Codec:
    """The codec of a declared class. make: what takes its fields as keywords when it is read, if not the class."""
    members = [(member, _codec(member.hint, member.json)) for member in declared_members(cls)]
    groups = dict.fromkeys(member.json.group for member, _ in members)
    parts = {
        group: [(m, codec) for m, codec in members if m.json.group == group and not m.json.inline] for group in groups
    }
    # Chunks hold records by the thousand: what the loops need of a member is looked up once, here.
    inlined = [(member.attribute, codec) for member, codec in members if member.json.inline]
    written = {
        group: [(m.attribute, m.key, m.json.omit_default, m.default, codec.encode) for m, codec in part]
        for group, part in parts.items()
    }
    read = {
        group: [(m.attribute, m.key, codec.decode) for m, codec in part if not m.computed]
        for group, part in parts.items()
    }

    def encode(record: Any) -> dict[str, Any]:
        document: dict[str, Any] = {}
        for group, part in written.items():
            own = document.setdefault(group, {}) if group else document
            for attribute, key, omit_default, default, encode_value in part:
                value = getattr(record, attribute)
                if not omit_default or value != default:
                    own[key] = value if value is None or encode_value is _unchanged else encode_value(value)
        for attribute, codec in inlined:
            document.update(codec.encode(getattr(record, attribute)))
        return document

    def decode(document: Mapping[str, Any]) -> Any:
        values = {}
        for group, part in read.items():
            own = document[group] if group else document
            for attribute, key, decode_value in part:
                if key in own:
                    value = own[key]
                    values[attribute] = value if value is None or decode_value is _unchanged else decode_value(value)
        for attribute, codec in inlined:
            values[attribute] = codec.decode(document)
        return (make or cls)(**values)

    return _Codec(encode, decode)


def _codec(hint: Any, json: Json) -> _Codec:
    """The codec of a type; what `json` says of numbers holds for those inside it. None is taken care of before."""
    hint, json = split_hint(hint, json)
    origin, arguments = get_origin(hint), get_args(hint)
    if NoneType in arguments:
        return _codec(next(argument for argument in arguments if argument is not NoneType), json)
    if stored := json.stored:
        write, read = stored.write, stored.read
        if is_dataclass(stored.form):
            inner = _codec_of_class(cast(type, stored.form), read)
            return _Codec(lambda value: inner.encode(write(value)), inner.decode)
        inner = _codec(stored.form, replace(json, stored=None))
        return _Codec(lambda value: inner.encode(write(value)), lambda value: read(inner.decode(value)))
    decimals = json.decimals
    if hasattr(hint, "dim_str"):
        import numpy as np  # records without arrays are declared where no numerical library is loaded

        written = int if holds_truth_values(hint) else float
        encode = lambda value: np.asarray(value, written).tolist()  # noqa: E731
        if decimals is not None:
            encode = lambda value: np.asarray(value, float).round(decimals).tolist()  # noqa: E731
        return _Codec(encode, partial(np.array, dtype=bool if holds_truth_values(hint) else float))
    if origin is tuple:
        inner = _codec(arguments[0], json)
        if inner.encode is inner.decode is _unchanged:
            return _Codec(list, tuple)
        return _Codec(lambda value: list(map(inner.encode, value)), lambda value: tuple(map(inner.decode, value)))
    if origin is dict:
        inner = _codec(arguments[1], json)
        return _Codec(
            lambda value: {key: inner.encode(item) for key, item in value.items()},
            lambda value: {key: inner.decode(item) for key, item in value.items()},
        )
    if hint is Any or origin is Literal:
        return _Codec(_unchanged, _unchanged)
    if hint not in (bool, int, float, str):
        return _codec_of_class(hint)
    return _Codec(
        _unchanged if decimals is None else lambda value: round(float(value), decimals),
        hint if hint in (int, float) else _unchanged,  # JSON has 1 for 1.0, and the reverse
    )


def _unchanged(value: Any) -> Any:
    return value


def holds_truth_values(hint: Any) -> bool:
    """Tell whether an array type is of truth values, which a file has as 0 and 1."""
    return "bool" in hint.dtypes
