"""A healer's hands over one home, a fleet of values and a real database that may be left alone."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import select

from memory.audit_heads import new_key_pair
from memory.database import Database
from memory.ids import new_id
from memory.tables.autonomy import Action, AuditEntry, Permit
from memory.tables.identity import Person
from tests.fakes.clock import FakeClock
from tests.fakes.infrastructure import FakeInfrastructure
from tools.autonomy import policy, standing_approvals
from tools.autonomy.journal import Journal
from tools.autonomy.journal_replay import Fingerprints, none_known, replay
from tools.autonomy.standing_folder import StandingFolder
from tools.autonomy.standing_hands import StandingHands
from tools.autonomy.standing_renewal import EarnedInAdvance, Renewal
from tools.autonomy.standing_schemas import (
    Basis,
    Covered,
    LastKnown,
    StandingPermit,
    StandingView,
)
from tools.autonomy.standing_seal import ANYWHERE, Seal, place_of
from tools.catalogue import build_operations
from tools.kit.deps import Caller
from tools.kit.gatekeeper import Intention
from tools.kit.operation import OperationContext, Warrant
from tools.kit.standing import Readied, Withheld

RESTART = "healing.restart_replica"
TARGET = "catalog/catalog-1"


def restart(replica: str = "catalog-1", *, incident: str = "inc-1") -> Intention:
    """What an incident on a replica calls for."""
    service = replica.rpartition("-")[0]
    warrant = Warrant(
        kind="incident", id=incident, operation=RESTART, target=f"{service}/{replica}"
    )
    return Intention(RESTART, {"service": service, "replica": replica}, warrant)


class Outpost:
    """One home with its key; `hands` act, `renew` and `replay` need the database."""

    def __init__(
        self, home: Path, database: Database | None, clock: FakeClock, staff: Caller
    ) -> None:
        self.home = home
        self._database = database
        self.clock = clock
        self.staff = staff
        self.infrastructure = FakeInfrastructure(clock)
        self.operations = build_operations(archive_folder=home / "archive")
        self.context = OperationContext(self.infrastructure, clock)
        (home / "keys").mkdir(parents=True)
        (home / "keys" / "standing.key").write_bytes(new_key_pair()[0])
        self.path = home / "standing"
        self.earned: EarnedInAdvance | None = None
        self.fingerprint = ""
        self.hands = self.another()

    @property
    def database(self) -> Database:
        """The database, for tests that asked for one."""
        assert self._database is not None
        return self._database

    @property
    def seal(self) -> Seal:
        """The home's seal, as it stands on disk."""
        return Seal((self.home / "keys" / "standing.key").read_bytes(), place_of(self.home))

    def another(self) -> StandingHands:
        """The hands of a fresh process over the same home."""
        seal = self.seal
        hands = StandingHands(
            StandingFolder(self.path, seal),
            Journal(self.path, Seal((self.home / "keys" / "standing.key").read_bytes(), ANYWHERE)),
            self.operations,
            self.context,
            self.home / "locks",
            lambda _: self.fingerprint,
        )
        elapsed = [0.0]

        async def pause(seconds: float) -> None:
            elapsed[0] += seconds

        hands.driver = replace(hands.driver, pause=pause, timer=lambda: elapsed[0])
        return hands

    async def people(self) -> None:
        """The person behind `staff`."""
        async with self.database.unit_of_work() as session:
            assert self.staff.person_id
            session.add(
                Person(
                    id=self.staff.person_id,
                    email=None,
                    name=self.staff.name,
                    password_hash=None,
                    operator=False,
                    created_at=self.clock.now(),
                )
            )

    async def give(self, target: str = TARGET, **given: Any) -> StandingView:
        """Staff approve restarting *target* in advance."""
        values: dict[str, Any] = {"operation": RESTART, "days": 7, "reason": "nights"} | given
        caller = values.pop("caller", self.staff)
        async with self.database.unit_of_work() as session:
            return await standing_approvals.give(
                session,
                caller,
                values.pop("operation"),
                target,
                operations=self.operations,
                fleet=self.infrastructure.fleet(),
                clock=self.clock,
                **values,
            )

    async def revoke(self, approval_id: str) -> StandingView:
        """Staff take it back."""
        async with self.database.unit_of_work() as session:
            return await standing_approvals.revoke(
                session, self.staff, approval_id, operations=self.operations, clock=self.clock
            )

    async def renew(self) -> None:
        """A turn of the healer with the database there."""
        await Renewal(
            self.database, self.hands.folder, self.operations, self.context, self.earned
        ).renew()

    async def replay(self, fingerprints: Fingerprints = none_known) -> list[str]:
        """The database is back."""
        return await replay(self.database, self.hands.journal, self.clock, fingerprints)

    async def permitted(self, target: str = TARGET) -> None:
        """An approval, and the permit under it."""
        await self.give(target)
        await self.renew()

    def issue(self, *targets: str, **known: Any) -> None:
        """Permits as a renewal would have written them, without asking the database."""
        now = self.clock.now()
        basis = Basis(kind="approval", id="sta-1", granted_by="per-staff", text="approved by Ada")
        permits = [
            StandingPermit(
                id=new_id("per"),
                operation=RESTART,
                target=target,
                tenant_id=self.staff.tenant_id,
                covered=[Covered(labels={"adapter": "local"})],
                fingerprint="",
                basis=basis,
                issued_at=now,
                expires_at=now + policy.STANDING_PERMIT_FOR,
            )
            for target in targets or (TARGET,)
        ]
        for permit in permits:
            self.hands.folder.write(permit)
        self.hands.folder.trust(now)
        values: dict[str, Any] = {"effects": [], "unhelpful": [], "at_work": 0, "held": {}} | known
        ids = [permit.id for permit in permits]
        self.hands.folder.write_known(LastKnown(at=now, permits=ids, **values))

    async def ready(self, intention: Intention | None = None) -> Readied | Withheld:
        """Ask the hands."""
        wanted = intention or restart()
        return await self.hands.ready(wanted, incident_id=wanted.warrant.id)

    async def act(self, intention: Intention | None = None) -> str:
        """Repair without the database; the state it ended in, or why nothing was done."""
        readied = await self.ready(intention)
        if isinstance(readied, Withheld):
            return readied.reason
        return (await self.hands.drive(readied.action_id)).state

    @property
    def permits(self) -> list[Path]:
        """Files of permits."""
        return sorted(self.path.glob("per-*.json"))

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The journal as it is on disk."""
        path = self.path / "journal.jsonl"
        return [json.loads(x) for x in path.read_text().splitlines()] if path.exists() else []

    async def rows(self) -> list[tuple[str, str, str]]:
        """Id, target and state of every action in the database."""
        async with self.database.unit_of_work() as session:
            found = await session.execute(
                select(Action.id, Action.target, Action.state).order_by(Action.created_at)
            )
            return [(a, t, s) for a, t, s in found.all()]

    async def used(self) -> list[Permit]:
        """Permits in the database."""
        async with self.database.unit_of_work() as session:
            return list((await session.scalars(select(Permit).order_by(Permit.id))).all())

    async def kinds(self, prefix: str = "") -> list[str]:
        """Kinds of the audit rows, in order."""
        async with self.database.unit_of_work() as session:
            kinds = await session.scalars(select(AuditEntry.kind).order_by(AuditEntry.seq))
            return [kind for kind in kinds if kind.startswith(prefix)]
