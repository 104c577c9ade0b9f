"""A YAML file of augmentations, read into plain data of bounded size. What the data mean: `augment`."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from handgen.errors import HandgenError

MAX_FILE_BYTES = 64 * 2**10
_MAX_DEPTH = 12  # of lists and mappings in one another
_MAX_ITEMS = 64  # of one list or mapping
_MAX_TEXT = 64  # characters of a name or a choice
_MAX_NUMBER = 1000.0  # kernels, grids and pixels: beyond, a single image would take minutes
_MAX_KELVIN = 40_000.0  # the one larger thing: a temperature


def read_entries(path: Path) -> list[Any]:
    """The list that a YAML file holds: numbers, texts, truth values, lists and mappings alone.

    Raises HandgenError for a file that cannot be read, is too large, is no YAML, uses anchors or tags, is nested
    too deeply, says one key twice, has numbers that no transform needs, or holds no list.
    """
    text = _text(path)
    try:
        _refuse_tricks(path, text)
        data = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise HandgenError(f"{path}: {line}not readable as YAML ({error.problem or error.context})") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise HandgenError(f"{path}: not readable as YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(data, list) or not data:
        raise HandgenError(
            f"{path}: expected a list of transforms, such as `- RandomGamma: {{p: 0.3}}`; for no augmentation "
            "use --augment none"
        )
    return [_plain(entry, f"{path}: entry {number}", "") for number, entry in enumerate(_bounded(data, str(path)), 1)]


def _text(path: Path) -> str:
    try:
        if not path.is_file():
            raise HandgenError(f"{path}: no such file; --augment takes default, none, or the path of a YAML file")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise HandgenError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if len(data) > MAX_FILE_BYTES:
        raise HandgenError(f"{path}: larger than {MAX_FILE_BYTES >> 10} KiB; is it a list of transforms?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise HandgenError(f"{path}: not text in UTF-8; save it as UTF-8") from None


def _refuse_tricks(path: Path, text: str) -> None:
    """Walk the events before anything is built: anchors multiply data, depth fills the stack."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        where = f"{path}: line {event.start_mark.line + 1}"
        if getattr(event, "anchor", None) is not None:
            raise HandgenError(f"{where}: anchors and aliases are not taken; write the entry out")
        if getattr(event, "tag", None) is not None:
            raise HandgenError(f"{where}: tags such as {event.tag!r} are not taken; remove it")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise HandgenError(f"{where}: nested more than {_MAX_DEPTH} deep; flatten it")


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no types
    """SafeLoader that refuses a key said twice, of which it would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # unhashable, which the parent says
            if key.value in seen:
                problem = f"{key.value!r} is there twice; in a list each entry starts with '-'"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _bounded(items: Any, where: str) -> Any:
    if len(items) > _MAX_ITEMS:
        raise HandgenError(f"{where}: {len(items)} items are more than the {_MAX_ITEMS} allowed; shorten it")
    return items


def _plain(value: Any, where: str, key: str) -> Any:
    """The value, every part checked. key: the parameter that it belongs to."""
    if isinstance(value, dict):
        for name in _bounded(value, where):
            if not isinstance(name, str) or len(name) > _MAX_TEXT:
                raise HandgenError(f"{where}: {str(name)[:_MAX_TEXT]!r} is no name; write it as text")
        return {name: _plain(part, f"{where}, {name}", name) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part, where, key) for part in _bounded(value, where)]
    if isinstance(value, str) and len(value) > _MAX_TEXT:
        raise HandgenError(f"{where}: a text of {len(value)} characters; the longest allowed has {_MAX_TEXT}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        largest = _MAX_KELVIN if key == "temperature_limit" else _MAX_NUMBER
        if not abs(value) <= largest:  # so that NaN is refused too
            raise HandgenError(f"{where}: {_quote(value)} is beyond {largest:g}; choose a smaller number")
    if value is not None and not isinstance(value, str | int | float):
        kind = type(value).__name__
        raise HandgenError(f"{where}: a {kind} is not taken; write numbers, texts, true, false or lists")
    return value


def _quote(value: float) -> str:
    """A number short enough for a message: an integer may have thousands of digits."""
    return f"a number of {value.bit_length()} bits" if isinstance(value, int) and abs(value) > 10**12 else f"{value:g}"
