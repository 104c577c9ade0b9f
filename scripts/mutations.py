"""The mutations of a module that can be a fault: one changed expression each, drawn from its syntax tree.

Left out is what by construction means nothing: texts, types and messages, the order of a maximum's arguments, the sign
under a square or a norm, whether a measured number may also equal 0.3, how much farther out the first of two clips is.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
# What decides speed, memory or wording alone: a change of it is no fault that a test could find.
NO_BEHAVIOUR = {"_SOURCES", "_CUTOUT_CACHE_BYTES", "_cutout_bytes", "nbytes", "__len__", "__repr__"}
SAME_MEANING_KEYWORDS = {"strict", "maxsize", "dtype", "copy", "stacklevel", "optimize"}
# Functions of two arguments whose order means nothing.
SYMMETRIC = {"max", "min", "maximum", "minimum", "union1d", "hypot"}
CLIP = "np.clip"  # of (x, low, high): min(max(x, low), high), so the order of the first two means nothing
GUARD = 1e-5  # smaller numbers keep divisors from 0; which one they are means nothing
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
