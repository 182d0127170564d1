"""What the healer writes to the control database and what people read from it, on a real one."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from memory.database import Database
from memory.tables.autonomy import AuditEntry
from memory.tables.healing import Incident
from tests.fakes.clock import FakeClock
from tests.fakes.infrastructure import campus
from tools.healing import service
from tools.healing.control_store import HealerDatabase
from tools.healing.diagnosis import Diagnosis
from tools.healing.incidents import Case
from tools.healing.schemas import FleetView, ReplicaView, ServiceView
from tools.healing.watch import Sample
from tools.kit.deps import Caller
from tools.kit.errors import Forbidden, NotFound, Unavailable

WORDS = Diagnosis(
    title="catalog-1 does not answer",
    cause="Process 4711 is stopped (state T).",
    explanation="It holds its port.",
    evidence=({"for": True, "text": "No answer to 3 probes."},),
    before={"pid": 4711},
)


@pytest.fixture
def store(control_db: Database) -> HealerDatabase:
    return HealerDatabase(control_db)


def hung(clock: FakeClock, target: str = "catalog/catalog-1") -> Case:
    name, replica = target.split("/")
    return Case.open("hung", name, replica, target, WORDS, since=clock.now(), at=clock.now())


def seen(clock: FakeClock, status: str = "healthy", problems: list[str] | None = None) -> FleetView:
    replica = ReplicaView(
        name="catalog-1",
        status=status,  # type: ignore[arg-type]
        note="answers in 3 ms",
        pid=4711,
        started_at=clock.now(),
        restarts=2,
        since=clock.now(),
        signals={"latency_ms": 3.0},
    )
    catalog = ServiceView(
        name="catalog",
        title="Catalog",
        kind="fleet",
        status=replica.status,
        depends_on=[],
        replicas=[replica],
        open_incidents=[],
    )
    return FleetView(services=[catalog], looked_at=clock.now(), problems=problems or [])


async def test_an_incident_comes_back_with_its_timeline_and_its_actions(
    store: HealerDatabase, control_db: Database, clock: FakeClock, staff: Caller
) -> None:
    case = hung(clock)
    case.move("asking", clock.now(), "asked", "Restart?", action_ids=["act-1"], approval_id="apr-1")
    await store.save([case.view])
    async with control_db.unit_of_work() as session:
        read = await service.get_incident(session, staff, case.id)
    assert read == case.view
    assert read.action_ids == ["act-1"]
    assert await store.open_incidents() == [case.view]


async def test_saving_twice_writes_each_line_and_each_audit_row_once(
    store: HealerDatabase, control_db: Database, clock: FakeClock
) -> None:
    case = hung(clock)
    await store.save([case.view])
    await store.save([case.view])
    clock.advance(seconds=5)
    case.move("escalated", clock.now(), "escalated", "A person said no.", again=True)
    await store.save([case.view])
    await store.save([case.view])
    clock.advance(seconds=5)
    case.close(clock.now(), "It went away.", {"pid": 4711})
    await store.save([case.view])
    await store.save([case.view])
    async with control_db.unit_of_work() as session:
        kinds = (
            await session.scalars(
                select(AuditEntry.kind)
                .where(AuditEntry.subject == case.id)
                .order_by(AuditEntry.seq)
            )
        ).all()
    assert kinds == ["incident.opened", "incident.escalated", "incident.closed"]


async def test_an_incident_that_began_and_ended_without_the_database_is_told_whole(
    store: HealerDatabase, control_db: Database, clock: FakeClock, staff: Caller
) -> None:
    case = hung(clock)
    case.close(clock.advance(seconds=9), "It went away.", {})
    await store.save([case.view])
    async with control_db.unit_of_work() as session:
        kinds = (await session.scalars(select(AuditEntry.kind).order_by(AuditEntry.seq))).all()
        listed = await service.list_incidents(session, staff, open_only=False)
    assert kinds[-2:] == ["incident.opened", "incident.closed"]
    assert [i.id for i in listed] == [case.id]
    assert listed[0].timeline == []


async def test_a_second_open_incident_of_the_same_fault_is_not_stored(
    store: HealerDatabase, clock: FakeClock
) -> None:
    first, second = hung(clock), hung(clock)
    await store.save([first.view])
    with pytest.raises(Unavailable, match=first.id):
        await store.save([second.view])
    first.close(clock.now(), "done", {})
    await store.save([second.view, first.view])
    assert [i.id for i in await store.open_incidents()] == [second.id]


async def test_incidents_are_listed_newest_first_in_pages(
    store: HealerDatabase, control_db: Database, clock: FakeClock, staff: Caller
) -> None:
    cases = []
    for number in range(5):
        clock.advance(minutes=1)
        cases.append(hung(clock, f"catalog/catalog-{number}"))
    await store.save([c.view for c in cases])
    async with control_db.unit_of_work() as session:
        first = await service.list_incidents(session, staff, limit=2)
        rest = await service.list_incidents(session, staff, before=first[-1].opened_at)
    assert [i.id for i in first + rest] == [c.id for c in reversed(cases)]


async def test_the_fleet_shows_states_series_and_open_incidents(
    store: HealerDatabase, control_db: Database, clock: FakeClock, staff: Caller
) -> None:
    case = hung(clock)
    await store.save([case.view])
    samples = [
        Sample("catalog", "catalog-1", "latency_ms", clock.advance(seconds=6), float(n))
        for n in range(100)
    ]
    disk = Sample("catalog", "", "disk_free_percent", clock.now(), 60.0)
    await store.save_look(seen(clock, problems=["The disk of player can't be read."]), samples)
    await store.save_look(seen(clock, problems=["The disk of player can't be read."]), [disk])
    async with control_db.unit_of_work() as session:
        view = await service.fleet_view(session, staff, campus(), now=clock.now())
    catalog = view.services[0]
    assert catalog.status == "unknown", "the worst: catalog-2 has not been seen"
    assert catalog.open_incidents == [case.id]
    first, second = catalog.replicas
    assert (first.status, first.pid, first.restarts) == ("healthy", 4711, 2)
    assert second.note == "the healer has not seen it yet"
    [latency] = first.series
    assert latency.title == "Probe latency"
    assert len(latency.points) <= service.CHART_POINTS
    assert latency.points[-1][0] == samples[-1].at
    assert [s.name for s in catalog.series] == ["disk_free_percent"]
    assert view.problems == ["The disk of player can't be read."]
    assert view.looked_at == clock.now()


async def test_a_look_of_long_ago_is_told_as_one(
    store: HealerDatabase, control_db: Database, clock: FakeClock, staff: Caller
) -> None:
    async with control_db.unit_of_work() as session:
        never = await service.fleet_view(session, staff, campus(), now=clock.now())
    assert never.problems == ["The healer has not looked at the fleet yet."]
    await store.save_look(seen(clock), [])
    async with control_db.unit_of_work() as session:
        later = clock.now() + timedelta(seconds=45)
        view = await service.fleet_view(session, staff, campus(), now=later)
    assert view.problems == ["The healer last looked 45 s ago; it may not be running."]


async def test_a_replica_that_is_no_longer_described_goes(
    store: HealerDatabase, control_db: Database, clock: FakeClock
) -> None:
    await store.save_look(seen(clock), [])
    clock.advance(seconds=2)
    empty = seen(clock).model_copy(update={"services": []})
    await store.save_look(empty, [])
    async with control_db.unit_of_work() as session:
        states = await service.HealingRepository(session).replica_states()
    assert [(s.service, s.replica) for s in states] == [("", "")]


async def test_old_signals_go(store: HealerDatabase, clock: FakeClock) -> None:
    old = Sample("catalog", "catalog-1", "latency_ms", clock.now(), 1.0)
    new = Sample("catalog", "catalog-1", "latency_ms", clock.advance(hours=7), 2.0)
    await store.save_look(seen(clock), [old, new])
    assert await store.forget_signals(clock.now() - timedelta(hours=6)) == 1
    assert await store.forget_signals(clock.now() - timedelta(hours=6)) == 0


async def test_only_callers_with_the_fleet_may_read_it(
    control_db: Database, clock: FakeClock, staff: Caller
) -> None:
    learner = Caller(
        tenant_id=staff.tenant_id,
        tenant_slug=staff.tenant_slug,
        person_id="per-1",
        name="Lea",
        roles=frozenset({"learner"}),
        fleet=True,
    )
    async with control_db.unit_of_work() as session:
        with pytest.raises(Forbidden):
            await service.fleet_view(session, learner, campus())
        with pytest.raises(Forbidden):
            await service.list_incidents(session, learner)
        with pytest.raises(Forbidden):
            await service.get_incident(session, learner, "inc-1")
        with pytest.raises(NotFound, match="inc-1"):
            await service.get_incident(session, staff, "inc-1")


def test_fewer_points_are_averages_that_end_at_the_newest(clock: FakeClock) -> None:
    points = [(clock.advance(seconds=1), float(n)) for n in range(7)]
    assert service.downsample(points, 10) == points
    fewer = service.downsample(points, 3)
    assert [v for _, v in fewer] == [0.0, 2.0, 5.0]
    assert fewer[-1][0] == points[-1][0]


async def test_a_stored_state_nobody_knows_is_an_error_and_no_guess(
    store: HealerDatabase, control_db: Database, clock: FakeClock, staff: Caller
) -> None:
    case = hung(clock)
    await store.save([case.view])
    async with control_db.unit_of_work() as session:
        await session.execute(update(Incident).values(state="dreaming"))
    with pytest.raises(ValueError, match="dreaming"):
        async with control_db.unit_of_work() as session:
            await service.get_incident(session, staff, case.id)
