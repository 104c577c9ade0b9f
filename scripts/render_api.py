"""Writes what is public as a page and as types: docs/api.md and handgen/_api/options.pyi.

    python scripts/render_api.py            write what has changed
    python scripts/render_api.py --check    write nothing; exit status 1 if something has

The page comes from the docstrings, the types from the configurations of the stages; a test holds them against each
other.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import handgen
from handgen._api import stages
from handgen._api.config import Keyword, help_of, keywords_of

ROOT = Path(__file__).resolve().parents[1]
_LINE = 100  # characters of a signature that is shown on one line
# What a stage's function takes its options from.
CONFIGS = {
    "simulate": stages.SimulateConfig,
    "annotate": stages.AnnotateConfig,
    "synthesize": stages.SynthesizeConfig,
    "evaluate": stages.EvaluateConfig,
    "export": stages.ExportConfig,
    "import_dataset": stages.ImportConfig,
}
FUNCTIONS = (
    *("simulate", "annotate", "open_annotations", "synthesize", "load_shards", "evaluate", "validate", "export"),
    *("import_dataset", "load_capture", "pin_numerics"),
)
CLASSES = ("Camera", "Rig", "HandModel", "Tracker", "HandgenError")
# What these functions return and take, which has no name in `handgen` itself.
RETURNED = {
    "handgen._api.annotations": ("AnnotatedHands", "AnnotatedHand", "HandView", "Mesh"),
    "handgen.io.capture.capture": ("Capture",),
    "handgen.data": ("ShardDataset", "HandSample"),
    "handgen.hand.model": ("HandPose", "PosedHand"),
    "handgen.fit.tracker": ("TrackedHand",),
    "handgen.geometry.rigid": ("Rigid",),
}
# What a module of one's own registers parts with; see docs/contributing.md.
PARTS = {
    "handgen.detect.registry": ("register_detector",),
    "handgen.io.calibration_files.registry": ("register_calibration_format",),
    "handgen.stages.evaluate.metrics.registry": ("register_metric",),
    "handgen.options": ("option", "check_options"),
    "handgen.detect.base": ("Detector", "ViewDetector", "DetectionTask"),
    "handgen.records.detection": ("Detection",),
}
REPORTS = ("simulate", "annotate", "synthesize", "evaluate", "validate", "export", "import_")
INTRODUCTION = """# Python

Made from the docstrings by `python scripts/render_api.py`. **Public is what this page names:** the names of
`import handgen`, the objects that they return, and the files of [docs/schemas](schemas/README.md). Everything else
may change in any version.

```python
import handgen

if __name__ == "__main__":  # worker processes import the script again
    handgen.simulate("capture", views=4, frames=24)
    print(handgen.annotate("capture", "annotations", progress=True))
    for hand in handgen.open_annotations("annotations"):
        print(hand.frame, hand.side, hand.keypoints_3d[0], hand.mesh().vertices.shape)
```

Numbered examples, from a capture to a trained network, are in [scripts/examples](../scripts/examples).

- Names are loaded when they are first used; `import handgen` takes milliseconds.
- Places are strings, paths, or URLs of stores such as `s3://bucket/folder`.
- Options have the names and defaults of the command line, with underscores for dashes.
- What a user can fix raises `HandgenError`; a wrong type raises `TypeError`, a value that is not allowed `ValueError`:
  one line each.
- Units are metres, radians and seconds unless a name says otherwise (`_mm`, `_px`). The world frame is the
  calibration's own, scaled to metres. Cameras look along z, x is right, y down; the first pixel's centre is (0, 0).
- Bytes are those of the command line if no numerical library (numpy, scipy, OpenCV, torch) was loaded before a
  stage is called: all of them then use the instructions that every x86-64 processor of the last ten years has. Call
  `handgen.pin_numerics()` before other imports for that. Otherwise the stage computes as the libraries do on this
  host, and says so in `run.json`: results agree within rounding, and a run is not mixed with one of the other kind.
"""


def render_files() -> dict[Path, str]:
    """The files that this script makes, and what must be in them."""
    return {ROOT / "docs" / "api.md": page(), ROOT / "handgen" / "_api" / "options.pyi": option_types()}


def page() -> str:
    """The page for people."""
    parts = [INTRODUCTION, "## Functions\n"]
    parts += [describe_function(name, getattr(handgen, name)) for name in FUNCTIONS]
    parts.append("## Classes\n")
    parts += [describe_class(name, getattr(handgen, name)) for name in CLASSES]
    parts.append("## What the functions return\n")
    for module, names in RETURNED.items():
        parts += [describe_class(name, getattr(importlib.import_module(module), name)) for name in names]
    parts.append(
        "## Reports\n\nEach stage returns a report; `to_json()` gives what the command prints with `--json`.\n"
    )
    parts += [describe_report(stage) for stage in REPORTS]
    parts.append("## Parts of one's own\n\nA plug-in is a module that registers parts when it is imported.\n")
    for module, names in PARTS.items():
        parts += [describe_part(module, name) for name in names]
    undescribed = set(handgen.__all__) - {*FUNCTIONS, *CLASSES, "__version__"}
    if undescribed:
        raise ValueError(f"public, but on no list of this script: {', '.join(sorted(undescribed))}")
    return "\n".join(parts)


def describe_function(name: str, function: Callable[..., Any]) -> str:
    """One function: signature without its options, docstring, and a table of the options."""
    wrapped = inspect.unwrap(function)
    lines = [f"### handgen.{name}\n", f"```python\n{signature(name, wrapped)}\n```\n", docstring(wrapped)]
    if name in CONFIGS:
        lines += ["| option | type | default | |", "| --- | --- | --- | --- |"]
        lines += [option_row(each) for each in keywords_of(CONFIGS[name], function)]
        lines.append("")
    return "\n".join(lines)


def signature(name: str, function: Callable[..., Any]) -> str:
    """Parameters and result, one parameter a line where they do not fit on one."""
    found = inspect.signature(function)
    parameters, keyword_only = [], False
    for each in found.parameters.values():
        if each.name in ("self", "cls"):
            continue
        if each.kind is each.VAR_KEYWORD:
            parameters.append(f"**{each.name}")
            continue
        if each.kind is each.KEYWORD_ONLY and not keyword_only:
            parameters.append("*")
            keyword_only = True
        kind = "" if each.annotation is each.empty else f": {plain_type(each.annotation)}"
        parameters.append(each.name + kind + shown_default(each.default))
    result = "" if found.return_annotation is found.empty else f" -> {plain_type(found.return_annotation)}"
    text = f"{name}({', '.join(parameters)}){result}"
    if len(text) <= _LINE:
        return text
    return f"{name}(\n" + "".join(f"    {each},\n" for each in parameters) + f"){result}"


def shown_default(default: Any) -> str:
    """` = value` of a parameter, or nothing where it has no default."""
    if default is inspect.Parameter.empty:
        return ""
    return f" = {default.__name__ if inspect.isclass(default) else repr(default)}"


def plain_type(annotation: Any) -> str:
    """An annotation as people write it, without modules."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return text.replace("typing.", "").replace("collections.abc.", "")


def option_row(keyword: Keyword) -> str:
    """One line of a table of options."""
    default = "" if keyword.default is inspect.Parameter.empty else f"`{keyword.default!r}`"
    cells = (f"`{keyword.name}`", f"`{keyword.annotation}`", default, help_of(keyword))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def docstring(thing: Any) -> str:
    """A docstring as Markdown: indented blocks are code."""
    return (inspect.getdoc(thing) or "").rstrip() + "\n"


def describe_class(name: str, kind: type) -> str:
    """One class: its docstring, fields, properties and methods."""
    lines = [f"### {name}\n", docstring(kind)]
    if dataclasses.is_dataclass(kind):
        rows = [f"- `{f.name}`: `{plain_type(f.type)}`" for f in dataclasses.fields(kind) if not f.name.startswith("_")]
        lines += [*rows, ""]
    elif inspect.isfunction(vars(kind).get("__init__")) and name in ("HandModel", "Tracker"):
        lines += [f"```python\n{signature(name, kind.__init__).replace(' -> None', '')}\n```\n"]
    for member, value in vars(kind).items():
        target = getattr(value, "__func__", getattr(value, "fget", getattr(value, "func", value)))
        if member.startswith("_") and member != "__call__" or not (isinstance(value, property) or callable(target)):
            continue
        is_property = not inspect.isfunction(value) and not isinstance(value, classmethod | staticmethod)
        shown = member if is_property else signature(member.replace("__call__", name), target)
        text = docstring(value if isinstance(value, property) else target)
        lines.append(f"- `{' '.join(shown.split())}`: {' '.join(text.split())}")
    return "\n".join(lines).rstrip() + "\n"


def describe_report(stage: str) -> str:
    """The report of one stage."""
    name = f"{stage.rstrip('_').title()}Report"
    return describe_class(name, getattr(importlib.import_module(f"handgen.stages.{stage}.report"), name))


def describe_part(module: str, name: str) -> str:
    """One function or class that plug-ins import from its module."""
    part = getattr(importlib.import_module(module), name)
    text = describe_class(name, part) if inspect.isclass(part) else describe_function(name, part)
    return text.replace(f"### handgen.{name}", f"### {name}").replace(f"### {name}", f"### {module}.{name}", 1)


def option_types() -> str:
    """The stub of typed options, for type checkers."""
    parts = [
        '"""Types of the public functions\' keyword options, for type checkers.\n\n'
        'Made from the configurations of the stages by `python scripts/render_api.py`; do not edit.\n"""\n',
        "",
    ]
    imports = set()
    for name, config in CONFIGS.items():
        keywords = keywords_of(config, getattr(stages, name))
        imports |= {word for each in keywords for word in ("Literal", "Place") if word in each.annotation}
        kind = f"{config.__name__.removesuffix('Config')}Options"
        parts.append(f'class {kind}(TypedDict, total=False):\n    """Keyword options of `handgen.{name}`."""\n')
        parts.append("".join(f"    {k.name}: {k.annotation}\n".replace("'", '"') for k in keywords))
    parts[1] = f"from typing import {', '.join(sorted({'TypedDict', *imports} - {'Place'}))}\n"
    if "Place" in imports:
        parts.insert(2, "from handgen._api.config import Place\n")
    return "\n".join(parts)


def main() -> int:
    """Write or check; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    changed = 0
    for path, text in render_files().items():
        if path.is_file() and path.read_text("utf-8") == text:
            continue
        changed += 1
        print(f"{path.relative_to(ROOT)}: {'differs' if check else 'written'}")
        if not check:
            path.write_text(text, "utf-8")
    return int(check and changed > 0)


if __name__ == "__main__":
    sys.exit(main())
