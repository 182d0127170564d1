"""Changes to source code: some that change behaviour, some that don't."""

import ast
import copy
import random
from collections.abc import Callable, Iterator

SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
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
    ast.Not: ast.UAdd,
}


def behaviour(source: str, draw: random.Random, most: int) -> Iterator[tuple[str, str]]:
    """Up to *most* mutants of *source*, each with what was changed, in drawn order."""
    tree = ast.parse(source)
    places = [
        (index, node)
        for index, node in enumerate(ast.walk(tree))
        if _change(copy.deepcopy(node)) is not None
    ]
    for index, node in draw.sample(places, min(most, len(places))):
        mutant = copy.deepcopy(tree)
        chosen = next(n for i, n in enumerate(ast.walk(mutant)) if i == index)
        change = _change(chosen)
        assert change is not None
        change()
        yield f"line {getattr(node, 'lineno', 0)}: {type(node).__name__}", ast.unparse(mutant)


def _change(node: ast.AST) -> Callable[[], None] | None:
    """What would change the behaviour of *node*; None where nothing is known to."""
    if isinstance(node, ast.Compare):
        return _swap(node.ops, node.ops[0])
    if isinstance(node, ast.BoolOp | ast.BinOp) and type(node.op) in SWAPPED:
        return lambda: setattr(node, "op", SWAPPED[type(node.op)]())
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        changed = not node.value if isinstance(node.value, bool) else node.value + 1
        return lambda: setattr(node, "value", changed)
    if isinstance(node, ast.Return) and node.value is not None:
        return lambda: setattr(node, "value", None)
    if isinstance(node, ast.If):
        return lambda: setattr(node, "test", ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and len(node.body) > 1:
        return lambda: setattr(node, "body", node.body[:-1])
    return None


def _swap(ops: list[ast.cmpop], first: ast.cmpop) -> Callable[[], None] | None:
    other = SWAPPED.get(type(first))
    if other is None:
        return None

    def change() -> None:
        made = other()
        assert isinstance(made, ast.cmpop)
        ops[0] = made

    return change


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
