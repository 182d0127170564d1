"""What a suite is made of: cases, worlds that play them, evaluators that grade what was played.

A suite is a folder `evals/suites/<name>/` with `cases/*.yaml` and a `suite.py` that offers `SUITE`.
A trial plays one case in a world drawn from a seed nobody used before, and grades the end state of
the world first, then the trajectory, then the words. "Not scored" is never zero.
"""

import hashlib
import importlib
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import yaml
from pydantic import ConfigDict, Field, ValidationError

from tools.kit.operation import Value

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds the packages; version files are named from here."""


class UnknownSuite(LookupError):
    """No suite is called that; the message lists those that exist."""


class BadSuite(ValueError):
    """A suite's files contradict each other; the message says which and how."""


class Case(Value):
    """One situation an operation must get right, from `cases/<name>.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    """Names the situation and never hints at the answer."""
    why: str = Field(min_length=10)
    """One sentence: what harm it guards against."""
    tags: tuple[str, ...] = ()
    """Only tags the suite declares."""
    operations: tuple[str, ...] = ()
    """Operations it is a trial of; one with nothing to heal is a trial of each it tempts. None in a
    suite that only measures."""
    floor: float = Field(default=1.0, gt=0, le=1)
    """Least share of its trials that must pass, whatever the others do."""
    injection: bool = False
    """Whether it hides instructions in what the system reads (an injection twin)."""
    decided_by: Literal["engine", "model"] = "engine"
    """Who decides on the action; a model's name and instructions then join the fingerprint."""
    quick: bool = True
    """Whether the quick set includes it."""
    world: dict[str, Any] = {}
    """What the suite's world makes of it: fault, place, ranges to draw from."""
    expects: dict[str, Any] = {}
    """What the evaluators compare the end and the trajectory with."""


class Step(Value):
    """One thing that happened while a world was played, for replaying it by eye."""

    at: float = Field(ge=0)
    """Seconds since the world began to be played."""
    kind: str
    """Such as `world`, `fault`, `probe`, `incident`, `plan`, `gate`, `effect`, `check`, `tool`."""
    text: str
    data: dict[str, Any] = {}


class Played(Value):
    """What happened in one world, judged by nobody yet."""

    end: dict[str, Any] = {}
    """Facts of the world afterwards, measured in the world and never taken from a return value."""
    trajectory: tuple[Step, ...] = ()
    regions: dict[str, dict[str, Any]] = {}
    """By operation: the region of the action taken (kind of target, adapter, magnitude)."""
    detected_s: float | None = Field(default=None, ge=0)
    """Seconds from the fault to its detection; None where nothing was to be detected or seen."""
    recovered_s: float | None = Field(default=None, ge=0)
    """Seconds from the fault to the world being whole again."""
    actions: tuple[dict[str, Any], ...] = ()
    """Every action opened: `operation`, `target`, `state`, and what the suite's evaluators read."""
    cost: dict[str, float] = {}
    """`model_calls`, `input_tokens`, `output_tokens`, `seconds`; absent ones were not measured."""
    environment: str = ""
    """Class of the environment, such as `local, up to 10 replicas`."""
    problem: str = ""
    """Why the world could not be judged; the trial is then not scored, and counts as failed."""


class Grade(Value):
    """What one evaluator says about one world played."""

    evaluator: str
    value: float | None = None
    """0 to 1 for shares, else in the unit its text names; None is not scored, with the reason."""
    passed: bool | None = None
    """None where it only measures or could not score."""
    harmful: bool = False
    """The world is worse than if nobody had acted."""
    needless: bool = False
    """Something was done, or a person was called, where nothing had to be."""
    cause_right: bool | None = None
    """Whether the cause named is the one drawn for this world; None where none was asked for."""
    averaged: bool = False
    """A metric: *value* is a share, and reports tell its mean over the worlds that were scored."""
    text: str


Evaluator = Callable[[Case, Played], Grade]


class World(Protocol):
    """A disposable start state that can be played again and again; used by one trial at a time."""

    async def play(self, case: Case, seed: int) -> Played:
        """Reset, draw everything the case leaves open from *seed*, break, watch, and measure.

        It answers a `problem` where the world could not be judged, and raises only on a defect.
        """
        ...

    async def close(self) -> None:
        """Give back processes, ports and files; safe to call twice."""
        ...


OpenWorld = Callable[[Path, int], Awaitable[World]]
"""Opens a world in a folder of its own; the number tells worlds open at the same time apart."""

Control = Callable[[World, Case, int], Awaitable[Played]]
"""Plays the same case and seed in the same world with the naive alternative in place of us."""


@dataclass(frozen=True)
class Suite:
    """Everything needed to run trials for some operations."""

    name: str
    summary: str
    cases: tuple[Case, ...]
    operations: tuple[str, ...]
    """What its trials are evidence for; none where it only measures, and so earns nothing."""
    tags: Mapping[str, str]
    """Every tag a case may carry, and what it says."""
    open_world: OpenWorld
    evaluators: Sequence[Evaluator]
    """In order: end state, trajectory, words, cost."""
    version_files: tuple[Path, ...]
    """What its digest is made of: cases, `suite.py`, the world. A change of one is a new suite."""
    controls: Mapping[str, Control] = field(default_factory=dict)
    adapter: str = "tools.adapters.local"
    """Module of the infrastructure its worlds are made of; part of every fingerprint."""
    environment: str = "local, up to 10 replicas"
    """Class of its worlds (`tools.autonomy.fingerprint.environment_class`)."""

    def __post_init__(self) -> None:
        names = [case.name for case in self.cases]
        if twice := {name for name in names if names.count(name) > 1}:
            raise BadSuite(f"{self.name}: two cases are called {', '.join(sorted(twice))}.")
        for case in self.cases:
            if unknown := set(case.tags) - set(self.tags):
                raise BadSuite(
                    f"{self.name}/{case.name} carries tags the suite does not declare:"
                    f" {', '.join(sorted(unknown))}."
                )
            if self.operations and not case.operations:
                raise BadSuite(f"{self.name}/{case.name} names no operation it is a trial of.")
            if unknown := set(case.operations) - set(self.operations):
                raise BadSuite(
                    f"{self.name}/{case.name} is a trial of {', '.join(sorted(unknown))},"
                    " which the suite does not name."
                )

    def needs(self, known: Iterable[str]) -> None:
        """Refuse to be played where an operation it names is not among the *known*.

        Raises:
            BadSuite: some are not; the message names them.
        """
        if unknown := sorted(set(self.operations) - set(known)):
            raise BadSuite(
                f"{self.name} names operations nobody has: {', '.join(unknown)};"
                " register them in tools/catalogue.py and their room's build_operations."
            )

    @property
    def digest(self) -> str:
        """SHA-256 of the version files, line ends and trailing blanks aside."""
        whole = hashlib.sha256()
        for path in sorted(self.version_files, key=_named):
            lines = [line.rstrip() for line in path.read_text(encoding="utf-8").splitlines()]
            text = "\n".join(lines).strip("\n")
            whole.update(f"{_named(path)}\0{len(text)}\0{text}\0".encode())
        return whole.hexdigest()


def _named(path: Path) -> str:
    resolved = path.resolve()
    return resolved.relative_to(ROOT).as_posix() if resolved.is_relative_to(ROOT) else resolved.name


def load_cases(folder: Path) -> tuple[Case, ...]:
    """The cases in *folder*, by name; each file is named for its case.

    Raises:
        BadSuite: a file can't be read as a case, or is named otherwise.
    """
    found = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            case = Case.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (yaml.YAMLError, ValidationError) as error:
            raise BadSuite(f"{_named(path)} is no case: {error}") from error
        if case.name != path.stem:
            raise BadSuite(f"{_named(path)} holds the case {case.name}; name both alike.")
        found.append(case)
    if not found:
        raise BadSuite(f"There is no case in {folder}.")
    return tuple(found)


def suite_names() -> list[str]:
    """Names of all suites: the folders beside this module that hold a `suite.py`."""
    here = Path(__file__).parent
    return sorted(path.parent.name for path in here.glob("*/suite.py"))


def load_suite(name: str) -> Suite:
    """The suite called *name*.

    Raises:
        UnknownSuite: there is none.
        BadSuite: its files contradict each other, or can't be imported.
    """
    known = suite_names()
    if name not in known:
        raise UnknownSuite(f"No suite is called {name}; known: {', '.join(known) or 'none yet'}.")
    try:
        suite: Suite = importlib.import_module(f"evals.suites.{name}.suite").SUITE
    except BadSuite:
        raise
    except Exception as error:
        file = _named(Path(__file__).parent / name / "suite.py")
        raise BadSuite(f"{file} can't be imported: {_cause(error)}.") from error
    return suite


def _cause(error: Exception) -> str:
    """What was raised, and the line of ours that raised it."""
    ours = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(ROOT) and frame.filename != __file__
    ]
    at = f" ({_named(Path(ours[-1].filename))}, line {ours[-1].lineno})" if ours else ""
    return f"{type(error).__name__}: {error}{at}"
