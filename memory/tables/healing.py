"""The fleet's observed state, its signals and its incidents (control database)."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from memory.tables.base import Control


class ReplicaState(Control):
    """What the healer last saw of one replica."""

    __tablename__ = "replica_state"

    service: Mapped[str] = mapped_column(primary_key=True)
    replica: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str]
    """`healthy`, `slow`, `hung`, `dead`, `starting`, `stopped` or `unknown`."""
    note: Mapped[str]
    pid: Mapped[int | None]
    started_at: Mapped[datetime | None]
    restarts: Mapped[int]
    since: Mapped[datetime]
    """Since when the status holds."""
    signals: Mapped[dict[str, Any]]
    """Latest value per signal."""
    updated_at: Mapped[datetime]


class Signal(Control):
    """One measured value of one signal of one replica or service."""

    __tablename__ = "signal"
    __table_args__ = (Index("ix_signal_series", "service", "replica", "name", "at"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    service: Mapped[str]
    replica: Mapped[str]
    """Empty for a signal of the whole service."""
    name: Mapped[str]
    """`latency_ms`, `rss_mb`, `cpu_percent`, `disk_free_percent`, `queue_depth` ..."""
    at: Mapped[datetime] = mapped_column(index=True)
    value: Mapped[float]


class Incident(Control):
    """One thing that went wrong with one target, from detection to close."""

    __tablename__ = "incident"
    __table_args__ = (
        Index(
            "uq_incident_open",
            "target",
            "kind",
            unique=True,
            postgresql_where=text("closed_at IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    service: Mapped[str]
    replica: Mapped[str | None]
    target: Mapped[str]
    """`service/replica`, or `service` for a whole service, or `service:folder`."""
    kind: Mapped[str]
    """`dead`, `hung`, `crashed`, `disk_filling`, `store_down`."""
    state: Mapped[str]
    """`open`, `explained`, `asking`, `acting`, `verifying`, `waiting`, `closed`, `escalated`."""
    title: Mapped[str]
    cause: Mapped[str]
    """The named cause in one sentence, or that it is unknown."""
    explanation: Mapped[str]
    evidence: Mapped[list[Any]]
    """Sentences with figures: `{"for": bool, "text": str}` each."""
    before: Mapped[dict[str, Any]]
    after: Mapped[dict[str, Any]]
    resolution: Mapped[str]
    opened_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class IncidentEvent(Control):
    """One line of an incident's timeline."""

    __tablename__ = "incident_event"

    id: Mapped[str] = mapped_column(primary_key=True)
    incident_id: Mapped[str] = mapped_column(index=True)
    at: Mapped[datetime]
    kind: Mapped[str]
    """`detected`, `explained`, `planned`, `asked`, `acting`, `verified`, `closed`, `note` ..."""
    text: Mapped[str]
    data: Mapped[dict[str, Any]]
