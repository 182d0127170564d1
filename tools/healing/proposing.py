"""Puts an incident's remedy to the gate, once.

A proposal is looked for before it is made, so a healer that died between asking and noting it never
asks twice.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Protocol

import structlog

from tools.healing.case_ends import CaseEnds
from tools.healing.driving import EXECUTOR
from tools.healing.incidents import Case
from tools.healing.policy import HealingPolicy
from tools.healing.remedies import asked_for, cannot_ask
from tools.healing.schemas import IncidentView
from tools.kit.clock import Clock
from tools.kit.deps import Caller
from tools.kit.errors import CapabilityError, Conflict, Unavailable
from tools.kit.gatekeeper import Gatekeeper, Intention, Proposed

CALL_SECONDS = 15.0
"""Seconds a call to the gatekeeper may take; planning probes the replica and its siblings."""

log = structlog.get_logger(__name__)


class ProposalStore(Protocol):
    """What is known of proposals besides what the gatekeeper says."""

    async def save(self, incidents: Sequence[IncidentView]) -> None:
        """Write these incidents; what is there already is not written twice."""
        ...

    async def open_action(self, incident_id: str) -> tuple[str, str | None, str] | None:
        """Id, approval and state of the action that an incident still holds its target with."""
        ...


class Proposer:
    """Proposes, and notes on the incident what the gate said."""

    def __init__(
        self,
        *,
        gatekeeper: Gatekeeper,
        caller: Callable[[], Awaitable[Caller]],
        store: ProposalStore,
        ends: CaseEnds,
        clock: Clock,
        policy: HealingPolicy,
    ) -> None:
        self._gatekeeper = gatekeeper
        self._caller = caller
        self._store = store
        self._ends = ends
        self._clock = clock
        self._policy = policy

    async def propose(self, case: Case, intention: Intention, process: str) -> None:
        """Propose *intention* for *case*; *process* is the run of a process that has the fault."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                # The gate looks for the incident in the database before it trusts the warrant.
                await self._store.save([case.view])
                standing = await self._store.open_action(case.id)
                if standing is not None:
                    self._adopt(case, *standing, process)
                    return
                proposed = await self._gatekeeper.propose(
                    await self._caller(),
                    [intention],
                    decided_by="engine",
                    executor=EXECUTOR,
                    title=asked_for(intention),
                    incident_id=case.id,
                )
        except Conflict as busy:
            at = self._clock.now()
            case.note_once(at, f"Not proposed yet: {busy.message}")
            case.retry_at = at + timedelta(seconds=self._policy.busy_retry_seconds)
        except Unavailable as error:
            at = self._clock.now()
            case.note_once(at, f"It could not be planned: {error.message}")
            case.retry_at = at + timedelta(seconds=self._policy.busy_retry_seconds)
        except CapabilityError as error:
            self._ends.escalate(case, f"Nothing could be proposed: {error.message}", again=True)
        except Exception as error:  # the database went away meanwhile, or isn't ready yet
            at = self._clock.now()
            log.warning("incident.not_proposed", incident=case.id, reason=str(error)[:200])
            case.retry_at = at + timedelta(seconds=self._policy.busy_retry_seconds)
            if case.state != "waiting":
                case.move("waiting", at, "waiting", cannot_ask(intention))
        else:
            case.retry_at = None
            self._proposed(case, proposed, process)

    def _proposed(self, case: Case, proposed: Proposed, process: str) -> None:
        at = self._clock.now()
        data: dict[str, Any] = {
            "approval_id": proposed.approval_id,
            "action_ids": [a.id for a in proposed.actions],
            "process": process,
            "plan": [line for a in proposed.actions for line in a.plan.diff],
        }
        what = "; ".join(a.plan.summary for a in proposed.actions)
        if proposed.outcome == "ask":
            text = f"{what}? {proposed.reason}"
            case.move("asking", at, "asked", text, **data)
            self._ends.alert(
                "ASKS", case, f"{what}? Approval {proposed.approval_id} waits for a person."
            )
        elif proposed.outcome == "run":
            case.add(at, "permitted", f"{what}: {proposed.reason}", **data)
            case.move("acting", at, "acting", f"{what}.", action_ids=data["action_ids"])
        else:
            case.add(at, "refused", f"{what}: {proposed.reason}", action_ids=data["action_ids"])
            self._ends.escalate(case, f"The gate refused: {proposed.reason}", again=True)

    def _adopt(
        self, case: Case, action_id: str, approval_id: str | None, state: str, process: str
    ) -> None:
        at = self._clock.now()
        data = {"approval_id": approval_id, "action_ids": [action_id], "process": process}
        if approval_id is not None:
            case.move("asking", at, "asked", "A question about it stands already.", **data)
        else:
            case.add(at, "permitted", f"An action for it stands already ({state}).", **data)
            case.move("acting", at, "acting", "It goes on.", action_ids=[action_id])
