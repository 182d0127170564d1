"""The way a room or an agent gets something done: propose, be judged, and only then be driven."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from tools.kit.deps import Caller
from tools.kit.ledger import Purpose
from tools.kit.operation import Plan, Warrant
from tools.kit.provenance import Identifiers


@dataclass(frozen=True)
class Intention:
    """One effect somebody wants: an operation, its arguments and the cause it names."""

    operation: str
    arguments: dict[str, Any]
    warrant: Warrant
    chosen: frozenset[str] = frozenset()
    """Arguments that our own code filled in from the inventory, and no model."""


@dataclass(frozen=True)
class ProposedAction:
    """One action as the gate left it."""

    id: str
    operation: str
    target: str
    state: str
    plan: Plan
    digest: str
    reason: str


@dataclass(frozen=True)
class Proposed:
    """What the gate said to a proposal."""

    outcome: Literal["run", "ask", "refuse"]
    reason: str
    actions: tuple[ProposedAction, ...]
    approval_id: str | None
    """The question a person must answer, when the outcome is `ask`."""
    digest: str | None = None
    """The digest that an answer to the question must show."""


@dataclass(frozen=True)
class Settled:
    """How one action ended, or where it stands."""

    id: str
    operation: str
    target: str
    state: str
    text: str
    """A sentence a person can read: what was done and what the check measured."""


class Gatekeeper(Protocol):
    """The gate as engines and agents meet it; implemented by the autonomy room."""

    async def propose(
        self,
        caller: Caller,
        intentions: Sequence[Intention],
        *,
        decided_by: Literal["engine", "model", "person"],
        executor: Literal["healer", "agents"],
        title: str,
        incident_id: str | None = None,
        thread_id: str | None = None,
        run_id: str | None = None,
        tool_call_id: str | None = None,
        tainted: bool = False,
        identifiers: Identifiers | None = None,
    ) -> Proposed:
        """Plan each intention, judge it, store actions and, where asked, one approval.

        The same thread and tool call proposed twice answers the first proposal. *identifiers* are
        those a *tainted* run may use alone; without them its arguments count as made up.

        Raises:
            Conflict: a target is held by another open action.
            Invalid: unknown operation, or arguments it doesn't take.
            NotFound: the target doesn't exist.
        """
        ...

    async def drive(self, action_id: str, purpose: Purpose = "apply") -> Settled:
        """Run one permitted action to its end; one that already ended just answers how.

        Raises:
            Conflict: there is no valid permit for it.
        """
        ...

    async def standing(self, approval_id: str) -> tuple[str, list[Settled]]:
        """State of an approval (`pending`, `approved` ...) and of its actions, in order."""
        ...

    async def ready(self, executor: str) -> Sequence[tuple[str, Purpose]]:
        """Permitted work of *executor* that nobody has begun, in order."""
        ...

    async def recover(self, executor: str) -> Sequence[Settled]:
        """After a crash: observe and settle every action *executor* left half done."""
        ...

    async def withdraw(self, incident_id: str, reason: str) -> None:
        """The cause vanished: withdraw what was asked or permitted for it and has not begun."""
        ...
