"""Rules of the house that a linter does not know."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DANGLING = ("Of ", "As ", "The same", "What ", "See ", "Those ", "Where ")
MOST_DANGLING = 0


def modules(*folders: str) -> list[tuple[str, ast.Module]]:
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return [(str(path.relative_to(ROOT)), ast.parse(path.read_text())) for path in paths]


def imports(tree: ast.AST) -> Iterator[str]:
    """Names of the modules that a module imports, from wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")
            yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)


def test_no_test_imports_another():
    """Code that two tests share lies in tests/support; a test may then be moved, renamed or deleted alone."""
    found = {
        f"{path} imports {name}"
        for path, tree in modules("tests", "handgen", "cli")
        for name in imports(tree)
        if any(part.startswith("test_") for part in name.split(".")) or name.startswith("tests")
    }
    assert not found


def test_docstrings_stand_alone():
    """A docstring is a whole sentence that needs no line above it; the bound only ever falls."""
    found = []
    for path, tree in modules("handgen", "cli", "scripts", "tests"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node) or ""
                if text.startswith(DANGLING):
                    found.append(f"{path}:{getattr(node, 'lineno', 1)}: {text.splitlines()[0]}")
    assert len(found) <= MOST_DANGLING, "\n".join(found)


def test_files_that_the_documents_name_are_there():
    """Each path in a text exists, from the root or beside the text; a `mine` is the reader's own."""
    missing = []
    for document in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for name in re.findall(
            r"(?<!docs/)\b(?:tests|scripts|handgen|cli|schemas)/[\w/.-]+\.(?:py|json|md|yaml|toml)\b",
            document.read_text(),
        ):
            if "mine" not in name and not any((place / name).is_file() for place in (ROOT, document.parent)):
                missing.append(f"{document.relative_to(ROOT)}: {name}")
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("folder", ["unit", "integration", "soak"])
def test_every_test_can_fail(folder):
    """Each test asserts, expects an error, or calls something that does."""
    silent = []
    for path, tree in modules(f"tests/{folder}"):
        checkers = {"raises", "check", "refused"} | {
            node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and _checks(node, set())
        }
        silent += [
            f"{path}:{node.lineno}: {node.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not _checks(node, checkers)
        ]
    assert not silent


def _checks(function: ast.FunctionDef, checkers: set[str]) -> bool:
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if any(keyword.arg == "check" for keyword in node.keywords):  # of subprocess.run
                return True
            if name in checkers or name.startswith(("assert_", "raises", "warns", "wait_for")):
                return True
    return False


def test_the_wheel_holds_every_package():
    """A package that pyproject.toml does not list works in a checkout and is missing in what users install."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    there = {".".join(file.parent.relative_to(ROOT).parts) for file in (ROOT / "handgen").rglob("__init__.py")}
    assert set(listed) == there | {"handgen.cli", "handgen.schemas"}
