"""The incident loop when something of its own is away: the database, its files, itself."""

import asyncio

from tests.fakes.clock import FakeClock
from tests.fakes.healing import Bench
from tests.fakes.infrastructure import FAILING, TIMEOUT, FakeInfrastructure
from tools.healing.local_store import read_fleet_view, read_incidents


async def test_a_fault_that_goes_away_while_the_database_is_down_closes_when_it_is_back(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(10)
    infrastructure.freeze("catalog-1")
    asked = await bench.until("asking")
    bench.store.up = False
    infrastructure.thaw("catalog-1")
    await bench.turn(10)
    assert "hung catalog/catalog-1 verifying" in bench.standing
    bench.store.up = True
    await bench.turn(6)
    assert bench.gate.withdrawn == [asked.id]
    assert {c.state for c in bench.loop.cases} == {"closed"}


async def test_a_database_that_is_started_again_has_not_crashed_as_well(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(10)
    bench.store.up = False
    infrastructure.stop("postgres")
    await bench.turn(2)
    bench.store.up = True
    infrastructure.start("postgres")
    await bench.turn(6)
    assert bench.standing == ["store_down postgres closed"]


async def test_with_the_database_down_a_fault_is_found_and_explained_and_waits(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(10)
    bench.store.up = False
    infrastructure.stop("postgres")
    await bench.turn(3)
    assert bench.standing == ["store_down postgres waiting"]
    infrastructure.freeze("catalog-1")
    await bench.turn(5)
    assert "hung catalog/catalog-1 waiting" in bench.standing
    on_disk = {i.target: i for i in read_incidents(bench.local.folder)}
    hung = on_disk["catalog/catalog-1"]
    assert "state T" in hung.cause
    assert "database is down" in hung.timeline[-1].text
    assert bench.store.incidents == {}

    bench.store.up = True
    infrastructure.start("postgres")
    await bench.turn(2)
    assert "hung catalog/catalog-1 asking" in bench.standing
    bench.gate.decide("approved")
    await bench.turn(6)
    assert infrastructure.restarted == ["catalog-1"]
    closed = [c for c in bench.store.incidents.values() if c.closed_at]
    assert {c.kind for c in closed} >= {"hung", "store_down"}


async def test_services_failing_because_the_database_is_down_are_symptoms(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(10)
    bench.store.up = False
    infrastructure.stop("postgres")
    for name in ("catalog-1", "catalog-2"):
        infrastructure.hang(name, FAILING)
    for name in ("player-1", "player-2"):
        infrastructure.hang(name, TIMEOUT)
    await bench.turn(20)
    assert [c.kind for c in bench.loop.cases] == ["store_down"]
    [store] = bench.loop.cases
    told = " ".join(p["text"] for p in store.evidence)
    assert "catalog-1" in told
    assert "player-2" in told


async def test_a_database_that_stays_down_calls_a_person(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(10)
    bench.store.up = False
    infrastructure.stop("postgres")
    incident = await bench.until("escalated", within=50)
    assert incident.kind == "store_down"
    bench.store.up = True
    infrastructure.start("postgres")
    await bench.until("closed")


async def test_a_healer_restarted_in_the_middle_of_a_repair_finishes_it_once(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(10)
    infrastructure.freeze("catalog-1")
    await bench.until("asking")
    bench.gate.hold = asyncio.Event()
    bench.gate.decide("approved")
    await bench.turn(2)
    for task in bench.loop.work.tasks:
        task.cancel()
    bench.gate.hold = None
    await bench.restart()
    incident = await bench.until("closed")
    assert infrastructure.restarted == ["catalog-1"]
    assert bench.gate.recovered == 2
    assert incident.resolution.startswith("Repaired:")
    assert len(bench.store.incidents) == 1


async def test_a_healer_restarted_with_the_database_down_goes_on_from_its_files(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(10)
    infrastructure.freeze("catalog-1")
    asked = await bench.until("asking")
    bench.store.up = False
    await bench.restart()
    await bench.turn(15)
    assert [c.id for c in bench.loop.cases if c.kind == "hung"] == [asked.id]
    bench.store.up = True
    await bench.turn(2)
    bench.gate.decide("approved")
    await bench.turn(6)
    assert bench.gate.proposals == 1
    assert infrastructure.restarted == ["catalog-1"]


async def test_a_healer_that_lost_its_files_continues_the_stored_incident(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(10)
    infrastructure.freeze("catalog-1")
    asked = await bench.until("asking")
    for path in bench.local.folder.iterdir():
        path.unlink()
    bench.store.up = False
    await bench.restart()
    await bench.turn(12)
    assert [c.kind for c in bench.loop.cases].count("hung") == 1
    bench.store.up = True
    await bench.turn(3)
    assert [c.id for c in bench.loop.cases if c.kind == "hung"] == [asked.id]
    assert bench.gate.proposals == 1


async def test_an_academy_started_anew_has_not_crashed(
    bench: Bench, infrastructure: FakeInfrastructure, clock: FakeClock
) -> None:
    await bench.turn(10)
    for name in infrastructure.replicas:
        infrastructure.start(name)
    await bench.restart()
    await bench.turn(5)
    assert bench.loop.cases == []


async def test_a_replica_killed_while_the_healer_was_away_is_a_crash(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(10)
    infrastructure.start("catalog-1")
    await bench.restart()
    incident = await bench.until("closed")
    assert incident.kind == "crashed"


async def test_a_supervisor_that_does_not_answer_makes_nothing_healthy_and_nothing_dead(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(10)
    infrastructure.supervisor_up = False
    await bench.turn(10)
    view = read_fleet_view(bench.local.folder)
    assert view is not None
    worker = next(s for s in view.services if s.name == "worker")
    assert worker.status == "unknown"
    assert any("supervisor" in p for p in view.problems)
    assert bench.loop.cases == []


async def test_files_that_can_not_be_written_are_told_and_written_later(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(3)
    folder = bench.local.folder
    folder.rename(folder.with_name("aside"))
    folder.write_text("in the way")
    infrastructure.freeze("catalog-1")
    await bench.turn(10)
    assert any("can't be written" in p for p in bench.loop.problems)
    assert bench.standing == ["hung catalog/catalog-1 asking"]
    folder.unlink()
    await bench.turn(1)
    assert read_incidents(folder)[0].target == "catalog/catalog-1"
    assert bench.loop.problems == []
    assert len(bench.alerts) == 2
