"""Values about runs of suites and the worlds they played, shared by routes and pages."""

from datetime import datetime
from typing import Any, Literal

from tools.kit.operation import Value


class StepView(Value):
    """One thing that happened in a world."""

    at: float
    """Seconds since the world began."""
    kind: str
    text: str
    data: dict[str, Any] = {}


class GradeView(Value):
    """What one evaluator found."""

    evaluator: str
    passed: bool | None
    """None where it could not be scored."""
    harmful: bool
    needless: bool
    text: str


class TrialView(Value):
    """One played world, short."""

    id: str
    case: str
    seed: int
    state: Literal["running", "ended", "aborted"]
    passed: bool | None
    harmful: bool
    seconds: float | None
    detected_s: float | None
    recovered_s: float | None
    began_at: datetime
    reason: str


class TrialDetail(TrialView):
    """One played world with everything that can be replayed by eye."""

    run_id: str
    suite: str
    control: str
    """Name of the control that played in our place; empty for our own trial."""
    operations: list[str]
    """Operations it is evidence about."""
    grades: list[GradeView]
    trajectory: list[StepView]
    end: dict[str, Any]
    """The world afterwards."""


class RunView(Value):
    """One run of a suite and how far it is."""

    id: str
    suite: str
    quick: bool
    state: Literal["queued", "running", "done", "failed", "stopped"]
    done: int
    of: int
    passed: int
    left_s: float | None
    """Estimated seconds to the end."""
    playing: list[str]
    """Cases being played now."""
    requested_by: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    result: dict[str, Any] | None
    note: str


class CellView(Value):
    """One signed trial of an operation: a cell of its matrix."""

    trial: str
    """The played world it is about."""
    case: str
    seed: int
    state: Literal["running", "passed", "failed", "harmful"]
    at: datetime


class PointView(Value):
    """The standing of an operation after one more distinct world."""

    worlds: int
    passed: int
    bound: float | None
    """As read at the last look up to here."""
    at: datetime
