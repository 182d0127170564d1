"""What a scenario is: how a good request comes about, and what becomes of bad ones."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from evals.attacks.race_parts.place import Place
from evals.attacks.race_parts.requests import Shot
from tools.autonomy.schemas import ApprovalView

Repeats = Literal["once", "same", "each"]
Prepare = Callable[[Place], Awaitable[Shot]]
Late = Callable[[Place], Awaitable[tuple[Shot, int]]]
FREE = frozenset[str]()
NONE = frozenset[int]()
SUITE = "healing"
RESTART = "healing.restart_replica"
PREAPPROVED = "catalog/catalog-1"
"""What is approved in advance, on the sample fleet."""


@dataclass(frozen=True)
class Scenario:
    """A good request for one route, and what becomes of bad ones."""

    route: str
    """Method and path template, as the application declares it."""
    prepare: Prepare
    """Make what the request is about, and the request."""
    repeats: Repeats
    """Sent again: refused (`once`), answered again without effect (`same`), done again (`each`)."""
    again: frozenset[int] = frozenset({409})
    """How a repetition is refused."""
    unknown: frozenset[int] = NONE
    """How an id that names nothing is refused, besides the usual ways."""
    late: Mapping[str, Late] = field(default_factory=dict)
    """Requests that were good once, and the status each must get."""
    foreign: Callable[[Place], Awaitable[str]] | None = None
    """Id of a thing of the same kind that belongs to somebody else."""
    rival: Mapping[str, str] = field(default_factory=dict)
    """Fields by which a second person's request at the same moment differs."""
    guarded: bool = True
    """Whether a session is needed; a route for everybody is only tried from elsewhere."""
    fleet: bool = False
    """Whether a learner of the same tenant must be refused."""
    noise: frozenset[str] = FREE
    """Tables in which a refusal is recorded."""


def decision(question: ApprovalView, answer: str = "approve") -> dict[str, str]:
    """The answer to exactly *question*."""
    return {"decision": answer, "digest": question.digest}


def body(path: str, fields: dict[str, Any]) -> dict[str, Any]:
    """*fields* as the route at *path* takes them: JSON for programs, a form for pages."""
    return {"json": fields} if path.startswith("/api/") else {"form": fields}
