"""Values of the autonomy room, shared by tools, routes, pages and the command line."""

from datetime import datetime
from typing import Any, Literal

from tools.kit.operation import Plan, Reversibility, Risk, Value, Warrant

Outcome = Literal["run", "ask", "refuse"]
ActionStateName = Literal[
    "planned",
    "refused",
    "asked",
    "denied",
    "expired",
    "withdrawn",
    "permitted",
    "permit_expired",
    "intended",
    "failed",
    "applied",
    "verified",
    "not_helped",
    "undoing",
    "undone",
    "escalated",
    "stuck",
]
ApprovalState = Literal["pending", "approved", "denied", "expired", "withdrawn"]


class Condition(Value):
    """One of the gate's seven conditions and why it holds or doesn't."""

    name: Literal["allowed", "evidence", "fresh", "covered", "budget", "clean", "warranted"]
    holds: bool
    reason: str


class Verdict(Value):
    """The gate's decision about one action, with a reason a person can read."""

    outcome: Outcome
    reason: str
    conditions: list[Condition]


class ActionView(Value):
    """One action as people and programs see it."""

    id: str
    operation: str
    target: str
    arguments: dict[str, Any]
    digest: str
    plan: Plan
    state: ActionStateName
    risk: Risk
    reversibility: Reversibility
    reason: str
    conditions: list[Condition]
    warrant: Warrant
    decided_by: Literal["engine", "model", "person"]
    executor: Literal["healer", "agents"]
    tainted: bool
    person_id: str | None
    incident_id: str | None
    thread_id: str | None
    approval_id: str | None
    approved_by: str | None = None
    """Name of the person who approved it, where one did."""
    effect: dict[str, Any] | None
    check: dict[str, Any] | None
    undo: dict[str, Any] | None
    note: str = ""
    """Why it ended without a check, in a sentence: denied, expired, withdrawn, failed, stuck."""
    created_at: datetime
    updated_at: datetime


class ApprovalView(Value):
    """A question to a person: what would be done, why, and until when it can be answered."""

    id: str
    kind: Literal["apply", "undo"]
    title: str
    reason: str
    digest: str
    state: ApprovalState
    executor: Literal["healer", "agents"]
    incident_id: str | None
    thread_id: str | None
    created_at: datetime
    expires_at: datetime
    decided_by: str | None
    """Name of the person who decided."""
    decided_at: datetime | None
    actions: list[ActionView]


class AuditView(Value):
    """One row of the audit log."""

    seq: int
    at: datetime
    actor: str
    kind: str
    subject: str
    body: dict[str, Any]
    hash: str


class AuditReport(Value):
    """What verifying the audit chain found."""

    ok: bool
    rows: int
    heads: int
    problem: str
    """Empty when intact; else names the first broken row, truncated tail or foreign head."""
    broken_seq: int | None = None
    note: str = ""
    """Something worth knowing that breaks nothing, such as a torn last line."""


class CaseView(Value):
    """How one case of an operation's suite went."""

    case: str
    passed: int
    of: int
    floor: float
    holds: bool
    injection: bool


class RegionView(Value):
    """Where passing trials acted: labels, and figures from the least to the most."""

    labels: dict[str, Any]
    figures: dict[str, tuple[float, float]]
    trials: int


class OperationView(Value):
    """Where one operation stands: its risk, its level of autonomy and why."""

    name: str
    title: str
    risk: Risk
    reversibility: Reversibility
    level: Literal["asks", "runs", "frozen", "withdrawn"]
    reason: str
    change: str
    """What would change the level, in a sentence."""
    trials: int
    """Distinct worlds tried under the fingerprint."""
    passed: int
    bound: float | None
    """Exact lower bound of the success rate at the last look."""
    target: float | None
    looked_at: datetime | None
    stale_at: datetime | None
    next_look: int | None
    """Distinct worlds at which the bound is read next."""
    fingerprint: str | None
    fingerprints_tried: int
    suite: str | None


class OperationDetail(OperationView):
    """The same with everything it rests on."""

    parts: dict[str, str]
    """What the fingerprint is made of."""
    changed: list[str]
    """Parts that differ from the fingerprint tried last, where there is no evidence under this."""
    cases: list[CaseView]
    regions: list[RegionView]
    live: dict[str, int]
    """How its actions ended or where they stand: state to count."""
    withdrawals: list[str]
    """When and why autonomy was taken back, newest first."""
    freezes: list[str]
    limits: str
    """What the gate allows without asking, in sentences."""
