"""First-party source code, as evidence is about it: its syntax, without what doesn't change it."""

import ast
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path

from tools.kit.digest import digest
from tools.kit.errors import Unavailable

FIRST_PARTY = ("tools", "memory", "agents", "graphs")
"""Packages whose code counts; evaluations and servers stand outside every operation."""
OURS = (*FIRST_PARTY, "evals", "server", "tests")
"""Packages that are no library's."""
SPOKEN = "toolset"
"""Last name of the modules whose functions' docstrings a model reads as the manual of its tools."""
ROOT = Path(__file__).parents[2]
KEPT = 512
"""Modules whose parsed outcome is kept; an operation runs through about forty."""


class Sources:
    """Source text by module name, each read once: the code of a process doesn't change either.

    Whoever decides by it calls `read_all` when the process starts: an upgrade in place puts other
    texts on disk than the ones that run. *instead* holds texts that stand in for modules on disk.
    """

    def __init__(self, root: Path = ROOT, instead: Mapping[str, str] | None = None) -> None:
        self._root = root
        self._texts: dict[str, str | None] = dict(instead or {})
        self._digests: dict[tuple[str, ...], str] = {}

    def digest(self, roots: tuple[str, ...]) -> str:
        """SHA-256 over the normalised syntax of *roots* and all they import of ours.

        Raises:
            Unavailable: a module can't be found, read or parsed.
        """
        if roots not in self._digests:
            names = self.closure(roots)
            self._digests[roots] = digest({n: module_digest(self.text(n), n) for n in names})
        return self._digests[roots]

    def read_all(self) -> None:
        """Read every first-party source now (about 20 ms), so that later changes don't count.

        Raises:
            Unavailable: one can't be read.
        """
        for package in FIRST_PARTY:
            for file in sorted((self._root / package).rglob("*.py")):
                path = file.parent if file.name == "__init__.py" else file.with_suffix("")
                self._look(".".join(path.relative_to(self._root).parts))

    def libraries(self, roots: tuple[str, ...]) -> frozenset[str]:
        """Top-level packages of others that the closure of *roots* imports anywhere in it.

        Raises:
            Unavailable: as `digest`.
        """
        every = {
            one.split(".")[0]
            for name in self.closure(roots)
            for one in _named(self.text(name), name)
        }
        return frozenset(every - {*OURS, *sys.stdlib_module_names})

    def closure(self, roots: tuple[str, ...]) -> list[str]:
        """Names of *roots* and of every first-party module they import, directly or not, sorted.

        Raises:
            Unavailable: as `digest`.
        """
        found: set[str] = set()
        left = list(roots)
        while left:
            name = left.pop()
            if name not in found:
                found.add(name)
                left += self._imported(name)
        return sorted(found)

    def text(self, name: str) -> str:
        """Source of the module *name*.

        Raises:
            Unavailable: there is none, or it can't be read.
        """
        text = self._look(name)
        if text is None:
            raise Unavailable(f"The source of {name} can't be found, so no evidence can match it.")
        return text

    def _look(self, name: str) -> str | None:
        if name not in self._texts:
            path = self._root.joinpath(*name.split("."))
            file = path / "__init__.py" if path.is_dir() else path.with_name(f"{path.name}.py")
            try:
                self._texts[name] = file.read_text(encoding="utf-8") if file.is_file() else None
            except OSError as error:
                raise Unavailable(f"{file} can't be read: {error.strerror}.") from error
        return self._texts[name]

    def _imported(self, name: str) -> Iterator[str]:
        for one in _named(self.text(name), name):
            if one.split(".")[0] in FIRST_PARTY and self._look(one) is not None:
                yield one


@cache
def running() -> Sources:
    """The code of this process, as it was on disk when it was first asked for.

    Raises:
        Unavailable: a source can't be read.
    """
    found = Sources()
    found.read_all()
    return found


@lru_cache(KEPT)
def _named(source: str, name: str) -> tuple[str, ...]:
    """What *source*, the module *name*, may import anywhere in it; some name no module."""
    found: list[str] = []
    for node in _run(_parsed(source, name)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                dots = "." * node.level
                base = importlib.util.resolve_name(dots + base, name.rpartition(".")[0])
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(found)


def _run(tree: ast.AST) -> Iterator[ast.AST]:
    """*tree* and all below it, but what only a type checker reads."""
    left = [tree]
    while left:
        node = left.pop()
        if isinstance(node, ast.If) and _for_types(node.test):
            left += node.orelse
        else:
            yield node
            left += ast.iter_child_nodes(node)


def _for_types(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"


@lru_cache(KEPT)
def module_digest(source: str, name: str) -> str:
    """SHA-256 of the syntax of *source*, the module *name*, without what doesn't change it.

    Raises:
        Unavailable: it can't be parsed.
    """
    tree = _parsed(source, name)
    _drop_docstrings(tree, spoken=name.rpartition(".")[2] == SPOKEN)
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _parsed(source: str, name: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError as error:
        raise Unavailable(f"The source of {name} can't be parsed: {error.msg}.") from error


def _drop_docstrings(tree: ast.Module, *, spoken: bool) -> None:
    """Remove every statement that is only a text: docstrings of modules, classes and fields.

    Of a *spoken* module what its public functions and its classes say stays, without its layout:
    that goes to the model as the manual and the schema of its tools.
    """
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        told = None
        if spoken and not isinstance(node, ast.Module) and not node.name.startswith("_"):
            told = ast.get_docstring(node, clean=False)
        node.body = [one for one in node.body if not _is_text(one)] or [ast.Pass()]
        if told is not None:
            words = "\n".join(line.rstrip() for line in inspect.cleandoc(told).splitlines())
            node.body.insert(0, ast.Expr(ast.Constant(words)))


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
