"""Benchmarks and tools start: what they import from the library and from each other is there."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
_RUN_ALL = """
import runpy, sys
for path in sys.argv[1:]:
    sys.argv = [path, "--help"]
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        assert not end.code, path
    else:
        raise AssertionError(f"{path} knows no --help")
"""


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["bench", "soak", "."])
def test_every_script_teaches(folder):
    """All scripts of a folder in one process, which loads the heavy libraries once."""
    texts = {path: path.read_text() for path in sorted((SCRIPTS / folder).glob("*.py"))}
    scripts = [str(path) for path, text in texts.items() if "argparse" in text and "__main__" in text]
    assert scripts
    code = f"import sys; sys.path.insert(0, {str(SCRIPTS / folder)!r})\n{_RUN_ALL}"
    done = subprocess.run([sys.executable, "-c", code, *scripts], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("usage:") == len(scripts)


def test_every_judged_mutation_can_be_drawn(monkeypatch):
    """A row of docs/mutations.md whose line was changed since says nothing any more."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import mutate

    rows = mutate.judged()
    sources = {module: (mutate.ROOT / module).read_bytes() for module in {module for module, _ in rows}}
    drawn = {
        (module, mutation.line(source))
        for module, source in sources.items()
        for mutation in mutate.mutations_of(module)
    }
    assert len(rows) > 20 and not rows - drawn
