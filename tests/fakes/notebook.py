"""A ledger in memory that keeps the rules of the real one and may die at any step."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.fakes.turning import Crash
from tools.autonomy.states import AT_WORK, WAITING, require_arrow
from tools.kit.errors import Conflict, NotFound
from tools.kit.leases import is_gone
from tools.kit.ledger import Purpose, Superseded
from tools.kit.operation import Check, Plan


@dataclass(frozen=True)
class Noted:
    """One action on a page of the notebook."""

    id: str
    operation: str
    target: str
    arguments: dict[str, Any]
    plan: Plan
    state: str = "permitted"
    effect: dict[str, Any] | None = None
    note: str = ""


class Deaths:
    """Counts the steps of a process and lets it die at one of them."""

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.steps = 0

    def step(self) -> None:
        """One place where a process may end."""
        self.steps += 1
        if self.steps == self.at:
            raise Crash


@dataclass
class Notebook:
    """Every call may die before it was stored, or after it and before it was answered."""

    pages: dict[str, Noted]
    deaths: Deaths
    permits: set[tuple[str, Purpose]]
    history: list[str] = field(default_factory=list)
    leases: dict[str, str] = field(default_factory=dict)
    """Who has which action."""
    run_out: set[str] = field(default_factory=set)
    """Holders whose lease has run out."""

    async def read(self, action_id: str) -> Noted:
        self.deaths.step()
        if action_id not in self.pages:
            raise NotFound(f"There is no action {action_id}.")
        return self.pages[action_id]

    async def begin(self, action_id: str, purpose: Purpose, holder: str) -> Noted:
        self.deaths.step()
        action = self.pages[action_id]
        if action.state != {"apply": "permitted", "undo": "verified"}[purpose]:
            raise Conflict(f"{action_id} is {action.state}.")
        if (action_id, purpose) not in self.permits:
            raise Conflict(f"{action_id} has no permit to {purpose}.")
        self.permits.remove((action_id, purpose))
        self._store(action, {"apply": "intended", "undo": "undoing"}[purpose])
        self.leases[action_id] = holder
        self.deaths.step()
        return self.pages[action_id]

    async def take_over(self, action_id: str, holder: str) -> Noted:
        self.deaths.step()
        if not self._may_be_taken(action_id):
            raise Conflict(f"Somebody is driving {action_id}.")
        self.leases[action_id] = holder
        self.deaths.step()
        return self.pages[action_id]

    def run_out_of(self, action_id: str) -> None:
        """The lease of an action runs out."""
        self.run_out.add(self.leases[action_id])

    def has_run_out(self, action_id: str) -> bool:
        """Whether it has."""
        return self.leases[action_id] in self.run_out

    async def renew(self, action_id: str, holder: str) -> None:
        if self.leases.get(action_id) != holder:
            raise Superseded(f"Somebody else has taken {action_id} over.")
        self.run_out.discard(holder)

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
    ) -> Noted:
        self.deaths.step()
        action = self.pages[action_id]
        if action.state not in WAITING and self.leases.get(action_id) != holder:
            raise Superseded(f"Somebody else has taken {action_id} over.")
        if effect is not None:
            action = replace(action, effect=effect)
        self._store(replace(action, note=note or action.note), state)
        self.deaths.step()
        return self.pages[action_id]

    async def interrupted(self, executor: str) -> Sequence[Noted]:
        self.deaths.step()
        begun = [action for action in self.pages.values() if action.state in AT_WORK]
        return [action for action in begun if self._may_be_taken(action.id)]

    async def ready(self, executor: str) -> Sequence[tuple[str, Purpose]]:
        return sorted(self.permits)

    def _may_be_taken(self, action_id: str) -> bool:
        holder = self.leases[action_id]
        return holder in self.run_out or is_gone(holder)

    def _store(self, action: Noted, state: str) -> None:
        require_arrow(action.id, action.state, state)
        self.pages[action.id] = replace(action, state=state)
        self.history.append(state)
