"""The regression ledger: what once failed stays a case, and must pass 20 distinct worlds of 20.

An entry of `regressions.yaml` names a case that failed in production or in a suite. The case
carries the tag `regression` from when it was mended and then passed 20 distinct worlds in a row;
it must not before. Later changes don't ask for another 20: one failed world begins the row anew.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

import yaml
from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError

from evals.records import RunStore, TrialRecord
from evals.suites.base import BadSuite, Suite, UnknownSuite
from tools.kit.operation import Value

PATH = Path(__file__).parent / "regressions.yaml"
TAG = "regression"
WORLDS = 20
"""Distinct worlds in a row that a mended case must pass: at a true rate of 0.86 or less, 20 of 20
happen by chance at most once in twenty times (0.86 ** 20 = 0.049)."""


class Regression(Value):
    """One case that failed once."""

    suite: str
    case: str
    failed: date
    where: Literal["production", "suite"]
    was: str = Field(min_length=10)
    """What went wrong, in a sentence."""
    mended: AwareDatetime | None = None
    """From when on worlds count, to the second: those played before the fix prove nothing."""


class BadLedger(ValueError):
    """The ledger can't be read; the message says where."""


@dataclass(frozen=True)
class Progress:
    """Where an entry stands."""

    entry: Regression
    passed: int
    """Distinct worlds passed since it was mended and since the last failure."""
    failed: int
    """Distinct worlds failed since it was mended."""
    tagged: bool

    @property
    def proven(self) -> bool:
        """Whether it may carry the tag."""
        return self.entry.mended is not None and self.passed >= WORLDS

    @property
    def wrongly_tagged(self) -> bool:
        """Whether a world failed here since and the tag stayed; never played here is not wrong."""
        return self.tagged and self.failed > 0 and not self.proven

    @property
    def text(self) -> str:
        """Where it stands, in a sentence."""
        if self.entry.mended is None:
            return "not mended yet"
        if self.proven:
            return f"passed {self.passed} worlds in a row"
        return f"passed {self.passed} of the {WORLDS} worlds in a row it needs"


def read_ledger(path: Path = PATH) -> list[Regression]:
    """Every entry.

    Raises:
        BadLedger: it can't be read, or names a case twice.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or []
        found = TypeAdapter(list[Regression]).validate_python(content)
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise BadLedger(f"{path.name}: {error}") from error
    named = [(one.suite, one.case) for one in found]
    if twice := {name for name in named if named.count(name) > 1}:
        raise BadLedger(f"{path.name} names {' and '.join('/'.join(n) for n in twice)} twice.")
    return found


def problems(entries: Iterable[Regression], load: Callable[[str], Suite]) -> list[str]:
    """What is wrong with the ledger and the tags, without looking at any run."""
    known = list(entries)
    found = []
    for entry in known:
        try:
            suite = load(entry.suite)
        except (UnknownSuite, BadSuite) as error:
            found.append(str(error))
            continue
        case = next((one for one in suite.cases if one.name == entry.case), None)
        if case is None:
            found.append(f"{entry.suite}/{entry.case} is gone; what failed once stays a case.")
        elif TAG in case.tags and entry.mended is None:
            found.append(f"{entry.suite}/{entry.case} carries the tag and was never mended.")
    return found


def untold(suites: Iterable[Suite], entries: Iterable[Regression]) -> list[str]:
    """Cases that carry the tag and are not in the ledger."""
    told = {(one.suite, one.case) for one in entries}
    return [
        f"{suite.name}/{case.name} carries the tag and is not in the ledger."
        for suite in suites
        for case in suite.cases
        if TAG in case.tags and (suite.name, case.name) not in told
    ]


def in_a_row(trials: Sequence[TrialRecord]) -> tuple[int, int]:
    """Distinct worlds passed since the last failure, and distinct worlds failed.

    What could not be scored has failed; a world counts as it went the first time.
    """
    first: dict[int, bool] = {}
    for trial in sorted(trials, key=lambda one: one.began_at):
        first.setdefault(trial.seed, trial.passed is True)
    row = 0
    for passed in first.values():
        row = row + 1 if passed else 0
    return row, sum(not passed for passed in first.values())


async def progress_of(
    store: RunStore, entries: Iterable[Regression], load: Callable[[str], Suite]
) -> list[Progress]:
    """Where every entry stands by the worlds in *store* that were played since it was mended."""
    found = []
    for entry in entries:
        trials = [
            trial
            for run in await store.runs(entry.suite)
            for trial in await store.trials(run.id)
            if trial.case == entry.case
            and not trial.control
            and trial.state != "running"
            and entry.mended is not None
            and trial.began_at >= entry.mended
        ]
        passed, failed = in_a_row(trials)
        case = next(one for one in load(entry.suite).cases if one.name == entry.case)
        found.append(Progress(entry, passed, failed, TAG in case.tags))
    return found
