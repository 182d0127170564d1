"""Conversations with the agents: threads, messages, runs and their events (tenant database)."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from memory.tables.base import Tenant


class Thread(Tenant):
    """One conversation of one person."""

    __tablename__ = "thread"

    id: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str] = mapped_column(index=True)
    title: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Message(Tenant):
    """One message of a thread as people see it."""

    __tablename__ = "message"
    __table_args__ = (Index("uq_message_thread_seq", "thread_id", "seq", unique=True),)

    id: Mapped[str] = mapped_column(primary_key=True)
    thread_id: Mapped[str] = mapped_column(ForeignKey("thread.id"))
    seq: Mapped[int]
    role: Mapped[str]
    """`user` or `assistant`."""
    text: Mapped[str]
    run_id: Mapped[str | None]
    created_at: Mapped[datetime]


class Run(Tenant):
    """One turn: a message to answer, or a paused turn to resume after a decision."""

    __tablename__ = "run"
    __table_args__ = (Index("ix_run_state", "state", "created_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    thread_id: Mapped[str] = mapped_column(ForeignKey("thread.id"), index=True)
    person_id: Mapped[str]
    kind: Mapped[str]
    """`message` or `resume`."""
    input: Mapped[dict[str, Any]]
    """`{"text"}` for a message; `{"approval_id", "decision"}` for a resume."""
    state: Mapped[str]
    """`queued`, `running`, `waiting` (for a person), `finished`, `failed` or `cancelled`."""
    error: Mapped[str | None]
    attempts: Mapped[int]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class RunEvent(Tenant):
    """One AG-UI event of a run; its `seq`, counted per thread, is the stream's event id."""

    __tablename__ = "run_event"

    thread_id: Mapped[str] = mapped_column(ForeignKey("thread.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    run_id: Mapped[str] = mapped_column(ForeignKey("run.id"), index=True)
    type: Mapped[str]
    data: Mapped[dict[str, Any]]
    at: Mapped[datetime]
