"""Runs of evaluation suites and the worlds they played: what people look at.

The gate reads none of this: its evidence is the signed rows of `memory.tables.trials`; each of them
names the `trial_run` it is about.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from memory.tables.base import Control


class SuiteRun(Control):
    """One run of a suite, asked for from a page or the command line.

    Whoever asks adds a row `queued`; the evaluation worker that holds the lease `evals:<id>` alone
    changes it from then on.
    """

    __tablename__ = "suite_run"
    __table_args__ = (Index("ix_suite_run_suite_created_at", "suite", "created_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    suite: Mapped[str]
    digest: Mapped[str]
    """Of the suite's version files when the run began; empty while it is queued."""
    options: Mapped[dict[str, Any]]
    """`quick`, `trials` (per case), `only` (a case), `seed`, `worlds`, `controls`; absent ones have
    the worker's defaults."""
    state: Mapped[str] = mapped_column(index=True)
    """`queued`, `running`, `done`, `failed` or `stopped`; running and stopped ones can be
    continued."""
    progress: Mapped[dict[str, Any]]
    """`done`, `of`, `passed`, `left_s` (estimate), `playing` (names of cases)."""
    requested_by: Mapped[str]
    """`person:<id>` or `shell:<user>`."""
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    result: Mapped[dict[str, Any] | None]
    """The suite's summary, as `python -m evals run --json` prints it."""
    note: Mapped[str]
    """Why it failed or stopped, in a sentence."""


class TrialRun(Control):
    """One world played: by us, or by a control in our place."""

    __tablename__ = "trial_run"
    __table_args__ = (Index("ix_trial_run_suite_case_seed", "suite", "case", "seed"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("suite_run.id"), index=True)
    suite: Mapped[str]
    case: Mapped[str]
    control: Mapped[str]
    """Empty for our own trial, else the name of the control that played instead of us."""
    seed: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str]
    """`running`, `ended` or `aborted` (stopped or killed while it was played: failed)."""
    passed: Mapped[bool | None]
    """None while it runs, and for what could not be scored; as evidence that counts as failed."""
    grades: Mapped[list[Any]]
    """`evals.suites.base.Grade` as JSON, one per evaluator, in their order."""
    trajectory: Mapped[list[Any]]
    """`evals.suites.base.Step` as JSON, in order: `at`, `kind`, `text`, `data`."""
    played: Mapped[dict[str, Any]]
    """The rest of `evals.suites.base.Played`: `end`, `regions`, `actions`, `cost`, ..."""
    detected_s: Mapped[float | None]
    recovered_s: Mapped[float | None]
    seconds: Mapped[float | None]
    began_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    reason: Mapped[str]
    """Why it was not passed, in a sentence; empty when it was."""
