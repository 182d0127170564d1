"""People, tenants, memberships, sessions, one-time links and API keys (control database)."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from memory.tables.base import Control


class TenantRecord(Control):
    """One branded academy: where its database is and how it looks."""

    __tablename__ = "tenant"

    id: Mapped[str] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    database: Mapped[str]
    """Name of its database on the server of `server_url`, or on the control database's server."""
    server_url: Mapped[str | None]
    theme: Mapped[dict[str, Any]]
    """`{"accent": "#rrggbb"}`; more keys as the design system grows."""
    fleet: Mapped[bool]
    """Whether staff of this tenant may see and act on the fleet."""
    created_at: Mapped[datetime]


class Person(Control):
    """Somebody who can sign in."""

    __tablename__ = "person"

    id: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str | None] = mapped_column(unique=True)
    name: Mapped[str]
    password_hash: Mapped[str | None]
    operator: Mapped[bool]
    created_at: Mapped[datetime]


class Membership(Control):
    """A person's role in a tenant: learner, author, staff or engineer."""

    __tablename__ = "membership"

    person_id: Mapped[str] = mapped_column(ForeignKey("person.id"), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"), primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)


class SignInLink(Control):
    """A one-time sign-in link, stored as the SHA-256 of its token."""

    __tablename__ = "signin_link"

    token_hash: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("person.id"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class SessionRecord(Control):
    """A browser session, stored as the SHA-256 of its cookie."""

    __tablename__ = "session"

    token_hash: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("person.id"), index=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"))
    csrf: Mapped[str]
    created_at: Mapped[datetime]
    authenticated_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class ApiKey(Control):
    """A key for programs: shown once, stored as its SHA-256."""

    __tablename__ = "api_key"

    id: Mapped[str] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    person_id: Mapped[str] = mapped_column(ForeignKey("person.id"))
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class SignInFailure(Control):
    """A failed sign-in, kept for the rate limit (per address and per e-mail)."""

    __tablename__ = "signin_failure"

    id: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(index=True)
    at: Mapped[datetime]
