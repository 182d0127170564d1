"""The healer as its process composes it: real database, real gate; the fleet fake or real."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import func, select

from graphs.healer import Healer, compose
from graphs.settings import Settings
from memory.database import Database, read_url
from memory.embedded_postgres import EmbeddedPostgres
from memory.tables.autonomy import Action, Approval, AuditEntry
from memory.tables.identity import Person
from tests.fakes.infrastructure import FakeInfrastructure
from tests.fakes.supervised import ANSWERS, Supervised, free_port, python
from tools.autonomy import service as autonomy
from tools.autonomy.policy import AutonomyConfig
from tools.healing import service as healing
from tools.healing.local_store import read_incidents
from tools.healing.policy import HealingPolicy
from tools.healing.schemas import IncidentView
from tools.identity.service import ensure_first_academy
from tools.kit.clock import SystemClock
from tools.kit.deps import Caller

FAST = HealingPolicy(
    probe_seconds=0.1,
    probe_timeout=0.5,
    dead_after=0.4,
    startup_grace=0.2,
    first_look_grace=0.3,
    sample_seconds=0.2,
    busy_retry_seconds=0.2,
)
FLEET = """
[fleet]
title = "Test"
[[service]]
name = "catalog"
title = "Catalog"
program = "nowhere"
replicas = 2
health_path = "/healthz"
"""


async def eventually(
    holds: Callable[[], Awaitable[object]], *, seconds: float = 30, why: str = ""
) -> None:
    """Poll until *holds* is true."""
    deadline = time.monotonic() + seconds
    while not await holds():
        assert time.monotonic() < deadline, why
        await asyncio.sleep(0.05)


class Academy:
    """A home, a person and the database of one academy."""

    def __init__(self, home: Path, control_url: str, database: Database) -> None:
        self.settings = Settings(home=home, database_url=control_url)  # type: ignore[arg-type]
        self.database = database
        self.clock = SystemClock()
        self.staff: Caller

    async def found(self) -> "Academy":
        """Keys, tenant and the first person."""
        keys = self.settings.paths.keys
        keys.mkdir(parents=True)
        pem = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (keys / "audit.key").write_bytes(pem)
        async with self.database.unit_of_work() as session:
            tenant, person = await ensure_first_academy(session, self.clock)
            self.staff = self._caller(tenant.id, tenant.slug, person)
        return self

    @staticmethod
    def _caller(tenant_id: str, slug: str, person: Person) -> Caller:
        return Caller(
            tenant_id=tenant_id,
            tenant_slug=slug,
            person_id=person.id,
            name=person.name,
            roles=frozenset({"staff", "operator"}),
            fleet=True,
        )

    async def incidents(self) -> list[IncidentView]:
        """As people read them."""
        async with self.database.unit_of_work() as session:
            return await healing.list_incidents(session, self.staff)

    async def answer_once(self, decision: str) -> bool:
        """Answer the open question as shown; whether there was one."""
        async with self.database.unit_of_work() as session:
            found = await autonomy.list_approvals(session, self.staff, state="pending")
            if found:
                await autonomy.decide(
                    session,
                    self.staff,
                    found[0].id,
                    decision=decision,  # type: ignore[arg-type]
                    digest=found[0].digest,
                    clock=self.clock,
                    config=AutonomyConfig(locks=self.settings.paths.locks),
                )
            return bool(found)

    async def answer(self, decision: str) -> None:
        """Wait for the question and answer it as shown."""

        async def asked() -> bool:
            return await self.answer_once(decision)

        await eventually(asked, why="nobody was asked")

    async def in_state(self, target: str, state: str, *, seconds: float = 30) -> None:
        """Wait until the newest incident on *target* is in *state*."""

        async def holds() -> bool:
            found = [i for i in await self.incidents() if i.target == target]
            return bool(found) and found[0].state == state

        await eventually(holds, seconds=seconds, why=f"{target} did not become {state}")

    async def actions(self) -> list[tuple[str, str]]:
        """Target and state of every action."""
        async with self.database.unit_of_work() as session:
            rows = await session.execute(
                select(Action.target, Action.state).order_by(Action.created_at)
            )
            return [(target, state) for target, state in rows.all()]


@pytest.fixture
async def academy(tmp_path: Path, control_url: str, control_db: Database) -> Academy:
    return await Academy(tmp_path / "a home", control_url, control_db).found()


@pytest.fixture
def fleet() -> FakeInfrastructure:
    return FakeInfrastructure(SystemClock())


@asynccontextmanager
async def running(academy: Academy, fleet: FakeInfrastructure) -> AsyncIterator[Healer]:
    """A healer in this process."""
    healer = compose(academy.settings, infrastructure=fleet, policy=FAST)
    stop = asyncio.Event()
    task = asyncio.create_task(healer.run(stop))
    try:
        yield healer
    finally:
        stop.set()
        await asyncio.wait_for(task, 20)


async def test_a_frozen_replica_is_asked_about_restarted_verified_and_told(
    academy: Academy, fleet: FakeInfrastructure
) -> None:
    async with running(academy, fleet):
        await eventually(academy_looked(academy))
        fleet.freeze("catalog-1")
        await academy.answer("approve")
        await academy.in_state("catalog/catalog-1", "closed")
    assert fleet.restarted == ["catalog-1"]
    assert await academy.actions() == [("catalog/catalog-1", "verified")]
    [incident] = await academy.incidents()
    assert incident.resolution.startswith("Repaired")
    async with academy.database.unit_of_work() as session:
        kinds = (await session.scalars(select(AuditEntry.kind).order_by(AuditEntry.seq))).all()
    assert kinds.index("incident.opened") < kinds.index("approval.approved")
    assert kinds[-1] == "incident.closed"
    heads = academy.settings.paths.audit / f"{academy.database.name}.heads.jsonl"
    assert heads.exists(), "the head of the audit chain was signed"


async def test_a_question_nobody_answers_expires_and_calls_a_person(
    academy: Academy, fleet: FakeInfrastructure
) -> None:
    async with running(academy, fleet):
        fleet.freeze("catalog-1")
        await academy.in_state("catalog/catalog-1", "asking")
        async with academy.database.unit_of_work() as session:
            approval = (await session.scalars(select(Approval))).one()
            approval.expires_at = academy.clock.now()
        await academy.in_state("catalog/catalog-1", "escalated")
    assert fleet.restarted == []


async def test_with_the_real_database_gone_finding_goes_on_and_asking_follows(
    academy: Academy, fleet: FakeInfrastructure, postgres: EmbeddedPostgres
) -> None:
    folder = academy.settings.paths.healer

    async def explained() -> bool:
        found = {i.target: i for i in read_incidents(folder)}
        return {"postgres", "catalog/catalog-1"} <= set(found) and all(
            i.state == "waiting" for i in found.values()
        )

    async with running(academy, fleet):
        await eventually(academy_looked(academy))
        admit(postgres, academy.database.name, admitted=False)
        fleet.freeze("catalog-1")
        await eventually(explained, why="the fault was not explained without the database")
        assert fleet.restarted == []
        admit(postgres, academy.database.name, admitted=True)
        await academy.answer("approve")
        await academy.in_state("catalog/catalog-1", "closed")
        await academy.in_state("postgres", "closed")
    assert fleet.restarted == ["catalog-1"]
    assert len(await academy.incidents()) == 2


async def test_the_healer_keeps_going_whatever_the_gate_answers(
    academy: Academy, fleet: FakeInfrastructure, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> object:
        raise RuntimeError("a defect")

    async with running(academy, fleet) as healer:
        await eventually(academy_looked(academy))
        monkeypatch.setattr(fleet, "disk", broken)
        monkeypatch.setattr(healer.loop.work, "tick", broken)
        fleet.freeze("catalog-1")
        await academy.in_state("catalog/catalog-1", "asking")


def academy_looked(academy: Academy) -> Callable[[], Awaitable[bool]]:
    """Whether the healer has written what it saw."""

    async def looked() -> bool:
        async with academy.database.unit_of_work() as session:
            view = await healing.fleet_view(
                session, academy.staff, FakeInfrastructure(academy.clock).fleet()
            )
        return view.looked_at is not None

    return looked


def admit(postgres: EmbeddedPostgres, name: str, *, admitted: bool) -> None:
    """Close or open one database of the server, ending every connection to it."""
    url = read_url(postgres.url("postgres")).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as server:
        server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {admitted}')  # type: ignore[call-overload]
        if not admitted:
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )


@pytest.fixture
def supervised(academy: Academy) -> Iterator[Supervised]:
    """Two real replicas under a real supervisor, where this academy's healer looks."""
    home = academy.settings.paths
    ports = {"catalog-1": free_port(), "catalog-2": free_port()}
    world = Supervised(
        home.path, {n: python(ANSWERS, p) for n, p in ports.items()}, sockets=home.sockets
    )
    world.write_ports(ports)
    home.fleet_file.write_text(FLEET)
    world.start()
    for name in ports:
        world.wait_for(name, "RUNNING")
    yield world
    world.stop()


def start_healer(academy: Academy) -> subprocess.Popen[bytes]:
    """The healer's own program."""
    assert academy.settings.database_url is not None
    environment = os.environ | {
        "ACADEMY_HOME": str(academy.settings.paths.path),
        "ACADEMY_DATABASE_URL": academy.settings.database_url.get_secret_value(),
        "ACADEMY_PROBE_SECONDS": "0.5",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "graphs.healer"],
        env=environment,
        cwd=Path(__file__).parents[2],
        stdout=subprocess.DEVNULL,
    )


@pytest.mark.timeout(180)
async def test_a_healer_killed_during_a_repair_leaves_it_settled_once(
    academy: Academy, supervised: Supervised
) -> None:
    healer = start_healer(academy)
    try:
        await eventually(academy_looked(academy), seconds=60)
        pid = supervised.wait_for("catalog-1", "RUNNING")
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        await academy.answer("approve")

        async def begun() -> bool:
            return (await academy.actions())[0][1] in ("intended", "applied", "verified")

        await eventually(begun)
        healer.kill()
        healer.wait()
        healer = start_healer(academy)

        async def settled() -> bool:
            states = {state for _, state in await academy.actions()}
            return states <= {"verified", "failed", "withdrawn", "escalated", "stuck"}

        await eventually(settled, seconds=60)

        async def answered() -> bool:
            # A restart cut off half way is asked about anew, as the dead replica it left.
            await academy.answer_once("approve")
            found = await academy.incidents()
            return all(i.closed_at or i.state == "escalated" for i in found)

        await eventually(answered, seconds=60, why="an incident was neither closed nor handed on")
        healer.send_signal(signal.SIGTERM)
        assert healer.wait(timeout=30) == 0
    finally:
        if healer.poll() is None:
            healer.kill()
            healer.wait()
    # Killed between intent and effect nothing has happened, and a person is called.
    untouched = [state for _, state in await academy.actions()] == ["failed"]
    assert (supervised.wait_for("catalog-1", "RUNNING") == pid) == untouched
    async with academy.database.unit_of_work() as session:
        begun_once = await session.scalar(
            select(func.count(AuditEntry.seq)).where(AuditEntry.kind == "action.intended")
        )
        actions = await session.scalar(select(func.count(Action.id)))
    assert begun_once is not None
    assert actions is not None
    assert 0 < begun_once <= actions, "none was begun twice"
