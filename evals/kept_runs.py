"""Runs kept in files of their own where no academy is reachable: a report, and no evidence.

One folder per run: `run.json`, and `trials.jsonl` with a line when a world begins and one when it
ends; the last line of a world counts. A line torn by a crash is the last one and is left out.
"""

import asyncio
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evals.lock import as_lock
from evals.records import RunRecord, TrialRecord
from evals.suites.base import Case, Suite
from tools.autonomy.evidence import TrialFact, weigh
from tools.kit.operation import Risk


class UnreadableRun(LookupError):
    """A kept run can't be read; the message names the file and what to do with it."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is no run as it was kept; remove the folder {path.parent}.")


class KeptRuns:
    """Runs in the folder *folder*, made when the first run is saved."""

    earns = False

    def __init__(
        self, folder: Path, suite: Suite | None = None, risks: Mapping[str, Risk] | None = None
    ) -> None:
        self.folder = folder
        self._suite = suite
        self._risks = dict(risks or {})
        self._writing = threading.Lock()

    async def save(self, run: RunRecord) -> None:
        """Write `run.json`, replaced as a whole."""
        await asyncio.to_thread(self._save, run)

    def _save(self, run: RunRecord) -> None:
        place = self.folder / run.id
        place.mkdir(parents=True, exist_ok=True)
        new = place / "run.json.new"
        new.write_text(run.model_dump_json(indent=2), encoding="utf-8")
        new.replace(place / "run.json")

    async def begin(self, trial: TrialRecord, case: Case) -> None:
        """Append that a world begins."""
        await asyncio.to_thread(self._append, trial)

    async def end(self, trial: TrialRecord, case: Case) -> None:
        """Append how it ended."""
        await asyncio.to_thread(self._append, trial)

    def _append(self, trial: TrialRecord) -> None:
        path = self.folder / trial.run_id / "trials.jsonl"
        with self._writing, path.open("a+b") as file:
            # A line torn by a crash would swallow the next one.
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
            file.write(trial.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    async def trials(self, run_id: str) -> list[TrialRecord]:
        """The worlds of a run, in the order in which they began.

        Raises:
            UnreadableRun: a line of it is none that was kept.
        """
        return await asyncio.to_thread(self._trials, run_id)

    def _trials(self, run_id: str) -> list[TrialRecord]:
        path = self.folder / run_id / "trials.jsonl"
        found: dict[str, TrialRecord] = {}
        try:
            for line in _whole_lines(path):
                trial = TrialRecord.model_validate_json(line)
                found[trial.id] = trial
        except ValueError as error:  # pydantic's, and of bytes that are no text
            raise UnreadableRun(path) from error
        return list(found.values())

    async def runs(self, suite: str | None = None) -> list[RunRecord]:
        """All runs, or those of one suite, the newest first.

        Raises:
            UnreadableRun: one of them is not as it was kept.
        """
        return await asyncio.to_thread(self._runs, suite)

    def _runs(self, suite: str | None) -> list[RunRecord]:
        found = [_read(path) for path in self.folder.glob("*/run.json")]
        chosen = [run for run in found if suite in (None, run.suite)]
        return sorted(chosen, key=lambda run: run.created_at, reverse=True)

    async def used_seeds(self, suite: str) -> set[tuple[str, int]]:
        """Case and seed of every world of *suite* kept here."""
        return {
            (trial.case, trial.seed)
            for run in await self.runs(suite)
            for trial in await self.trials(run.id)
        }

    async def operations(
        self, run: RunRecord, trials: list[TrialRecord]
    ) -> dict[str, dict[str, Any]]:
        """What this run alone would show; nothing is earned outside an academy, so each asks."""
        if self._suite is None:
            return {}
        lock = as_lock(self._suite)
        found = {}
        for name, risk in sorted(self._risks.items()):
            facts = [
                _fact(trial)
                for trial in trials
                if not trial.control and trial.case in lock.operations[name]
            ]
            weighed = weigh(risk, facts, lock.operations[name])
            found[name] = {
                "trials": weighed.trials,
                "lower_bound": weighed.bound,
                "level": "asks",
            }
        return found


def _read(path: Path) -> RunRecord:
    try:
        return RunRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UnreadableRun(path) from error


def _fact(trial: TrialRecord) -> TrialFact:
    return TrialFact(
        case=trial.case,
        seed=trial.seed,
        passed=trial.passed is True,
        harmful=trial.harmful,
        injection=False,
        region={},
        at=trial.ended_at or trial.began_at,
    )


def _whole_lines(path: Path) -> Iterator[str]:
    if not path.exists():
        return
    *whole, _torn = path.read_text(encoding="utf-8").split("\n")
    yield from whole
