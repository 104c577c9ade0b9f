"""Change the code at random places and see whether its tests notice.

Each mutation changes one expression of one module: an operator, a comparison, a sign, a number, the order of two
arguments, a term that is dropped. It is written into a copy of the tree in a temporary folder, never into this one,
and the module's tests run there. What they let pass is printed as a diff: write a test for it, or judge that it means
nothing, in a row of docs/mutations.md with the module and the changed line.

Two shares are told. `mutations_caught` is of those that can be a fault: caught / (tried - judged), where `judged` are
the survivors that have a row. `mutations_caught_raw` is of all: caught / tried.

    python scripts/mutate.py --count 100 --seed 7
    python scripts/mutate.py --module handgen/geometry/camera.py --count 40 --json
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from mutations import ROOT, Mutation, mutations_of

JUDGED = ROOT / "docs" / "mutations.md"
COPIED = ("handgen", "cli", "schemas", "tests", "pyproject.toml")
PACKAGES = {"handgen": "handgen", "handgen.cli": "cli", "handgen.schemas": "schemas"}
PRELOADED = ["torch", "cv2", "scipy.optimize", "scipy.spatial", "hypothesis", "pytest", "jsonschema_rs", "orjson"]

# The tests of each module, those first that find most in least time.
TESTS = {
    "handgen/geometry/camera.py": "test_camera test_virtual_camera",
    "handgen/geometry/rigid.py": "test_geometry_laws",
    "handgen/geometry/rotations.py": "test_geometry_laws",
    "handgen/geometry/meshes.py": "test_raster test_geometry_laws",
    "handgen/geometry/triangulation.py": "test_triangulation_steps test_triangulation",
    "handgen/geometry/bundle_adjustment.py": "test_bundle_adjustment",
    "handgen/hand/conversions.py": "test_conversions test_labels",
    "handgen/stages/synthesize/labels.py": "test_labels",
    "handgen/stages/synthesize/virtual_camera.py": "test_virtual_camera",
    "handgen/stages/synthesize/warping.py": "test_warping",
    "handgen/stages/synthesize/sample.py": "test_sample test_reduced_cutouts",
    "handgen/segmentation/crops.py": "test_crops",
    "handgen/datasets/freihand/square_crops.py": "test_square_crops",
    "handgen/io/labelled.py": "test_labels",
    "handgen/multiview/association.py": "test_association_steps test_association",
    "handgen/fit/block_tridiagonal.py": "test_block_tridiagonal",
    "handgen/fit/residuals.py": "test_fit_residuals test_fit",
    "handgen/fit/observations.py": "test_pose_fit test_fit test_view_bias",
    "handgen/fit/initialization.py": "test_fit_start test_monocular_steps test_fit",
    "handgen/fit/kinematics.py": "test_fit test_monocular_steps",
    "handgen/fit/solver.py": "test_fit_solver test_fit",
    "handgen/fit/pose_fit.py": "test_pose_fit",
    "handgen/fit/surface.py": "test_surface",
    "handgen/fit/contact/spheres.py": "test_contact_spheres",
    "handgen/fit/contact/term.py": "test_contact_spheres test_contact_separation",
    "handgen/fit/silhouette/contour.py": "test_silhouette_parts",
}
FEWEST_SECONDS = 60.0


def run_tests(copy: str, tests: list[str], log: str) -> None:
    """Run tests on the tree `copy`, in a process of its own; its exit status is pytest's."""
    os.setpgid(0, 0)
    with open(log, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(copy)
    os.environ.update(PYTHONPATH=copy, HYPOTHESIS_PROFILE="ci", PYTHONDONTWRITEBYTECODE="1", OMP_NUM_THREADS="1")
    sys.dont_write_bytecode = True
    exec(Path(copy, "sitecustomize.py").read_text(), {})  # also read by processes that tests start
    import pytest

    os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--rootdir", copy, *tests]))


_SITE = """
import importlib.util, sys

class OwnTree:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name in {packages!r}:
            folder = {copy!r} + "/" + {packages!r}[name]
            return importlib.util.spec_from_file_location(
                name, folder + "/__init__.py", submodule_search_locations=[folder])

sys.meta_path.insert(0, OwnTree)
"""


class Bench:
    """A copy of the tree in which one mutation at a time is tried."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, folder / name)
        (folder / "sitecustomize.py").write_text(_SITE.format(copy=str(folder), packages=PACKAGES))

    def passes(self, tests: list[str], seconds: float) -> bool:
        """Whether the tests pass on the copy as it is; those that take longer than `seconds` do not."""
        context = multiprocessing.get_context("forkserver")
        process = context.Process(target=run_tests, args=(str(self.folder), tests, str(self.folder / "log")))
        process.start()
        process.join(seconds)
        if process.exitcode is None and process.pid is not None:
            os.killpg(process.pid, signal.SIGKILL)
            process.join()
        return process.exitcode == 0

    def catches(self, mutation: Mutation, tests: list[str], seconds: float) -> bool:
        """Whether the tests notice a mutation."""
        path = self.folder / mutation.module
        source = path.read_bytes()
        path.write_bytes(mutation.apply(source))
        try:
            return not self.passes(tests, seconds)
        finally:
            path.write_bytes(source)


def tests_of(module: str) -> list[str]:
    """The files of a module's tests that there are."""
    names = TESTS[module].split()
    found = [path for name in names for path in sorted((ROOT / "tests").glob(f"*/{name}.py"))]
    return [str(path.relative_to(ROOT)) for path in found]


def judged() -> set[tuple[str, str]]:
    """The modules and changed lines of mutations that docs/mutations.md says mean nothing."""
    rows = [re.split(r"(?<!\\)\|", line) for line in JUDGED.read_text().splitlines() if line.startswith("| `")]
    return {(module.strip(" `"), changed.strip(" `").replace("\\|", "|")) for _, module, changed, *_ in rows}


def main() -> None:
    """Draw mutations, try them, print those that survive."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--count", type=int, default=100, help="mutations to try")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--module", action="append", choices=sorted(TESTS), help="modules to change; all by default")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print one JSON object, survivors on standard error")
    arguments = parser.parse_args()
    modules = arguments.module or [module for module in TESTS if (ROOT / module).is_file()]
    every = [mutation for module in modules for mutation in mutations_of(module)]
    drawn = random.Random(arguments.seed).sample(every, min(arguments.count, len(every)))
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)
    tried: list[Mutation] = []
    survivors: list[Mutation] = []
    known, meaningless = judged(), 0
    out = sys.stderr if arguments.json else sys.stdout
    with tempfile.TemporaryDirectory(prefix="mutate_") as folder:
        benches: SimpleQueue[Bench] = SimpleQueue()
        for number in range(arguments.workers):
            benches.put(Bench(Path(folder, str(number))))

        def unchanged_s(test: str) -> float:
            bench, began = benches.get(), time.monotonic()
            try:
                if not bench.passes([test], 3600.0):
                    log = (bench.folder / "log").read_text()
                    sys.exit(f"{test}: it fails without any change\n{log[-3000:]}")
            finally:
                benches.put(bench)
            return time.monotonic() - began

        def attempt(mutation: Mutation) -> None:
            nonlocal meaningless
            bench = benches.get()
            try:
                seconds = FEWEST_SECONDS + 10 * sum(limits[test] for test in tests_of(mutation.module))
                caught = bench.catches(mutation, tests_of(mutation.module), seconds)
                source = (bench.folder / mutation.module).read_bytes()
            finally:
                benches.put(bench)
            tried.append(mutation)
            if not caught:
                survivors.append(mutation)
                is_known = (mutation.module, mutation.line(source)) in known
                meaningless += is_known
                print(mutation.diff(source) + ("judged to mean nothing\n" if is_known else ""), file=out, flush=True)
            print(f"{len(tried)} tried, {len(survivors)} survive", file=sys.stderr, flush=True)

        with ThreadPoolExecutor(arguments.workers) as pool:
            used = sorted({test for mutation in drawn for test in tests_of(mutation.module)})
            limits = dict(zip(used, pool.map(unchanged_s, used), strict=True))
            list(pool.map(attempt, drawn))
    caught = len(drawn) - len(survivors)
    share, raw = caught / max(len(drawn) - meaningless, 1), caught / max(len(drawn), 1)
    if arguments.json:
        figures = {"mutations_caught": round(share, 4), "mutations_caught_raw": round(raw, 4)}
        print(json.dumps(figures | {"mutations_tried": len(drawn), "mutations_judged": meaningless}))
    else:
        print(f"{caught} of {len(drawn)} mutations were caught: {raw:.3f} (of {len(every)} that there are)")
        print(f"{meaningless} of the others are judged to mean nothing: {share:.3f} of those that can be a fault")


if __name__ == "__main__":
    main()
