"""Actions, approvals, permits, evidence and the audit chain (control and tenant databases)."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from memory.tables.base import Shared

OPEN_STATES = (
    "planned",
    "asked",
    "permitted",
    "intended",
    "applied",
    "not_helped",
    "undoing",
    "stuck",
)
"""States in which an action holds its target: no second action may be opened on it."""


class Action(Shared):
    """One occurrence of an operation, from plan to outcome."""

    __tablename__ = "action"
    __table_args__ = (
        Index(
            "uq_action_open_target",
            "target",
            unique=True,
            postgresql_where=text(f"state IN {OPEN_STATES}"),
        ),
        Index("ix_action_state_executor", "state", "executor"),
        Index("ix_action_target", "target"),
        Index("ix_action_operation_updated_at", "operation", "updated_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    operation: Mapped[str]
    target: Mapped[str]
    """What the action holds, such as `catalog/catalog-1`."""
    arguments: Mapped[dict[str, Any]]
    digest: Mapped[str]
    """SHA-256 over operation, arguments, tenant and planned-on state (`tools.kit.digest`)."""
    plan: Mapped[dict[str, Any]]
    """`tools.kit.operation.Plan` as JSON."""
    state: Mapped[str]
    risk: Mapped[str]
    reversibility: Mapped[str]
    reason: Mapped[str]
    """The gate's reason, in a sentence."""
    conditions: Mapped[list[Any]]
    """The gate's seven conditions: `{"name", "holds", "reason"}` each."""
    warrant: Mapped[dict[str, Any]]
    decided_by: Mapped[str]
    """`engine`, `model` or `person`."""
    executor: Mapped[str]
    """The process that applies it: `healer` or `agents`."""
    tainted: Mapped[bool]
    fingerprint: Mapped[str | None]
    """What the evidence the gate looked for was about; None where it couldn't be told."""
    tenant_id: Mapped[str]
    person_id: Mapped[str | None]
    incident_id: Mapped[str | None] = mapped_column(index=True)
    thread_id: Mapped[str | None]
    tool_call_id: Mapped[str | None]
    approval_id: Mapped[str | None] = mapped_column(index=True)
    undo_approval_id: Mapped[str | None] = mapped_column(index=True)
    """The latest question whether to undo it, where one was asked."""
    position: Mapped[int]
    """Order within its approval, from 0."""
    effect: Mapped[dict[str, Any] | None]
    """What `apply` returned."""
    check: Mapped[dict[str, Any] | None]
    """What `verify` measured: `{"ok", "text", "measured"}`."""
    undo: Mapped[dict[str, Any] | None]
    """What `undo` did: `{"ok", "text"}`."""
    note: Mapped[str]
    """Why it ended without a check, in a sentence: denied, expired, withdrawn, failed, stuck."""
    driver: Mapped[str | None]
    """The drive that has it now (`tools.kit.leases`); None where nobody has."""
    lease_expires_at: Mapped[datetime | None]
    """Until when, by this database's own clock; the driver renews it."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Approval(Shared):
    """A question to a person about one or more actions, shown as one card."""

    __tablename__ = "approval"

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    kind: Mapped[str]
    """`apply` (run the actions) or `undo` (undo one verified action)."""
    title: Mapped[str]
    reason: Mapped[str]
    digest: Mapped[str]
    """SHA-256 over the ordered digests of its actions."""
    state: Mapped[str]
    """`pending`, `approved`, `denied`, `expired` or `withdrawn`."""
    executor: Mapped[str]
    incident_id: Mapped[str | None]
    thread_id: Mapped[str | None]
    run_id: Mapped[str | None]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    decided_by: Mapped[str | None]
    decided_at: Mapped[datetime | None]


class Permit(Shared):
    """The right to run one action once."""

    __tablename__ = "permit"

    id: Mapped[str] = mapped_column(primary_key=True)
    action_id: Mapped[str]
    purpose: Mapped[str]
    """`apply` or `undo`; with the action it is unique."""
    digest: Mapped[str]
    tenant_id: Mapped[str]
    granted_by: Mapped[str]
    """`gate`, or the person's id."""
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    consumed_at: Mapped[datetime | None]

    __table_args__ = (
        Index("uq_permit_action_purpose", "action_id", "purpose", unique=True),
        Index("ix_permit_consumed_at", "consumed_at"),
    )


class Freeze(Shared):
    """A person's order that an operation always asks."""

    __tablename__ = "freeze"

    operation: Mapped[str] = mapped_column(primary_key=True)
    reason: Mapped[str]
    person_id: Mapped[str]
    at: Mapped[datetime]


class AuditEntry(Shared):
    """One row of the hash-chained audit log of its database."""

    __tablename__ = "audit_entry"

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    actor: Mapped[str]
    """`person:<id>`, `engine:healer`, `model:<name>`, `gate` or `cli:<user>`."""
    kind: Mapped[str]
    """Dotted, such as `action.asked`, `approval.approved`, `incident.opened`, `signin.used`."""
    subject: Mapped[str]
    body: Mapped[dict[str, Any]]
    previous: Mapped[str]
    hash: Mapped[str]


class AuditHead(Shared):
    """The last sequence number and hash, locked by whoever appends (one row, id 1)."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str]
