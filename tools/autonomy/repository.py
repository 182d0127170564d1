"""Every query of the autonomy room.

Rows are locked in one order everywhere, so that no two writers wait for each other: the approval,
then its actions by position, then a permit, and last the head of the audit log (`memory.audit`).
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Select, and_, delete, exists, or_, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from memory.tables.autonomy import (
    OPEN_STATES,
    Action,
    Approval,
    AuditEntry,
    Freeze,
    Permit,
)
from memory.tables.identity import Person
from memory.tables.leases import Lease
from tools.autonomy.gate import Since
from tools.autonomy.policy import CHANGE_FREEZE
from tools.autonomy.states import WAITING
from tools.autonomy.usage import (
    AT_WORK_COUNT,
    BOTH,
    CAUSE,
    SINCE,
    USAGE,
    Cause,
    Usage,
    asked_of,
    cause_in,
    since_in,
    usage_in,
)
from tools.kit.ledger import Purpose

PROPOSAL_LOCK = "autonomy:proposals"
"""Name of the lease row that serialises proposals; only its row lock is used, never its expiry."""

R = TypeVar("R")

EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class AutonomyRepository:
    """Queries over one session."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    def add(self, row: Action | Approval | Permit) -> None:
        """Put a new row into the unit of work."""
        self.session.add(row)

    async def hold_proposals(self) -> None:
        """Let one proposal at a time be judged, so that two can't both use the last of a budget."""
        await self.session.execute(
            upsert(Lease)
            .values(name=PROPOSAL_LOCK, owner="", expires_at=EPOCH, fence=0)
            .on_conflict_do_nothing()
        )
        await self.session.execute(
            select(Lease.name).where(Lease.name == PROPOSAL_LOCK).with_for_update()
        )

    async def action(self, action_id: str, *, lock: bool = False) -> Action | None:
        """One action, as it stands in the database now."""
        return await self._one(select(Action).where(Action.id == action_id), lock=lock)

    async def approval(self, approval_id: str, *, lock: bool = False) -> Approval | None:
        """One approval, as it stands in the database now."""
        return await self._one(select(Approval).where(Approval.id == approval_id), lock=lock)

    async def permit(
        self, action_id: str, purpose: Purpose, *, lock: bool = False
    ) -> Permit | None:
        """The permit of an action for one purpose."""
        query = select(Permit).where(Permit.action_id == action_id, Permit.purpose == purpose)
        return await self._one(query, lock=lock)

    async def actions_of(
        self,
        approval: Approval,
        *,
        lock: bool = False,
        states: Iterable[str] | None = None,
        after: int = -1,
    ) -> Sequence[Action]:
        """The actions an approval is about, in order; of an undo, the one to be undone."""
        column = Action.undo_approval_id if approval.kind == "undo" else Action.approval_id
        query = select(Action).where(column == approval.id, Action.position > after)
        if states is not None:
            query = query.where(Action.state.in_(list(states)))
        return await self._all(query.order_by(Action.position), lock=lock)

    async def later_siblings(self, action: Action) -> Sequence[Action]:
        """Locked: actions of the same approval that come after and haven't begun."""
        if action.approval_id is None:
            return []
        query = select(Action).where(
            Action.approval_id == action.approval_id,
            Action.position > action.position,
            Action.state.in_(WAITING),
        )
        return await self._all(query.order_by(Action.position), lock=True)

    async def unverified_before(self, action: Action) -> Action | None:
        """The first action of the same approval that must be verified before this one begins."""
        query = (
            select(Action)
            .where(
                Action.approval_id == action.approval_id,
                Action.position < action.position,
                Action.state != "verified",
            )
            .order_by(Action.position)
            .limit(1)
        )
        return await self._one(query)

    async def of_call(self, thread_id: str, tool_call_id: str) -> Sequence[Action]:
        """The actions one tool call of one thread has proposed."""
        query = select(Action).where(
            Action.thread_id == thread_id, Action.tool_call_id == tool_call_id
        )
        return await self._all(query.order_by(Action.position))

    async def holders(self, targets: Sequence[str]) -> Sequence[Action]:
        """Open actions that hold any of *targets*."""
        return await self._all(
            select(Action).where(Action.target.in_(targets), Action.state.in_(OPEN_STATES))
        )

    async def ready(self, executor: str, now: datetime) -> Sequence[tuple[Action, Permit]]:
        """Permitted, with a valid permit, and every earlier action of the approval verified."""
        earlier = aliased(Action)
        blocked = exists().where(
            earlier.approval_id == Action.approval_id,
            earlier.position < Action.position,
            earlier.state != "verified",
        )
        fits = or_(
            and_(Permit.purpose == "apply", Action.state == "permitted", ~blocked),
            and_(Permit.purpose == "undo", Action.state == "verified"),
        )
        rows = await self.session.execute(
            select(Action, Permit)
            .join(Permit, Permit.action_id == Action.id)
            .where(
                Action.executor == executor,
                Permit.consumed_at.is_(None),
                Permit.expires_at > now,
                fits,
            )
            .order_by(Permit.issued_at, Action.position, Action.id)
        )
        return [(action, permit) for action, permit in rows]

    async def waiting_for_incident(self, incident_id: str) -> Sequence[Action]:
        """Locked, approval by approval: actions of an incident that haven't begun."""
        query = select(Action).where(Action.incident_id == incident_id, Action.state.in_(WAITING))
        return await self._all(query.order_by(Action.approval_id, Action.position), lock=True)

    async def pending_of_incident(self, incident_id: str) -> Sequence[Approval]:
        """Locked: questions about an incident that wait for a person."""
        query = select(Approval).where(
            Approval.incident_id == incident_id, Approval.state == "pending"
        )
        return await self._all(query.order_by(Approval.id), lock=True)

    async def due_approvals(self, now: datetime) -> Sequence[Approval]:
        """Locked: questions nobody answered in time; one somebody is answering now is left."""
        query = select(Approval).where(Approval.state == "pending", Approval.expires_at <= now)
        return await self._all(query.order_by(Approval.id), lock=True, skip_locked=True)

    async def permits_run_out(self, now: datetime) -> Sequence[Action]:
        """Locked: permitted actions whose permit nobody used in time."""
        query = (
            select(Action)
            .join(Permit, and_(Permit.action_id == Action.id, Permit.purpose == "apply"))
            .where(
                Action.state == "permitted",
                Permit.consumed_at.is_(None),
                Permit.expires_at <= now,
            )
            .order_by(Action.approval_id, Action.position)
        )
        return await self._all(query, lock=True, skip_locked=True)

    async def list_approvals(
        self, tenant_id: str | None, *, state: str | None, limit: int
    ) -> Sequence[Approval]:
        """Newest first; of every tenant where *tenant_id* is None."""
        query = select(Approval).order_by(Approval.created_at.desc(), Approval.id).limit(limit)
        if tenant_id is not None:
            query = query.where(Approval.tenant_id == tenant_id)
        if state is not None:
            query = query.where(Approval.state == state)
        return await self._all(query)

    async def list_actions(
        self,
        tenant_id: str | None,
        *,
        limit: int,
        before: tuple[datetime, str] | None,
        incident_id: str | None,
        target: str | None,
    ) -> Sequence[Action]:
        """Newest first, older than *before* (time of creation and id) where given."""
        query = select(Action).order_by(Action.created_at.desc(), Action.id.desc()).limit(limit)
        if tenant_id is not None:
            query = query.where(Action.tenant_id == tenant_id)
        if incident_id is not None:
            query = query.where(Action.incident_id == incident_id)
        if target is not None:
            query = query.where(
                or_(
                    Action.target == target, Action.target.startswith(f"{target}/", autoescape=True)
                )
            )
        if before is not None:
            at, action_id = before
            query = query.where(
                or_(
                    Action.created_at < at,
                    and_(Action.created_at == at, Action.id < action_id),
                )
            )
        return await self._all(query)

    async def approvals_named(self, approval_ids: Iterable[str]) -> dict[str, Approval]:
        """Approvals by id."""
        query = select(Approval).where(Approval.id.in_(set(approval_ids)))
        return {approval.id: approval for approval in await self._all(query)}

    async def names(self, person_ids: Iterable[str]) -> dict[str, str]:
        """People's names by id; who is gone from the table is left out."""
        rows = await self.session.execute(
            select(Person.id, Person.name).where(Person.id.in_(set(person_ids)))
        )
        return {row.id: row.name for row in rows}

    async def incident(self, incident_id: str) -> Cause:
        """Target and kind of an incident, and whether it is open."""
        row = (await self.session.execute(CAUSE, {"incident": incident_id})).one_or_none()
        return cause_in(row)

    async def freezes(self, operation: str | None = None) -> Sequence[Freeze]:
        """Freezes in force: those of *operation* and the change freeze, or all of them."""
        query = select(Freeze).order_by(Freeze.operation)
        if operation is not None:
            query = query.where(Freeze.operation.in_([operation, CHANGE_FREEZE]))
        return await self._all(query)

    async def add_freeze(self, operation: str, reason: str, person_id: str, at: datetime) -> bool:
        """Freeze an operation; False where it is frozen already."""
        made = await self.session.execute(
            upsert(Freeze)
            .values(operation=operation, reason=reason, person_id=person_id, at=at)
            .on_conflict_do_nothing()
            .returning(Freeze.operation)
        )
        return made.first() is not None

    async def remove_freeze(self, operation: str) -> bool:
        """Lift a freeze; False where there is none."""
        gone = await self.session.execute(
            delete(Freeze).where(Freeze.operation == operation).returning(Freeze.operation)
        )
        return gone.first() is not None

    async def usage(self, operation: str, target: str, now: datetime) -> Usage:
        """What has happened lately, in one look."""
        asked = asked_of(operation, target, "", now)
        return usage_in((await self.session.execute(USAGE, asked)).one())

    async def usage_and_incident(
        self, operation: str, target: str, incident_id: str, now: datetime
    ) -> tuple[Usage, Cause]:
        """What `usage` and `incident` answer, in one look."""
        asked = asked_of(operation, target, incident_id, now)
        row = (await self.session.execute(BOTH, asked)).one()
        return usage_in(row), cause_in(row)

    async def since(self, action: Action) -> Since:
        """What may have changed since *action* was allowed, in one look."""
        warrant = action.warrant
        names_incident = warrant["kind"] == "incident"
        asked = {
            "operation": action.operation,
            "fingerprint": action.fingerprint,
            "everything": CHANGE_FREEZE,
            "incident": warrant["id"] if names_incident else "",
        }
        row = (await self.session.execute(SINCE, asked)).one()
        return since_in(row, names_incident=names_incident)

    async def at_work(self) -> int:
        """Actions begun and not ended."""
        return await self._count(AT_WORK_COUNT)

    async def audit(
        self, *, limit: int, before_seq: int | None, kind_prefix: str | None
    ) -> Sequence[AuditEntry]:
        """The audit log, newest first."""
        query = select(AuditEntry).order_by(AuditEntry.seq.desc()).limit(limit)
        if before_seq is not None:
            query = query.where(AuditEntry.seq < before_seq)
        if kind_prefix:
            query = query.where(AuditEntry.kind.startswith(kind_prefix, autoescape=True))
        return await self._all(query)

    async def _count(self, query: Select[int]) -> int:
        return (await self.session.execute(query)).scalar_one()

    async def _all(
        self, query: Select[R], *, lock: bool = False, skip_locked: bool = False
    ) -> Sequence[R]:
        """Rows of one table; a locked row is read anew, whatever the session knew of it."""
        if lock:
            table = query.column_descriptions[0]["entity"]
            query = query.with_for_update(of=table, skip_locked=skip_locked)
            query = query.execution_options(populate_existing=True)
        return (await self.session.execute(query)).scalars().all()

    async def _one(self, query: Select[R], *, lock: bool = False) -> R | None:
        rows = await self._all(query, lock=lock)
        return rows[0] if rows else None
