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


class OperationView(Value):
    """Where one operation stands: its risk, its level of autonomy and why."""

    name: str
    title: str
    risk: Risk
    reversibility: Reversibility
    level: Literal["asks", "runs", "frozen"]
    reason: str
    trials: int
