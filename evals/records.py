"""What is kept of a run: its options, the worlds it played, and how far it is."""

from datetime import datetime
from typing import Any, Literal, Protocol

from pydantic import Field

from evals.suites.base import Case, Grade, Played
from tools.kit.operation import Value

RunState = Literal["queued", "running", "done", "failed", "stopped"]
UNFINISHED: tuple[RunState, ...] = ("running", "stopped")
"""States of a run that began and can be continued."""


class RunOptions(Value):
    """What whoever asks for a run may choose."""

    quick: bool = False
    """Only the cases marked quick, and controls on one world of each."""
    trials: int | None = Field(default=None, ge=1, le=1000)
    """Worlds per case; without it as many as the first look at every operation needs."""
    only: str | None = None
    """One case by name."""
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    """Where the drawing of seeds begins; without it a random one, which is recorded."""
    worlds: int = Field(default=2, ge=1, le=64)
    """Worlds open at once."""
    controls: bool = True


class Progress(Value):
    """How far a run is."""

    done: int = 0
    of: int = 0
    passed: int = 0
    failed: int = 0
    left_s: float | None = None
    """Estimated seconds to the end; None before the first world ended."""
    playing: tuple[str, ...] = ()
    """Cases being played now."""


class RunRecord(Value):
    """One run of a suite."""

    id: str
    suite: str
    digest: str = ""
    options: RunOptions
    state: RunState
    progress: Progress = Progress()
    requested_by: str
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    result: dict[str, Any] | None = None
    note: str = ""


class TrialRecord(Value):
    """One world played, by us or by a control in our place."""

    id: str
    run_id: str
    suite: str
    case: str
    control: str = ""
    """Empty for our own trial, else the control's name."""
    seed: int
    state: Literal["running", "ended", "aborted"]
    passed: bool | None = None
    """None while it runs and where it could not be scored."""
    grades: tuple[Grade, ...] = ()
    played: Played = Played()
    seconds: float | None = None
    began_at: datetime
    ended_at: datetime | None = None
    reason: str = ""
    """Why it was not passed; empty when it was."""

    @property
    def harmful(self) -> bool:
        """Whether any evaluator found harm."""
        return any(grade.harmful for grade in self.grades)

    @property
    def needless(self) -> bool:
        """Whether any evaluator found something done for nothing."""
        return any(grade.needless for grade in self.grades)

    @property
    def cause_right(self) -> bool | None:
        """Whether the cause named was right; None where none was asked for."""
        said = [grade.cause_right for grade in self.grades if grade.cause_right is not None]
        return all(said) if said else None


class RunStore(Protocol):
    """Where runs and their worlds are kept while and after they are played."""

    @property
    def earns(self) -> bool:
        """Whether what is kept here becomes evidence."""
        ...

    async def save(self, run: RunRecord) -> None:
        """Add the run, or replace what is known of it."""
        ...

    async def begin(self, trial: TrialRecord, case: Case) -> None:
        """Keep that a world begins to be played, before anything happens in it."""
        ...

    async def end(self, trial: TrialRecord, case: Case) -> None:
        """Keep how it ended; a world that ended or was aborted never changes again."""
        ...

    async def trials(self, run_id: str) -> list[TrialRecord]:
        """The worlds of a run, in the order in which they began."""
        ...

    async def runs(self, suite: str | None = None) -> list[RunRecord]:
        """All runs, or those of one suite, the newest first."""
        ...

    async def used_seeds(self, suite: str) -> set[tuple[str, int]]:
        """Case and seed of every world of *suite* that was ever played and is kept here."""
        ...

    async def operations(
        self, run: RunRecord, trials: list[TrialRecord]
    ) -> dict[str, dict[str, Any]]:
        """By operation what is earned: `trials`, `lower_bound`, `level`."""
        ...
