"""Issues standing permits while the database is there, and takes back those nothing carries.

One turn reads everything under the folder's lock: who approved what in advance, what is frozen,
what the budget stands at. Written last is what was known, which lists the permits that count.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from memory import audit
from memory.database import Database
from memory.ids import new_id
from tools.autonomy import freeze_markers, policy
from tools.autonomy.repository import AutonomyRepository
from tools.autonomy.standing_folder import Found, StandingFolder
from tools.autonomy.standing_lock import held
from tools.autonomy.standing_repository import StandingRepository
from tools.autonomy.standing_rules import LOOK_BACK, never
from tools.autonomy.standing_schemas import Basis, Covered, LastKnown, StandingPermit
from tools.autonomy.standing_seal import Unsealed
from tools.kit.operation import Operation, OperationContext

RENEW_BEFORE = policy.STANDING_PERMIT_FOR / 2
"""A permit with less than this left is replaced by a new one."""
EARNED_KEPT = timedelta(seconds=15)
"""How long what evidence carries is taken from memory; a withdrawal counts at once."""
EARNED_SECONDS = 5.0
"""How long weighing evidence may take; beyond, nothing counts as earned in this turn."""
KNOWN_EVERY = timedelta(seconds=10)
"""How often what is known is written although nothing in it has changed."""
ACTOR = "engine:healer"

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Carried:
    """What carries a permit, of whatever target."""

    tenant_id: str
    covered: list[Covered]
    fingerprint: str
    basis: Basis


class EarnedInAdvance(Protocol):
    """Evidence as renewal meets it."""

    async def would_run(self, operation: Operation[Any]) -> Carried | None:
        """What a permit would rest on; None where the gate would ask."""
        ...


class Renewal:
    """Keeps the folder's permits true to the database."""

    def __init__(
        self,
        database: Database,
        folder: StandingFolder,
        operations: Mapping[str, Operation[Any]],
        context: OperationContext,
        earned: EarnedInAdvance | None = None,
    ) -> None:
        self._database = database
        self._folder = folder
        self._operations = operations
        self._context = context
        self._earned = earned
        self._asked: tuple[datetime, dict[str, Carried]] | None = None
        self._written: LastKnown | None = None

    async def renew(self) -> None:
        """Issue, keep or take back each permit, and write down what is known now.

        Raises:
            StoreError: the database is away; every permit stays as it is.
            OSError: the folder can't be written.
        """
        now = self._context.clock.now()
        earned = await self._earned_lately(now)
        async with held(self._folder.path):
            async with self._database.unit_of_work() as session:
                wanted = await self._wanted(session, earned, now)
                files = await asyncio.to_thread(self._folder.permits)
                used = await StandingRepository(session).used(
                    [found.permit.id for found in files if found.permit]
                )
                before = await asyncio.to_thread(self._before)
                kept, gone = _sorted(files, wanted, used, before.permits if before else (), now)
                fresh = [
                    _permit(key, carried_by, now)
                    for key, carried_by in wanted.items()
                    if key not in {(p.operation, p.target) for p in kept}
                ]
                await _audit(session, fresh, gone, now)
                known = await _known(session, [*kept, *fresh], before.journal if before else 0, now)
            await asyncio.to_thread(self._write, fresh, gone, known)

    def _before(self) -> LastKnown | None:
        """What was last known; None where nothing is, and then no permit is kept."""
        try:
            return self._folder.known()
        except Unsealed:
            return None

    async def _earned_lately(self, now: datetime) -> dict[str, Carried]:
        """What evidence carries; weighing it is dear, so it is asked again after a while only."""
        if self._earned is None:
            return {}
        if self._asked is not None and timedelta(0) <= now - self._asked[0] < EARNED_KEPT:
            return self._asked[1]
        found = {}
        try:
            async with asyncio.timeout(EARNED_SECONDS):
                for name in policy.STANDING:
                    if name in self._operations:
                        found[name] = await self._earned.would_run(self._operations[name])
        except TimeoutError:  # what people approved doesn't wait for it
            log.warning("standing.evidence_not_weighed", seconds=EARNED_SECONDS)
            return {}
        earned = {name: carried for name, carried in found.items() if carried is not None}
        self._asked = (now, earned)
        return earned

    async def _wanted(
        self, session: AsyncSession, earned: Mapping[str, Carried], now: datetime
    ) -> dict[tuple[str, str], Carried]:
        """What a permit is called for, by operation and target; nothing that is frozen."""
        fleet = self._context.infrastructure.fleet()
        repository = AutonomyRepository(session)
        frozen = {freeze.operation for freeze in await repository.freezes()}
        marked = self._folder.path
        approvals = await StandingRepository(session).active(now)
        names = await repository.names(a.person_id for a in approvals)
        wanted: dict[tuple[str, str], Carried] = {}
        withdrawn = await StandingRepository(session).withdrawn(
            [carried.fingerprint for carried in earned.values()]
        )
        for name in policy.STANDING:
            operation = self._operations.get(name)
            if operation is None or never(operation) or frozen & {name, policy.CHANGE_FREEZE}:
                continue
            if freeze_markers.frozen(marked, name):
                continue
            for target in operation.targets(fleet):
                row = next(
                    (a for a in approvals if (a.operation, a.target) == (name, target)), None
                )
                if row is not None:
                    by = names.get(row.person_id, "somebody who is gone")
                    basis = Basis(
                        kind="approval",
                        id=row.id,
                        granted_by=row.person_id,
                        text=f"approved in advance by {by} ({row.id})",
                    )
                    covered = [Covered(labels={"adapter": fleet.environment})]
                    wanted[name, target] = Carried(row.tenant_id, covered, "", basis)
                elif name in earned and (name, earned[name].fingerprint) not in withdrawn:
                    wanted[name, target] = earned[name]
        return wanted

    def _write(
        self, fresh: list[StandingPermit], gone: list[tuple[Found, str]], known: LastKnown
    ) -> None:
        for found, why in gone:
            if found.permit is None:
                log.warning("standing.permit_refused", file=found.path.name, why=why)
                found.path.replace(found.path.with_name(f"{found.path.name}.refused"))
            else:
                self._folder.remove(found.permit.id)
        self._folder.trust(known.at)
        for permit in fresh:
            self._folder.write(permit)
        if self._folder.lacks_known or _has_news(self._written, known):
            self._folder.write_known(known)
            self._written = known


def _has_news(before: LastKnown | None, known: LastKnown) -> bool:
    """Whether *known* says anything but another moment, or the moment has grown old."""
    if before is None or known.at - before.at >= KNOWN_EVERY or known.at < before.at:
        return True
    return known != before.model_copy(update={"at": known.at})


def _sorted(
    files: list[Found],
    wanted: Mapping[tuple[str, str], Carried],
    used: frozenset[str],
    in_force: Collection[str],
    now: datetime,
) -> tuple[list[StandingPermit], list[tuple[Found, str]]]:
    """Permits to keep, one for each operation and target, and files that go, with why."""
    kept: dict[tuple[str, str], StandingPermit] = {}
    gone = []
    for found in files:
        permit = found.permit
        if permit is None:
            gone.append((found, found.problem))
            continue
        key = (permit.operation, permit.target)
        if why := _outdated(permit, wanted.get(key), used, now):
            gone.append((found, why))
        elif permit.id not in in_force:
            gone.append((found, "it was used or taken back: it was not in force any more"))
        elif key in kept:
            gone.append((found, "there is another one"))
        else:
            kept[key] = permit
    return list(kept.values()), gone


def _outdated(
    permit: StandingPermit, carried_by: Carried | None, used: frozenset[str], now: datetime
) -> str:
    if permit.id in used:
        return "it was used"
    if carried_by is None:
        return "nothing carries it any more"
    carried = Carried(permit.tenant_id, permit.covered, permit.fingerprint, permit.basis)
    if carried != carried_by:
        return "it rests on something else now"
    if permit.issued_at > now:
        return "it is from the future"
    return "it is renewed" if permit.expires_at - now < RENEW_BEFORE else ""


def _permit(key: tuple[str, str], carried_by: Carried, now: datetime) -> StandingPermit:
    return StandingPermit(
        id=new_id("per"),
        operation=key[0],
        target=key[1],
        tenant_id=carried_by.tenant_id,
        covered=carried_by.covered,
        fingerprint=carried_by.fingerprint,
        basis=carried_by.basis,
        issued_at=now,
        expires_at=now + policy.STANDING_PERMIT_FOR,
    )


async def _known(
    session: AsyncSession, permits: list[StandingPermit], journal: int, now: datetime
) -> LastKnown:
    repository = StandingRepository(session)
    return LastKnown(
        at=now,
        permits=[permit.id for permit in permits],
        effects=await repository.effects(now - LOOK_BACK),
        unhelpful=await repository.unhelpful(now - timedelta(days=1)),
        at_work=await AutonomyRepository(session).at_work(),
        held=await repository.held(),
        journal=journal,
    )


async def _audit(
    session: AsyncSession, fresh: list[StandingPermit], gone: list[tuple[Found, str]], now: datetime
) -> None:
    for permit in fresh:
        await audit.append(
            session,
            at=now,
            actor=ACTOR,
            kind="standing.permit_issued",
            subject=permit.id,
            body=permit.model_dump(mode="json", exclude={"id"}),
        )
    for found, why in gone:
        refused = found.permit is None
        await audit.append(
            session,
            at=now,
            actor=ACTOR,
            kind="standing.permit_refused" if refused else "standing.permit_removed",
            subject=found.path.stem,
            body={"why": why},
        )
