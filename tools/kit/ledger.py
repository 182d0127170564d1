"""What driving an operation needs from whoever keeps the records (the autonomy room)."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from tools.kit.errors import Conflict
from tools.kit.operation import Check, Plan

Purpose = Literal["apply", "undo"]


class Superseded(Conflict):
    """Another driver has taken the action over; what this one saw of it is not recorded."""


class DrivenAction(Protocol):
    """The parts of an action that driving reads."""

    @property
    def id(self) -> str:
        """The action's id, which is also its idempotency key."""
        ...

    @property
    def operation(self) -> str:
        """Name of its operation."""
        ...

    @property
    def target(self) -> str:
        """What it holds exclusively."""
        ...

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments as JSON."""
        ...

    @property
    def plan(self) -> Plan:
        """The plan it was permitted on."""
        ...

    @property
    def state(self) -> str:
        """Its state now."""
        ...

    @property
    def effect(self) -> dict[str, Any] | None:
        """What `apply` returned, once it did."""
        ...


class Ledger(Protocol):
    """Records every step of an action; each call is one committed unit of work."""

    async def read(self, action_id: str) -> DrivenAction:
        """The action as it stands.

        Raises:
            NotFound: there is no such action.
        """
        ...

    async def begin(self, action_id: str, purpose: Purpose, holder: str) -> DrivenAction:
        """Consume the permit, record the intent and lease the action to *holder*, together.

        Raises:
            Conflict: no valid permit (missing, consumed, expired, another digest), or not its turn.
        """
        ...

    async def take_over(self, action_id: str, holder: str) -> DrivenAction:
        """Lease a half-done action to *holder*, as its driver is gone or its lease ran out.

        Raises:
            NotFound: there is no such action.
            Conflict: somebody is driving it, or it has ended.
        """
        ...

    async def renew(self, action_id: str, holder: str) -> None:
        """Lease the action to *holder* for longer.

        Raises:
            Superseded: it is no longer leased to *holder*.
        """
        ...

    async def record(
        self,
        action_id: str,
        state: str,
        *,
        holder: str,
        effect: dict[str, Any] | None = None,
        check: Check | None = None,
        undo: Check | None = None,
        note: str = "",
    ) -> DrivenAction:
        """Move the action along an arrow to *state* and append that to the audit log.

        Raises:
            Superseded: the action was begun, and isn't leased to *holder* (any more).
            Conflict: no arrow leads from where the action stands to *state*.
        """
        ...

    async def interrupted(self, executor: str) -> Sequence[DrivenAction]:
        """Actions of *executor* left intended, applied, not_helped or undoing by their driver.

        It is gone, or lost its lease: they may be taken over.
        """
        ...

    async def ready(self, executor: str) -> Sequence[tuple[str, Purpose]]:
        """Permitted work of *executor* in order: action id and purpose."""
        ...
