"""Approvals that people give in advance, for when the store itself is what broke (control)."""

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from memory.tables.base import Control


class StandingApproval(Control):
    """A person's yes, given beforehand, to one operation on one target."""

    __tablename__ = "standing_approval"
    __table_args__ = (Index("ix_standing_approval_expires_at", "expires_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    operation: Mapped[str]
    target: Mapped[str]
    reason: Mapped[str]
    """Why it was given, in the person's words."""
    person_id: Mapped[str]
    given_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    revoked_by: Mapped[str | None]
