"""Evidence: signed rows of evaluation trials, the fingerprints tried, and what was withdrawn."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index
from sqlalchemy.orm import Mapped, mapped_column

from memory.tables.base import Control


class Trial(Control):
    """One line of the evidence about one operation under one fingerprint.

    Every trial leaves two: `begun` before anything happens in its world, `ended` with the verdict.
    The lines of an operation and fingerprint form a hash chain, each signed by the evaluation
    worker.
    """

    __tablename__ = "trial"
    __table_args__ = (
        Index("uq_trial_operation_fingerprint_seq", "operation", "fingerprint", "seq", unique=True),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    operation: Mapped[str]
    fingerprint: Mapped[str]
    seq: Mapped[int] = mapped_column(BigInteger)
    """From 1, without a gap, within the operation and fingerprint."""
    state: Mapped[str]
    """`begun` or `ended`."""
    trial: Mapped[str] = mapped_column(index=True)
    """Which played world it is about (`trial_run.id`)."""
    suite: Mapped[str]
    case: Mapped[str]
    seed: Mapped[int] = mapped_column(BigInteger)
    passed: Mapped[bool]
    harmful: Mapped[bool]
    injection: Mapped[bool]
    region: Mapped[dict[str, Any]]
    """Of the action taken in the world; empty where none was called for."""
    at: Mapped[datetime]
    previous: Mapped[str]
    hash: Mapped[str]
    signature: Mapped[str]
    """Ed25519 over `hash`, in hexadecimal."""


class TriedFingerprint(Control):
    """A fingerprint that trials were run under, with what it is made of."""

    __tablename__ = "tried_fingerprint"

    operation: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    parts: Mapped[dict[str, Any]]
    first_at: Mapped[datetime]


class Withdrawal(Control):
    """Autonomy taken back for an operation under a fingerprint: a check failed in production."""

    __tablename__ = "withdrawal"

    operation: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    action_id: Mapped[str]
    """The first action whose check failed."""
    reason: Mapped[str]
    incident_id: Mapped[str | None]
    """The incident opened about it."""
    at: Mapped[datetime]
