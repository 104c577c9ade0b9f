"""How the house stands: layers, cycles, sizes, mutations caught, import time, examples.

    python scripts/bench/house.py [--only NAME ...] [--mutations 100] [--seed 1] [--json]

Figures: `cycles` of files and of packages, `contract_broken` import contracts (pyproject.toml, `lint-imports`),
`library_lines` of handgen, cli and schemas, `longest_file` and `median_file` of them, `mutations_caught` of
scripts/mutate.py, `import_ms` of `import handgen` in a fresh process (median), `examples_failed` of scripts/examples.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grimp
from table import report

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ("handgen", "cli", "schemas")
TARGETS: dict[str, tuple[str, float | None, bool]] = {
    "cycles": ("cycles of files and of packages", 0, False),
    "contract_broken": ("import contracts broken", 0, False),
    "library_lines": ("lines of handgen, cli and schemas", 37_999, False),
    "longest_file": ("lines of the longest file", 400, False),
    "median_file": ("lines of the median file", 130, False),
    "mutations_caught": ("random mutations that can be a fault and that the tests catch, share", 0.95, True),
    "mutations_caught_raw": ("of all that were tried, share", None, True),
    "mutations_tried": ("mutations tried", None, True),
    "mutations_judged": ("survivors that are judged to mean nothing", None, False),
    "import_ms": ("import handgen, ms", 50, False),
    "examples_failed": ("examples that fail", 0, False),
}
_IMPORTS = 9  # fresh processes, of which the median counts
_TIME_IMPORT = "import time; t = time.perf_counter(); import handgen; print((time.perf_counter() - t) * 1e3)"


def structure() -> dict[str, float]:
    """Cycles and broken contracts."""
    sys.path.insert(0, str(ROOT))  # cli lies beside handgen in a checkout
    graph = grimp.build_graph("handgen", "cli")
    links = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    loops = list(_loops(links))
    for package in sorted(module for module in graph.modules if graph.find_children(module)):
        loops += _loops(_between_children(links, package))
    for loop in loops:
        print("cycle:", ", ".join(sorted(loop)), file=sys.stderr)
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    broken = sum(line.endswith("BROKEN") for line in done.stdout.splitlines())
    if done.returncode and not broken:
        raise SystemExit(done.stdout + done.stderr)
    return {"cycles": len(loops), "contract_broken": broken}


def _between_children(links: dict[str, set[str]], package: str) -> dict[str, set[str]]:
    """Imports between the children of one package, each with all that lies in it."""

    def child(module: str) -> str | None:
        rest = module.removeprefix(package + ".")
        return None if rest == module else rest.partition(".")[0]

    between: dict[str, set[str]] = {}
    for module, imported in links.items():
        here = child(module)
        if here is not None:
            others = {child(other) for other in imported} - {here, None}
            between.setdefault(here, set()).update(name for name in others if name is not None)
    return between


def _loops(links: dict[str, set[str]]) -> Iterator[set[str]]:
    """Strongly connected components of more than one node (Tarjan, SIAM J. Comput. 1(2), 1972)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(node: str) -> Iterator[set[str]]:
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in sorted(links.get(node, ())):
            if other not in order:
                yield from visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], order[other])
        if low[node] == order[node]:
            component = set()
            while node not in component:
                component.add(stack.pop())
            if len(component) > 1:
                yield component

    for node in sorted(links):
        if node not in order:
            yield from visit(node)


def sizes() -> dict[str, float]:
    """Lines of the library's files."""
    counts = [len(path.read_text("utf-8").splitlines()) for folder in LIBRARY for path in (ROOT / folder).rglob("*.py")]
    return {"library_lines": sum(counts), "longest_file": max(counts), "median_file": statistics.median(counts)}


def import_time() -> dict[str, float]:
    """Milliseconds that `import handgen` takes."""
    command = [sys.executable, "-c", _TIME_IMPORT]
    times = [float(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(_IMPORTS)]
    return {"import_ms": statistics.median(times)}


def mutations(count: int, seed: int) -> dict[str, float]:
    """The share of random mutations that the tests catch."""
    command = [sys.executable, ROOT / "scripts" / "mutate.py", "--count", str(count), "--seed", str(seed), "--json"]
    found: dict[str, Any] = json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)
    return {name: float(value) for name, value in found.items() if isinstance(value, int | float)}


def examples() -> dict[str, float]:
    """How many of the numbered examples and the notebook fail; a test runs each."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/integration/test_examples.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    failed = sum(line.startswith(("FAILED", "ERROR")) for line in done.stdout.splitlines())
    if done.returncode and not failed:
        raise SystemExit(done.stdout + done.stderr)
    return {"examples_failed": failed}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("structure", "sizes", "import", "mutations", "examples")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--mutations", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1, help="of the mutations")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    measure: dict[str, Callable[[], dict[str, float]]] = {
        "structure": structure,
        "sizes": sizes,
        "import": import_time,
        "mutations": lambda: mutations(options.mutations, options.seed),
        "examples": examples,
    }
    figures: dict[str, float] = {}
    for part in options.only:
        figures |= measure[part]()
    report(figures, TARGETS, options.json)


if __name__ == "__main__":
    main()
