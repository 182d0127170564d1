"""Changes to source code: some that change behaviour, some that don't.

The operators are the usual ones of mutation testing (Offutt et al., 1996; Jia and Harman, 2011):
comparisons, boolean and arithmetic operators, numbers, truth values, strings that are compared,
conditions, returned values and dropped statements. Annotations and docstrings are left alone.
"""

import ast
import copy
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

SWAPPED: dict[type[ast.AST], Any] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
}
NEGATED_BY_SWAP = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn)
"""Comparisons whose swap is their negation, so that negating the condition would say it twice."""
OTHER_FUNCTION = {"any": "all", "all": "any", "min": "max", "max": "min"}
OTHER_UNIT = {"days": "hours", "hours": "minutes", "minutes": "seconds", "seconds": "minutes"}
MODULE = "<module>"

Step = tuple[str, int | None]
"""A field of a node, and the index where it holds a list."""


@dataclass(frozen=True)
class Mutant:
    """One change to one place of a module's source."""

    function: str
    """Qualified name of the function or class it lies in; `<module>` outside all of them."""
    operator: str
    text: str
    """Source of the changed expression; of what surrounds it where it is a bare value."""
    occurrence: int
    """From 1, among those equal in all of the above."""
    line: int
    in_coroutine: bool
    _tree: ast.Module = field(repr=False)
    _path: tuple[Step, ...] = field(repr=False)
    _instead: ast.AST = field(repr=False)

    def source(self) -> str:
        """The whole module with this change."""
        original = self._put(self._instead)
        try:
            return ast.unparse(self._tree)
        finally:
            self._put(original)

    def _put(self, node: ast.AST) -> ast.AST:
        """Put *node* in the place; what was there."""
        holder: Any = self._tree
        for name, index in self._path[:-1]:
            holder = getattr(holder, name) if index is None else getattr(holder, name)[index]
        name, index = self._path[-1]
        before: ast.AST
        if index is None:
            before = getattr(holder, name)
            setattr(holder, name, node)
        else:
            before = getattr(holder, name)[index]
            getattr(holder, name)[index] = node
        return before


@dataclass(frozen=True)
class _Place:
    """A node and what surrounds it."""

    node: ast.AST
    path: tuple[Step, ...]
    parent: ast.AST
    function: str
    in_coroutine: bool
    named: bool
    """Whether a string here is compared, or is a member or a key of a collection."""

    @property
    def line(self) -> int:
        """Where it begins, or what surrounds it."""
        return int(getattr(self.node, "lineno", getattr(self.parent, "lineno", 0)))


def every(source: str) -> list[Mutant]:
    """Every mutant of *source*, what surrounds a place before the place."""
    tree = ast.parse(source)
    seen: Counter[tuple[str, str, str]] = Counter()
    found = []
    for place in _places(tree, (), MODULE, in_coroutine=False):
        for operator, instead in _variants(place):
            key = (place.function, operator, _text(place))
            seen[key] += 1
            found.append(
                Mutant(
                    *key,
                    occurrence=seen[key],
                    line=place.line,
                    in_coroutine=place.in_coroutine,
                    _tree=tree,
                    _path=place.path,
                    _instead=instead,
                )
            )
    return found


def behaviour(source: str, draw: random.Random, most: int) -> Iterator[tuple[str, str]]:
    """Up to *most* mutants of *source*, each with what was changed, in drawn order."""
    mutants = every(source)
    for mutant in draw.sample(mutants, min(most, len(mutants))):
        yield f"line {mutant.line}: {mutant.operator} of {mutant.text}", mutant.source()


def _places(
    node: ast.AST, path: tuple[Step, ...], function: str, *, in_coroutine: bool
) -> Iterator[_Place]:
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns"):
            continue
        children = value if isinstance(value, list) else [value]
        for index, child in enumerate(children):
            if not isinstance(child, ast.AST) or _is_text(child):
                continue
            step = (*path, (name, index if isinstance(value, list) else None))
            within, coroutine = function, in_coroutine
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                within = child.name if function == MODULE else f"{function}.{child.name}"
                coroutine = coroutine or isinstance(child, ast.AsyncFunctionDef)
            named = isinstance(node, ast.Compare | ast.Set | ast.List | ast.Dict) and (
                name != "values"
            )
            if isinstance(node, ast.Tuple):
                named = not _is_type(path, node)
            yield _Place(child, step, node, within, coroutine, named)
            if not (isinstance(node, ast.Subscript) and name == "slice" and _names_type(node)):
                yield from _places(child, step, within, in_coroutine=coroutine)


def _is_type(path: tuple[Step, ...], node: ast.Tuple) -> bool:
    """Whether a tuple is the index of a subscript, as in `Literal["run", "ask"]`."""
    return bool(path) and path[-1][0] == "slice"


def _names_type(node: ast.Subscript) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id[:1].isupper()


def _is_text(node: ast.AST) -> bool:
    """Whether it is a statement that only holds a text: a docstring of a module, class or field."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _text(place: _Place) -> str:
    node = place.node
    around = ast.expr | ast.keyword | ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Return
    if isinstance(node, ast.Constant) and isinstance(place.parent, around):
        node = place.parent
    if isinstance(node, ast.If | ast.While):
        node = node.test
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        node = node.body[-1]
    return ast.unparse(node)


def _variants(place: _Place) -> Iterator[tuple[str, ast.AST]]:
    """What may stand in a place instead, each with the name of its operator."""
    node = place.node
    match node:
        case ast.Compare():
            for index, op in enumerate(node.ops):
                if type(op) in SWAPPED:
                    ops = [*node.ops[:index], SWAPPED[type(op)](), *node.ops[index + 1 :]]
                    yield "comparison", ast.Compare(node.left, ops, node.comparators)
        case ast.BoolOp():
            yield "boolean operator", ast.BoolOp(SWAPPED[type(node.op)](), node.values)
        case ast.BinOp() if type(node.op) in SWAPPED:
            yield "arithmetic", ast.BinOp(node.left, SWAPPED[type(node.op)](), node.right)
        case ast.UnaryOp(op=ast.Not()):
            yield "not dropped", node.operand
        case ast.UnaryOp(op=ast.USub()):
            yield "minus dropped", node.operand
        case ast.Constant():
            yield from _values(node.value, named=place.named)
        case ast.Return(value=value) if not _is_nothing(value):
            yield "returns None", ast.Return(None)
        case ast.Call(func=ast.Name(id=name)) if name in OTHER_FUNCTION:
            other = ast.Name(OTHER_FUNCTION[name], ast.Load())
            yield "function", ast.Call(other, node.args, node.keywords)
        case ast.Call(func=ast.Name(id="timedelta")):
            yield from _units(node)
        case ast.comprehension():
            for index, test in enumerate(node.ifs):
                if _may_be_negated(test):
                    ifs = [*node.ifs[:index], _not(test), *node.ifs[index + 1 :]]
                    yield (
                        "condition",
                        ast.comprehension(node.target, node.iter, ifs, node.is_async),
                    )
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            if _may_be_negated(test):
                negated = copy.copy(node)
                negated.test = _not(test)
                yield "condition", negated
        case ast.AugAssign():
            if type(node.op) in SWAPPED:
                yield "arithmetic", ast.AugAssign(node.target, SWAPPED[type(node.op)](), node.value)
            yield "statement dropped", ast.Pass()
        case ast.Raise() | ast.Continue() | ast.Break() | ast.Expr():
            yield "statement dropped", ast.Pass()
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            last = node.body[-1]
            if len(node.body) > 1 and isinstance(last, ast.If | ast.For | ast.With | ast.Assign):
                shorter = copy.copy(node)
                shorter.body = node.body[:-1]
                yield "last statement dropped", shorter


def _values(value: object, *, named: bool) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(value, bool):
        yield "truth value", ast.Constant(not value)
    elif isinstance(value, int | float):
        yield "number + 1", ast.Constant(value + 1)
        yield "number - 1", ast.Constant(value - 1)
    elif isinstance(value, str) and named:
        yield "string", ast.Constant(f"{value}?")


def _units(call: ast.Call) -> Iterator[tuple[str, ast.AST]]:
    for index, word in enumerate(call.keywords):
        if word.arg in OTHER_UNIT:
            other = ast.keyword(OTHER_UNIT[word.arg], word.value)
            keywords = [*call.keywords[:index], other, *call.keywords[index + 1 :]]
            yield "unit", ast.Call(call.func, call.args, keywords)


def _is_nothing(value: ast.expr | None) -> bool:
    return value is None or (isinstance(value, ast.Constant) and value.value is None)


def _may_be_negated(test: ast.expr) -> bool:
    """Whether no other operator negates this condition already."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return False
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        return not isinstance(test.ops[0], NEGATED_BY_SWAP)
    return True


def _not(test: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), test)


def harmless(source: str, draw: random.Random) -> Iterator[tuple[str, str]]:
    """Ways to write *source* otherwise: comments, spacing, layout, docstrings."""
    lines = source.splitlines()
    at = draw.randrange(1, len(lines) + 1)
    while at < len(lines) and not _between_statements(lines, at):
        at += 1
    yield "a comment", "\n".join([*lines[:at], f"# note {draw.random()}", *lines[at:]]) + "\n"
    yield "blank lines at the end", source + "\n\n\n"
    yield "formatted anew", ast.unparse(ast.parse(source))
    yield "another line ending", source.replace("\n", "\r\n")
    tree = ast.parse(source)
    if ast.get_docstring(tree) is not None:
        first = tree.body[0]
        assert isinstance(first, ast.Expr)
        first.value = ast.Constant(f"Other words, {draw.random()}.")
        yield "another docstring", ast.unparse(ast.fix_missing_locations(tree))


def _between_statements(lines: list[str], at: int) -> bool:
    """Whether a line put in before index *at* stands between two top-level statements."""
    return bool(lines[at].startswith(("def ", "class ", "@", "async ")) and not lines[at - 1])
