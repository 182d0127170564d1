"""The kit's `Ledger` over a database: every step of a driven action is a row and an audit row."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy.exc import IntegrityError

from memory import audit
from memory.database import Database
from memory.tables.autonomy import Action
from tools.autonomy.gate import lapsed
from tools.autonomy.lease_repository import LeaseRepository
from tools.autonomy.live_record import FAILED, withdraw_autonomy
from tools.autonomy.records import (
    STOPPING,
    Tampered,
    move,
    require_permit,
    withdraw_rest,
)
from tools.autonomy.repository import AutonomyRepository
from tools.autonomy.states import AT_WORK, WAITING
from tools.autonomy.wording import held_text
from tools.kit.clock import Clock
from tools.kit.errors import Conflict, NotFound
from tools.kit.leases import is_gone
from tools.kit.ledger import Purpose, Superseded
from tools.kit.operation import Check, Plan

log = structlog.get_logger(__name__)

EXPECTED_STATE: dict[Purpose, str] = {"apply": "permitted", "undo": "verified"}
INTENT: dict[Purpose, str] = {"apply": "intended", "undo": "undoing"}


@dataclass(frozen=True)
class RecordedAction:
    """One action as its row stood when it was read (`tools.kit.ledger.DrivenAction`)."""

    id: str
    operation: str
    target: str
    arguments: dict[str, Any]
    plan: Plan
    state: str
    effect: dict[str, Any] | None
    check: dict[str, Any] | None
    undo: dict[str, Any] | None
    note: str


def recorded(action: Action) -> RecordedAction:
    """The row as a value that outlives its session."""
    return RecordedAction(
        id=action.id,
        operation=action.operation,
        target=action.target,
        arguments=action.arguments,
        plan=Plan.model_validate(action.plan),
        state=action.state,
        effect=action.effect,
        check=action.check,
        undo=action.undo,
        note=action.note,
    )


class ActionLedger:
    """Each call is one unit of work; rows are locked while they change."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def read(self, action_id: str) -> RecordedAction:
        """The action as it stands.

        Raises:
            NotFound: there is no such action.
        """
        async with self._database.unit_of_work() as session:
            return recorded(_found(await AutonomyRepository(session).action(action_id), action_id))

    async def begin(self, action_id: str, purpose: Purpose, holder: str) -> RecordedAction:
        """Consume the permit, record the intent and lease the action to *holder*, together.

        Raises:
            NotFound: there is no such action.
            Conflict: no valid permit, not its turn, its target is held, its row was changed after
                the permit was given, or the gate gave it and wouldn't any more. In the last two
                cases it is withdrawn, so that it can be judged anew, and the audit log says so.
        """
        try:
            result, refused = await self._begin(action_id, purpose, holder, self._clock.now())
        except IntegrityError:
            # Another action was opened on the target between our look and our write.
            raise Conflict(f"The target of {action_id} was taken at this moment.") from None
        if refused is not None:
            raise refused
        return result

    async def _begin(
        self, action_id: str, purpose: Purpose, holder: str, at: datetime
    ) -> tuple[RecordedAction, Conflict | None]:
        """The action with its intent recorded, or withdrawn and why."""
        async with self._database.unit_of_work() as session:
            repository = AutonomyRepository(session)
            action = _found(await repository.action(action_id, lock=True), action_id)
            permit = await repository.permit(action_id, purpose, lock=True)
            if action.state != EXPECTED_STATE[purpose]:
                raise Conflict(
                    f"{action_id} is {action.state}; only what is {EXPECTED_STATE[purpose]} can "
                    f"{'begin' if purpose == 'apply' else 'be undone'}.",
                    state=action.state,
                )
            if purpose == "apply":
                await _require_turn(repository, action)
            try:
                valid = require_permit(permit, action, purpose, at)
            except Tampered as why:
                await self._refuse_tampered(repository, action, str(why))
                said = f"{action_id} was changed after it was allowed: {why}."
                return recorded(action), Conflict(said, tampered=True)
            held = [h for h in await repository.holders([action.target]) if h.id != action_id]
            if held:
                raise held_conflict(held[0], at)
            if valid.granted_by == "gate" and (
                lapse := await _withdraw_lapsed(repository, action, at)
            ):
                return recorded(action), Conflict(f"{action_id} was allowed by the gate. {lapse}")
            valid.consumed_at = at
            executor = f"engine:{action.executor}"
            body = {"purpose": purpose, "permit": valid.id}
            await move(session, action, INTENT[purpose], at=at, actor=executor, body=body)
            await LeaseRepository(session).lease(action_id, holder)
            return recorded(action), None

    async def take_over(self, action_id: str, holder: str) -> RecordedAction:
        """Lease a half-done action to *holder*, as its driver is gone or its lease ran out.

        Raises:
            NotFound: there is no such action.
            Conflict: somebody is driving it, or it has ended.
        """
        async with self._database.unit_of_work() as session:
            leases = LeaseRepository(session)
            action = _found(
                await AutonomyRepository(session).action(action_id, lock=True), action_id
            )
            if action.state not in AT_WORK:
                raise Conflict(f"{action_id} is {action.state}; nothing of it is left to be done.")
            if not _may_be_taken(action, ran_out=await leases.ran_out(action_id)):
                raise Conflict(
                    f"Somebody is acting on {action.target} at this moment; ask again when they "
                    "are done.",
                    target=action.target,
                )
            await leases.lease(action_id, holder)
            before, taken = action.driver, recorded(action)
        log.info("action.taken_over", action=action_id, state=taken.state, before=before)
        return taken

    async def renew(self, action_id: str, holder: str) -> None:
        """Lease the action to *holder* for longer.

        Raises:
            Superseded: it is no longer leased to *holder*.
        """
        async with self._database.unit_of_work() as session:
            if not await LeaseRepository(session).renew(action_id, holder):
                raise Superseded(f"Somebody else has taken {action_id} over.")

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
    ) -> RecordedAction:
        """Move the action to *state* with its audit row; a failure withdraws what came after it.

        Of a driver that lost its lease only an audit row is kept, which says what it saw.

        Raises:
            NotFound: there is no such action.
            Superseded: the action was begun, and isn't leased to *holder* (any more).
            Conflict: no arrow leads there from where it stands.
        """
        at = self._clock.now()
        current: frozenset[str] = frozenset()
        if state in FAILED:
            current = await self.fingerprints((await self.read(action_id)).operation)
        said = {
            "effect": effect,
            "check": check.model_dump(mode="json") if check else None,
            "undo": undo.model_dump(mode="json") if undo else None,
        }
        body = {name: audit.storable(part) for name, part in said.items() if part is not None}
        note = audit.storable(note)
        async with self._database.unit_of_work() as session:
            repository = AutonomyRepository(session)
            action = _found(await repository.action(action_id, lock=True), action_id)
            executor = f"engine:{action.executor}"
            if superseded := action.state not in WAITING and action.driver != holder:
                late = {"wanted": state, "stands": action.state, "note": note, **body}
                kind = "action.superseded"
                await audit.append(
                    session, at=at, actor=executor, kind=kind, subject=action_id, body=late
                )
            else:
                later = await repository.later_siblings(action) if state in STOPPING else []
                for name, part in body.items():
                    setattr(action, name, part)
                if state not in AT_WORK:
                    action.driver = action.lease_expires_at = None
                await move(session, action, state, at=at, actor=executor, note=note, body=body)
                if state in FAILED:
                    await withdraw_autonomy(session, action, at, current)
                await withdraw_rest(session, action, later, at=at, actor=executor)
            result = recorded(action)
        if superseded:
            log.error("action.superseded", action=action_id, wanted=state, stands=result.state)
            raise Superseded(
                f"Somebody else has taken {action_id} over and it is {result.state}; that it was "
                f"to become {state} stands in the audit log alone.",
                state=result.state,
            )
        return result

    async def fingerprints(self, operation: str) -> frozenset[str]:
        """What evidence on *operation* is about now, for each who may decide; none are known."""
        return frozenset()

    async def interrupted(self, executor: str) -> Sequence[RecordedAction]:
        """Actions of *executor* begun and not ended, whose driver is gone or lost its lease."""
        async with self._database.unit_of_work() as session:
            rows = await LeaseRepository(session).begun(executor)
            return [recorded(action) for action, out in rows if _may_be_taken(action, ran_out=out)]

    async def ready(self, executor: str) -> Sequence[tuple[str, Purpose]]:
        """Permitted work of *executor* in order: action id and purpose."""
        async with self._database.unit_of_work() as session:
            rows = await AutonomyRepository(session).ready(executor, self._clock.now())
            return [(a.id, "undo" if p.purpose == "undo" else "apply") for a, p in rows]

    async def _refuse_tampered(
        self, repository: AutonomyRepository, action: Action, why: str
    ) -> None:
        """Say in the audit log that a row was changed, and close what can be closed."""
        log.error("action.tampered", action=action.id, why=why)
        at = self._clock.now()
        session = repository.session
        later = await repository.later_siblings(action)
        await audit.append(
            session,
            at=at,
            actor="gate",
            kind="permit.refused",
            subject=action.id,
            body={"why": why, "digest": action.digest, "operation": action.operation},
        )
        if action.state in WAITING:
            note = f"Changed after it was allowed: {why}."
            await move(session, action, "withdrawn", at=at, actor="gate", note=note)
            await withdraw_rest(session, action, later, at=at, actor="gate")


def held_conflict(holder: Action, at: datetime) -> Conflict:
    """The error that says what holds a target, since when, and what a person can do."""
    passed = at - (holder.created_at if holder.state == "asked" else holder.updated_at)
    return Conflict(
        held_text(holder.plan["summary"], holder.target, holder.state, passed),
        action_id=holder.id,
        approval_id=holder.approval_id,
        operation=holder.operation,
        target=holder.target,
        state=holder.state,
        seconds=max(0, round(passed.total_seconds())),
    )


async def _withdraw_lapsed(repository: AutonomyRepository, action: Action, at: datetime) -> str:
    """Withdraw an action that the gate allowed and wouldn't any more; why, or nothing.

    The head of the audit log orders beginnings, withdrawals of autonomy and freezes: with it
    locked, none of them commits between this look and the beginning.
    """
    session = repository.session
    later = await repository.later_siblings(action)
    await audit.hold_head(session)
    why = lapsed(await repository.since(action))
    if why:
        await move(session, action, "withdrawn", at=at, actor="gate", note=why)
        await withdraw_rest(session, action, later, at=at, actor="gate")
    return why


async def _require_turn(repository: AutonomyRepository, action: Action) -> None:
    before = await repository.unverified_before(action)
    if before is not None:
        raise Conflict(
            f"{action.id} has to wait: {before.operation} on {before.target} comes first and is "
            f"{before.state}.",
            action_id=before.id,
        )


def _may_be_taken(action: Action, *, ran_out: bool) -> bool:
    """Whether nobody drives a half-done action, as far as its lease and this machine tell."""
    return ran_out or action.driver is None or is_gone(action.driver)


def _found(action: Action | None, action_id: str) -> Action:
    if action is None:
        raise NotFound(f"There is no action {action_id}.")
    return action
