"""What a run found, ready to be shown: rates with exact intervals, cases, changes, failures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evals.records import RunRecord, RunStore, TrialRecord
from evals.suites.base import BadSuite, Case, UnknownSuite, load_suite
from evals.summary import by_case, figures, spread
from tools.autonomy.evidence import lower_bound

ERROR = 0.05
"""Of the two-sided exact intervals: half on each side (Clopper and Pearson, 1934)."""


class NoSuchRun(LookupError):
    """No run is called that; the message lists the newest ones."""


@dataclass(frozen=True)
class Rate:
    """A share with its exact 95 % interval."""

    passed: int
    of: int

    @property
    def rate(self) -> float | None:
        """0 to 1; None where nothing was tried."""
        return self.passed / self.of if self.of else None

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return lower_bound(self.passed, self.of, ERROR / 2) if self.of else 0.0

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return 1 - lower_bound(self.of - self.passed, self.of, ERROR / 2) if self.of else 1.0

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        rate = None if self.rate is None else round(self.rate, 4)
        return {
            "passed": self.passed,
            "of": self.of,
            "rate": rate,
            "interval": [round(self.low, 4), round(self.high, 4)],
        }


@dataclass(frozen=True)
class Row:
    """One case as one player met it."""

    case: str
    why: str
    floor: float | None
    """None where the suite is not at hand."""
    trials: tuple[TrialRecord, ...]
    control: Rate | None
    """How the first control did on the case."""
    before: Rate | None
    """How we did in the run before."""

    @property
    def rate(self) -> Rate:
        """Passed of all worlds; one that could not be scored counts as failed."""
        return rate_of(self.trials)

    @property
    def not_scored(self) -> int:
        """Worlds that could not be scored."""
        return sum(trial.passed is None for trial in self.trials)

    @property
    def change(self) -> str:
        """`better`, `worse`, `same` or `new` against the run before."""
        if self.before is None or self.before.rate is None:
            return "new"
        now = self.rate.rate or 0.0
        if now == self.before.rate:
            return "same"
        return "better" if now > self.before.rate else "worse"

    @property
    def cost(self) -> dict[str, float]:
        """Mean of every cost measured."""
        return mean_costs(self.trials)


@dataclass(frozen=True)
class Metric:
    """One metric as one player scored it."""

    name: str
    player: str
    mean: float | None
    """0 to 1, over the worlds that were scored; None where none was."""
    full: Rate
    """Worlds with the full score of those that were scored."""
    not_scored: int

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "name": self.name,
            "player": self.player,
            "mean": self.mean,
            "full": self.full.as_json(),
            "not_scored": self.not_scored,
        }


@dataclass(frozen=True)
class Report:
    """One run, and the finished one before it of the same suite."""

    run: RunRecord
    trials: tuple[TrialRecord, ...]
    """Ours, in the order in which they began."""
    controls: Mapping[str, tuple[TrialRecord, ...]]
    rows: tuple[Row, ...]
    before: RunRecord | None

    @property
    def rate(self) -> Rate:
        """Over all our worlds."""
        return rate_of(self.trials)

    @property
    def not_scored(self) -> int:
        """Our worlds that could not be scored."""
        return sum(trial.passed is None for trial in self.trials)

    @property
    def failures(self) -> list[TrialRecord]:
        """Every world of ours that was not passed: harm first, what was not scored last."""
        failed = [trial for trial in self.trials if trial.passed is not True]
        return sorted(failed, key=lambda trial: (not trial.harmful, trial.passed is None))

    @property
    def players(self) -> dict[str, dict[str, Any]]:
        """Figures of us and of every control, by name."""
        ours = {"academy": figures(self.trials)}
        return ours | {name: figures(played) for name, played in self.controls.items()}

    @property
    def metrics(self) -> tuple["Metric", ...]:
        """Every metric as every player scored it, ours first."""
        players = self.players
        names = dict.fromkeys(name for one in players.values() for name in one["metrics"])
        return tuple(
            Metric(name, player, one["mean"], Rate(one["full"], one["scored"]), one["not_scored"])
            for name in names
            for player, found in players.items()
            if (one := found["metrics"].get(name))
        )

    def as_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        return {
            "run": self.run.model_dump(mode="json", exclude={"result", "progress"}),
            "summary": self.run.result,
            "rate": self.rate.as_json(),
            "not_scored": self.not_scored,
            "before": self.before.id if self.before else None,
            "cases": [
                {
                    "case": row.case,
                    **row.rate.as_json(),
                    "floor": row.floor,
                    "not_scored": row.not_scored,
                    "change": row.change,
                    "control": row.control.as_json() if row.control else None,
                    "cost": row.cost,
                    "seconds": spread([trial.seconds for trial in row.trials]),
                    "worlds": [
                        {"id": t.id, "seed": t.seed, "passed": t.passed, "reason": t.reason}
                        for t in row.trials
                    ],
                }
                for row in self.rows
            ],
            "metrics": [metric.as_json() for metric in self.metrics],
            "failures": [trial.model_dump(mode="json") for trial in self.failures],
        }


def rate_of(trials: Sequence[TrialRecord]) -> Rate:
    """Passed of all."""
    return Rate(sum(trial.passed is True for trial in trials), len(trials))


def mean_costs(trials: Sequence[TrialRecord]) -> dict[str, float]:
    """Mean of every cost that was measured, by name."""
    names = sorted({name for trial in trials for name in trial.played.cost})
    found = {}
    for name in names:
        values = [t.played.cost[name] for t in trials if name in t.played.cost]
        found[name] = round(sum(values) / len(values), 2)
    return found


async def find_run(store: RunStore, wanted: str | None, suite: str | None = None) -> RunRecord:
    """The run called *wanted* (an id, or a suite's name for its newest), or the newest of all.

    Raises:
        NoSuchRun: there is none.
    """
    runs = [run for run in await store.runs(suite) if run.started_at is not None]
    for run in runs:
        if wanted in (None, run.id, run.suite):
            return run
    known = ", ".join(f"{run.id} ({run.suite}, {run.state})" for run in runs[:5])
    raise NoSuchRun(
        f"No run is called {wanted}; the newest: {known}."
        if known
        else "No suite was run yet; `python -m evals run SUITE` does it."
    )


async def build_report(store: RunStore, run: RunRecord, before: RunRecord | None = None) -> Report:
    """The report on *run*, beside *before* or the last finished run of the same suite."""
    trials = [trial for trial in await store.trials(run.id) if trial.state != "running"]
    if before is None:
        before = next(
            (
                one
                for one in await store.runs(run.suite)
                if one.state == "done" and one.created_at < run.created_at
            ),
            None,
        )
    earlier = by_case(
        [t for t in await store.trials(before.id) if not t.control] if before is not None else []
    )
    ours = [trial for trial in trials if not trial.control]
    names = sorted({trial.control for trial in trials if trial.control})
    controls = {name: tuple(t for t in trials if t.control == name) for name in names}
    first = by_case(controls[names[0]]) if names else {}
    cases = _cases(run.suite)
    rows = [
        Row(
            case=name,
            why=cases[name].why if name in cases else "",
            floor=cases[name].floor if name in cases else None,
            trials=tuple(played),
            control=rate_of(first[name]) if name in first else None,
            before=rate_of(earlier[name]) if name in earlier else None,
        )
        for name, played in sorted(by_case(ours).items())
    ]
    return Report(run, tuple(ours), controls, tuple(rows), before)


def _cases(suite: str) -> dict[str, Case]:
    """The suite's cases by name; none where it is no longer at hand."""
    try:
        return {case.name: case for case in load_suite(suite).cases}
    except (UnknownSuite, BadSuite):
        return {}
