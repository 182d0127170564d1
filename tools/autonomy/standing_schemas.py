"""Values of standing approvals and permits."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from memory.ids import new_id
from tools.kit.operation import Value

BasisKind = Literal["approval", "evidence"]


class Basis(Value):
    """What a standing permit rests on."""

    kind: BasisKind
    id: str
    """The standing approval, or the fingerprint of the evidence."""
    granted_by: str
    """The person who approved in advance, or `gate`."""
    text: str
    """In a clause, such as `approved in advance by Ana (sta-7k2m9qh4xw3c)`."""


class Covered(Value):
    """Where a permit holds, in the terms of a plan's region."""

    labels: dict[str, Any]
    figures: dict[str, tuple[float, float]] = {}
    """From and to, by name."""


class StandingPermit(Value):
    """The right to run one operation on one target once, while the database is away."""

    id: str
    operation: str
    target: str
    tenant_id: str
    covered: list[Covered]
    """The plan must lie in one of these: as evidence covers it, or, under a person's approval,
    agree with the labels given."""
    fingerprint: str
    """What the evidence it rests on is about; empty under a person's approval."""
    basis: Basis
    issued_at: datetime
    expires_at: datetime


class FreezeMarker(Value):
    """A person's order that an operation always asks, kept until the database has it."""

    operation: str
    """`*` for all of them."""
    reason: str
    person_id: str
    """Who ordered it; of the machine's own account where nobody could be asked who they are."""
    actor: str
    at: datetime
    id: str = Field(default_factory=lambda: new_id("frz"))
    """Tells it from any other order in the same words."""


class Effect(Value):
    """One effect that counts against a budget."""

    operation: str
    target: str
    at: datetime


class LastKnown(Value):
    """What the database said when it was last asked: the budget and the bounds of acting alone.

    Rewritten between the journal's line that uses a permit and the effect: what was used is in
    force no more, whatever becomes of the journal.
    """

    at: datetime
    permits: list[str]
    """Ids of the standing permits that were good then and are unused; no other is good."""
    effects: list[Effect]
    """Effects begun within the longest span a budget looks back on."""
    unhelpful: list[Effect]
    """Actions that ended within a day without having helped."""
    at_work: int
    """Actions begun and not ended."""
    held: dict[str, str]
    """Targets held by open actions, each with that action's state."""
    journal: int = 0
    """A line of the journal that had been written; where fewer are there, some are gone."""


class StandingView(Value):
    """A standing approval as people and programs see it."""

    id: str
    operation: str
    title: str
    """What a person calls the operation."""
    target: str
    reason: str
    given_by: str
    """Name of the person who gave it."""
    given_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    revoked_by: str | None
    """Name of the person who revoked it."""
    state: Literal["active", "frozen", "expired", "revoked"]
