"""The README's example of a suite for a new operation, played as it is written there."""

import asyncio
import importlib
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import evals.suites
import evals.worlds
from evals.commands.run import aside
from evals.records import RunOptions, RunRecord
from evals.suites.base import BadSuite, Suite
from graphs.settings import Settings
from tools.kit.operation import OperationContext

README = Path(evals.suites.__file__).parents[1] / "README.md"


class Arguments(BaseModel):
    """The operation takes none."""


class PutBack:
    """The room's part, which the README takes for granted."""

    name = "shelf.put_back"
    risk = "low"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def plan(self, context: OperationContext, arguments: Arguments) -> Any:
        wrong = sorted(str(book) for book in self._folder.glob("b/a*"))
        return types.SimpleNamespace(
            diff=wrong, summary=f"Put back {len(wrong)}.", target="shelf", region={"kind": "book"}
        )

    async def precondition(self, *_: Any) -> Any:
        return types.SimpleNamespace(ok=True)

    async def apply(self, *_: Any) -> None:
        for book in self._folder.glob("b/a*"):
            (self._folder / "a").mkdir(exist_ok=True)
            book.rename(self._folder / "a" / book.name)

    async def verify(self, *_: Any) -> Any:
        return types.SimpleNamespace(ok=not list(self._folder.glob("b/a*")))


def block(language: str, holding: str) -> str:
    """The README's one block in *language* that holds those words."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (found,) = [text for text in blocks if holding in text]
    return str(found)


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Suite]:
    """The example's files in a folder of their own, imported under the names they have there."""
    room, package = types.ModuleType("tools.shelf"), types.ModuleType("tools.shelf.put_back")
    package.Arguments, package.PutBack = Arguments, PutBack  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tools.shelf", room)
    monkeypatch.setitem(sys.modules, "tools.shelf.put_back", package)
    worlds, suites = tmp_path / "worlds", tmp_path / "suites"
    cases = suites / "shelf" / "cases"
    cases.mkdir(parents=True)
    worlds.mkdir()
    (worlds / "shelf.py").write_text(block("python", "class Shelf:"))
    (suites / "shelf" / "__init__.py").write_text('"""The suite."""\n')
    (suites / "shelf" / "suite.py").write_text(block("python", "SUITE = Suite("))
    for name in ("rainy-day", "quiet-day"):
        (cases / f"{name}.yaml").write_text(block("yaml", f"name: {name}"))
    monkeypatch.setattr(evals.worlds, "__path__", [*evals.worlds.__path__, str(worlds)])
    monkeypatch.setattr(evals.suites, "__path__", [*evals.suites.__path__, str(suites)])
    importlib.invalidate_caches()
    yield importlib.import_module("evals.suites.shelf.suite").SUITE
    for name in ("evals.suites.shelf.suite", "evals.suites.shelf", "evals.worlds.shelf"):
        sys.modules.pop(name, None)
    for holder, name in ((evals.worlds, "shelf"), (evals.suites, "shelf")):
        if hasattr(holder, name):
            delattr(holder, name)


async def run(home: Path, suite: Suite, options: RunOptions) -> RunRecord:
    return await aside(Settings(home=home), suite, options, asyncio.Event(), told=lambda _: None)


async def test_the_example_of_a_suite_plays_as_written_and_its_control_does_not(
    example: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"shelf.put_back": PutBack(tmp_path)}
    monkeypatch.setattr("evals.commands.run.build_operations", lambda **_: known)

    played = await run(tmp_path / "home", example, RunOptions(quick=True, seed=1))

    assert played.state == "done"
    assert played.progress.failed == 0
    assert played.result is not None
    assert played.result["trials"] >= 17
    assert played.result["controls"]["nobody"]["first_trial_rate"] < 1


async def test_the_example_s_operation_must_be_registered_before(
    example: Suite, tmp_path: Path
) -> None:
    with pytest.raises(BadSuite, match=r"shelf names operations nobody has: shelf\.put_back"):
        await run(tmp_path / "home", example, RunOptions(quick=True, seed=1))
