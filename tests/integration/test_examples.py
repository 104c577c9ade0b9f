"""The numbered examples and the notebook run, one after another, in one folder; they use public names alone."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "scripts" / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("[0-9][0-9]_*.py"))
NOTEBOOK = EXAMPLES / "handgen.ipynb"
WRITES = {
    "01_simulate_and_annotate.py": ("capture/truth/manifest.json", "annotations/manifest.json"),
    "02_own_capture.py": ("own_annotations/manifest.json",),
    "03_look_at_records.py": ("hand.obj", "hand.png"),
    "04_synthesize.py": ("shards/manifest.json", "sample.png"),
    "05_train.py": (),
    "06_evaluate.py": ("report/report.html",),
    "07_own_detector.py": ("own_detector/manifest.json",),
    "08_export_and_check.py": ("coco/manifest.json", "freihand/manifest.json", "imported/manifest.json"),
}
# Modules that docs/api.md names besides `handgen` itself: for parts of one's own.
PUBLIC_MODULES = {"handgen", "handgen.detect.registry", "handgen.options", "handgen.records.detection"}
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("examples") / "out"


def test_they_are_numbered_short_and_explained():
    assert list(WRITES) == SCRIPTS
    for name in SCRIPTS:
        text = (EXAMPLES / name).read_text()
        assert text.startswith('"""') and f"python scripts/examples/{name} [OUT]" in text
        assert text.count("\n") < 60, name
        imported = set(re.findall(r"^(?:import|from) (handgen[\w.]*)", text, re.MULTILINE))
        assert imported <= PUBLIC_MODULES, name


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_an_example_runs(name, out):
    command = [sys.executable, str(EXAMPLES / name), str(out)]
    result = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    for path in WRITES[name]:
        assert (out / path).is_file()


@pytest.mark.slow
def test_the_training_example_learns(out):
    if not (out / "shards" / "manifest.json").is_file():
        pytest.skip("example 04 did not write shards")
    command = [sys.executable, str(EXAMPLES / "05_train.py"), str(out), "6"]
    result = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=True)
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in result.stdout.splitlines()]
    assert len(losses) == 6 and losses[-1] < 0.8 * losses[0]


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    """By a Jupyter kernel where there is one, else cell by cell in one process."""
    notebook = json.loads(NOTEBOOK.read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 6
    if find_spec("nbclient") and find_spec("ipykernel"):
        import nbclient
        import nbformat

        client = nbclient.NotebookClient(nbformat.read(NOTEBOOK, 4), resources={"metadata": {"path": str(tmp_path)}})
        client.execute()
        return
    (tmp_path / "cells.py").write_text("\n\n".join(cells))
    result = subprocess.run([sys.executable, "cells.py"], cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT)
    assert result.returncode == 0, result.stderr
