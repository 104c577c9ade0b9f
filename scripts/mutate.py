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
import ast
import difflib
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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).parents[1]
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
# What decides speed, memory or wording alone: a change of it is no fault that a test could find.
NO_BEHAVIOUR = {"_SOURCES", "_CUTOUT_CACHE_BYTES", "_cutout_bytes", "nbytes", "__len__", "__repr__"}
SAME_MEANING_KEYWORDS = {"strict", "maxsize", "dtype", "copy", "stacklevel", "optimize"}
# Functions of two arguments whose order means nothing.
SYMMETRIC = {"max", "min", "maximum", "minimum", "union1d", "hypot"}
CLIP = "np.clip"  # of (x, low, high): min(max(x, low), high), so the order of the first two means nothing
GUARD = 1e-5  # smaller numbers keep divisors from 0; which one they are means nothing
FEWEST_SECONDS = 60.0

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
STRICTNESS = ({ast.Lt, ast.LtE}, {ast.Gt, ast.GtE})
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}


@dataclass(frozen=True)
class Mutation:
    """One changed expression. start, end: byte offsets of what `text` replaces."""

    module: str
    start: int
    end: int
    text: str

    def apply(self, source: bytes) -> bytes:
        """The module's text with the change."""
        return source[: self.start] + self.text.encode() + source[self.end :]

    def line(self, source: bytes) -> str:
        """The line with the change, without its indentation."""
        start, changed = source.rfind(b"\n", 0, self.start) + 1, self.start + len(self.text.encode())
        end = self.apply(source).find(b"\n", changed)
        return self.apply(source)[start:end].decode().strip()

    def diff(self, source: bytes) -> str:
        """The changed lines of the module's text, as `diff -u` shows them."""
        texts = [text.decode().splitlines(keepends=True) for text in (source, self.apply(source))]
        return "".join(difflib.unified_diff(*texts, self.module, self.module, n=1))


def mutations_of(module: str) -> list[Mutation]:
    """All mutations of a module that can be a fault, each once."""
    source = (ROOT / module).read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = {}
    tree = ast.parse(source)
    thresholds, unsigned, guarded = _real_constants(tree), _unsigned_differences(tree), _guarded_divisors(tree)
    early = _early_margins(tree)
    for node in _nodes_of_behaviour(tree):
        if node in early:
            continue
        start, end = (starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset)
        for changed in _changes(node, thresholds):
            if node in unsigned and isinstance(changed, ast.BinOp) and changed.left is node.right:
                continue
            if node in guarded and isinstance(changed, ast.BinOp) and changed.right is node.right:
                continue
            text = f"({ast.unparse(changed)})"
            if ast.dump(ast.parse(text, mode="eval").body) != ast.dump(node):
                found[Mutation(module, start, end, text)] = None
    return list(found)


def _nodes_of_behaviour(node: ast.AST) -> Iterator[ast.expr]:
    """The expressions under a node that decide what is computed: no texts, types, messages or assertions."""
    if isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom):
        return
    if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in NO_BEHAVIOUR:
        return
    if isinstance(node, ast.Assign) and any(getattr(target, "id", None) in NO_BEHAVIOUR for target in node.targets):
        return
    if isinstance(node, ast.If | ast.While) and not NO_BEHAVIOUR.isdisjoint(_names(node.test)):
        return  # what is forgotten when a cache is full
    if isinstance(node, ast.AugAssign) and not NO_BEHAVIOUR.isdisjoint(_names(node.target)):
        return
    if isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("log.", "logging.", "cast")):
        return
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.expr):
        yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params", "ctx", "op", "ops"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.keyword) and child.arg in SAME_MEANING_KEYWORDS:
                continue
            if isinstance(child, ast.AST):
                yield from _nodes_of_behaviour(child)


def _names(node: ast.AST) -> set[str]:
    return {getattr(part, "id", getattr(part, "attr", "")) for part in ast.walk(node)}


def _real_constants(tree: ast.Module) -> frozenset[str]:
    """The module's own names of numbers that are neither whole nor zero."""
    return frozenset(
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign) and _is_real(node.value, frozenset())
        for target in node.targets
        if isinstance(target, ast.Name)
    )


def _is_real(node: ast.expr, names: frozenset[str]) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, float) and node.value != int(node.value)
    return isinstance(node, ast.Name) and node.id in names


def _unsigned_differences(tree: ast.Module) -> frozenset[ast.expr]:
    """Differences of which only the size counts: what is squared, or given to a norm alone."""
    found: set[ast.expr] = set()
    for node in ast.walk(tree):
        match node:
            case ast.BinOp(left=difference, op=ast.Pow(), right=ast.Constant(value=2)):
                found.add(difference)
            case ast.Call(func=ast.Attribute(attr="abs" | "norm"), args=[difference, *_]):
                found.add(difference)
            case ast.Call(func=ast.Name(id="abs"), args=[difference]):
                found.add(difference)
            case ast.Call(func=ast.Attribute(attr="abs" | "norm" | "square", value=difference)):
                found.add(difference)
    return frozenset(node for node in found if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub))


def _early_margins(tree: ast.Module) -> frozenset[ast.expr]:
    """Whole numbers in bounds of a clip whose result is clipped again, `y.clip(-1, height + 1)` and `.clip(0, height)`.

    They say how much farther out the first clip is, and the second one decides. Only the number means nothing: with
    another sign the first clip is the narrower one.
    """
    clips = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _clips(node)]
    early = {inner for node in clips for inner in ast.walk(node.func) if isinstance(inner, ast.Call) and _clips(inner)}
    parts = (part for inner in early for bound in inner.args for part in ast.walk(bound))
    return frozenset(part for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, int))


def _clips(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr in ("clip", "clamp")


def _guarded_divisors(tree: ast.Module) -> frozenset[ast.expr]:
    """Divisors with a number added that keeps them from 0: whether it is added or subtracted means nothing."""
    found: set[ast.expr] = set()
    for node in ast.walk(tree):
        match node:
            case ast.BinOp(op=ast.Div(), right=ast.BinOp(op=ast.Add() | ast.Sub(), right=ast.Constant()) as divisor):
                if isinstance(divisor.right.value, float) and 0 < divisor.right.value < GUARD:
                    found.add(divisor)
    return frozenset(found)


def _changes(node: ast.expr, thresholds: frozenset[str]) -> Iterator[ast.expr]:
    """Other expressions in the place of one. thresholds: names of numbers that nothing measured is ever equal to."""
    match node:
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)
        case ast.Constant(value=int() as number):
            yield from (ast.Constant(n) for n in ((number + 1, number - 1) if 0 < number < 10 else (number * 2 or 1,)))
        case ast.Constant(value=float() as number) if not 0 < number < GUARD:
            yield ast.Constant(number * 2 or 1.0)
            yield ast.Constant(number / 2 or -1.0)
        case ast.UnaryOp(op=ast.USub() | ast.Not() | ast.Invert()):
            yield node.operand
        case ast.Compare(ops=[op]):
            for other in COMPARISONS[type(op)]:
                # Whether a measured number may also equal 0.3 means nothing; a count may well be 0 or 2.
                if {type(op), other} in STRICTNESS and _is_real(node.comparators[0], thresholds):
                    continue
                yield ast.Compare(node.left, [other()], node.comparators)
        case ast.BoolOp():
            yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
            yield from node.values
        case ast.BinOp() if not isinstance(node.left, ast.Constant | ast.JoinedStr) or not isinstance(
            node.left.value if isinstance(node.left, ast.Constant) else "", str
        ):
            if type(node.op) in OPERATORS:
                yield ast.BinOp(node.left, OPERATORS[type(node.op)](), node.right)
            if isinstance(node.op, ast.MatMult | ast.Sub):
                yield ast.BinOp(node.right, node.op, node.left)
            if not isinstance(node.op, ast.Mod):
                yield node.left
        case ast.Call(args=[first, second, *rest]) if not isinstance(first, ast.Starred | ast.Constant):
            if ast.unparse(node.func).rsplit(".", 1)[-1] in SYMMETRIC and not rest:
                return
            if ast.unparse(node.func) == CLIP and rest:
                return
            yield ast.Call(node.func, [second, first, *rest], node.keywords)
        case ast.IfExp():
            yield node.body
            yield node.orelse


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
