"""Who is asking: it comes from the session or the key, never from a body or a model's arguments."""

from dataclasses import dataclass, field
from typing import Literal

from tools.kit.errors import Forbidden

Role = Literal["learner", "author", "staff", "engineer", "operator"]


@dataclass(frozen=True)
class Caller:
    """A person or program with its tenant and roles, as the door established them."""

    tenant_id: str
    tenant_slug: str
    person_id: str | None
    """None for the academy's own engines."""
    name: str
    roles: frozenset[Role]
    fleet: bool
    """Whether this tenant's staff may see and act on the fleet."""
    via: Literal["session", "key", "engine"] = "session"
    scopes: frozenset[str] = field(default_factory=frozenset)

    @property
    def actor(self) -> str:
        """The audit log's name for this caller."""
        return f"person:{self.person_id}" if self.person_id else f"engine:{self.name}"

    @property
    def may_fleet(self) -> bool:
        """Whether the caller may see and act on the fleet: operator, or granted staff."""
        return "operator" in self.roles or (self.fleet and "staff" in self.roles)

    def require_fleet(self) -> None:
        """Refuse a caller without access to the fleet.

        Raises:
            Forbidden: the caller is neither operator nor staff of a tenant granted the fleet.
        """
        if not self.may_fleet:
            raise Forbidden("The fleet is for operators and for staff of a tenant granted it.")


def engine(name: str, *, tenant_id: str, tenant_slug: str) -> Caller:
    """The caller that stands for one of the academy's own engines, such as the healer."""
    return Caller(
        tenant_id=tenant_id,
        tenant_slug=tenant_slug,
        person_id=None,
        name=name,
        roles=frozenset({"operator"}),
        fleet=True,
        via="engine",
    )
