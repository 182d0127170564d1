"""Leases: who may work on a named thing until when (rows, so that a pooler may sit in between)."""

from datetime import datetime

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from memory.tables.base import Shared


class Lease(Shared):
    """One named lease; `fence` grows with every new holder and is checked before a write."""

    __tablename__ = "lease"

    name: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    expires_at: Mapped[datetime]
    fence: Mapped[int] = mapped_column(BigInteger)
