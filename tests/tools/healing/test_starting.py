"""Start-up: no incident and no question for what only has not come up yet."""

from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from tests.fakes.healing import Bench
from tests.fakes.infrastructure import OK, REFUSED, TIMEOUT, FakeInfrastructure, campus, service
from tools.healing.operations import build_operations
from tools.kit.infrastructure import Fleet


@pytest.fixture
def infrastructure(clock: FakeClock) -> FakeInfrastructure:
    """The campus and a web replica of the academy's own, all well."""
    web = service("web", kind="academy", depends_on=("postgres",))
    return FakeInfrastructure(clock, Fleet(services=(*campus().services, web)))


@pytest.fixture
def bench(tmp_path: Path, infrastructure: FakeInfrastructure, clock: FakeClock) -> Bench:
    """A healer that has just been started."""
    operations = build_operations(archive_folder=tmp_path / "archive")
    return Bench(tmp_path, infrastructure, clock, operations)


def status(bench: Bench, replica: str) -> str:
    assert bench.store.view is not None
    replicas = {r.name: r for s in bench.store.view.services for r in s.replicas}
    return replicas[replica].status


def start_anew(infrastructure: FakeInfrastructure) -> None:
    """Every process is another one, and none answers yet."""
    for name in infrastructure.replicas:
        infrastructure.start(name, answer=REFUSED)


async def test_the_academys_own_process_has_its_longer_grace(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    start_anew(infrastructure)
    for name in infrastructure.replicas:
        if name != "web":
            infrastructure.hang(name, OK)
    await bench.turn(16)
    assert status(bench, "web") == "starting"
    infrastructure.hang("web", OK)
    await bench.turn(3)
    assert status(bench, "web") == "healthy"
    assert bench.loop.cases == []
    assert bench.gate.proposals == 0


async def test_one_that_never_answers_is_found_once_its_grace_is_over(
    bench: Bench, infrastructure: FakeInfrastructure, clock: FakeClock
) -> None:
    infrastructure.start("web", answer=TIMEOUT)
    began = clock.now()
    incident = await bench.until("asking", within=30)
    assert (incident.kind, incident.target) == ("hung", "web/web")
    assert 45 <= (incident.opened_at - began).total_seconds() <= 50
    assert any("has not been seen answering" in p["text"] for p in incident.evidence)


async def test_a_young_process_that_answered_once_has_no_grace(
    bench: Bench, infrastructure: FakeInfrastructure, clock: FakeClock
) -> None:
    infrastructure.start("web")
    await bench.turn(3)
    infrastructure.hang("web")
    began = clock.now()
    incident = await bench.until("asking")
    assert (incident.opened_at - began).total_seconds() <= 8


async def test_that_it_answered_is_known_to_the_next_healer(
    bench: Bench, infrastructure: FakeInfrastructure, clock: FakeClock
) -> None:
    infrastructure.start("web")
    await bench.turn(3)
    infrastructure.hang("web")
    await bench.restart()
    began = clock.now()
    incident = await bench.until("asking", within=30)
    assert (incident.opened_at - began).total_seconds() <= bench.policy.first_look_grace + 2


async def test_a_healer_that_has_just_begun_to_look_blames_nobody_it_never_saw_well(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    for name in ("catalog-1", "catalog-2", "web"):
        infrastructure.hang(name)
    await bench.turn(9)
    assert bench.loop.cases == []
    for name in ("catalog-1", "catalog-2", "web"):
        infrastructure.hang(name, OK)
    await bench.turn(5)
    assert bench.loop.cases == []


async def test_a_frozen_process_is_certain_from_the_first_rounds(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    infrastructure.freeze("web")
    assert (await bench.until("asking", within=4)).target == "web/web"


async def test_a_process_without_a_known_start_counts_from_the_first_look(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    infrastructure.start("web", answer=REFUSED)
    facts = infrastructure.replicas["web"].facts
    object.__setattr__(facts, "started_at", None)
    await bench.turn(15)
    assert status(bench, "web") == "starting"
    assert bench.loop.cases == []


async def test_an_academy_started_again_within_seconds_accuses_nobody(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(10)
    for name in infrastructure.replicas:
        infrastructure.stop(name, note="not started")
    infrastructure.start("postgres")
    await bench.restart()
    await bench.turn(2)
    for name in infrastructure.replicas:
        if name != "postgres":
            infrastructure.start(name, answer=REFUSED)
            await bench.turn(1)
    for name in infrastructure.replicas:
        infrastructure.hang(name, OK)
    await bench.turn(5)
    assert bench.loop.cases == []
    assert bench.alerts == []


async def test_programs_not_started_yet_are_not_dead_for_having_run_before(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(10)
    infrastructure.stop("web", note="not started")
    await bench.restart()
    await bench.turn(8)
    assert bench.loop.cases == []
    assert (await bench.until("asking")).kind == "dead"


async def test_a_database_that_recovers_is_starting_and_not_down(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(15)
    bench.store.up = False
    infrastructure.start("postgres", answer=REFUSED)
    await bench.turn(10)
    assert [c.kind for c in bench.loop.cases if c.kind == "store_down"] == []
    bench.store.up = True
    await bench.turn(5)
    assert bench.gate.proposals == 0
    bench.store.up = False
    await bench.turn(3)
    assert [c.kind for c in bench.loop.cases if c.kind == "store_down"] == ["store_down"]


async def test_a_replaced_process_may_take_its_grace_before_a_person_is_called(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(15)
    infrastructure.start("web", answer=REFUSED)
    await bench.turn(20)
    assert bench.standing == ["crashed web/web verifying"]
    infrastructure.hang("web", OK)
    assert "No action was needed" in (await bench.until("closed")).resolution
    assert not any("NEEDS A PERSON" in line for line in bench.alerts)


async def test_a_replaced_process_that_never_answers_calls_a_person_after_its_grace(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(15)
    infrastructure.start("web", answer=REFUSED)
    await bench.turn(22)
    assert bench.gate.proposals == 0
    await bench.turn(6)
    assert bench.gate.proposals == 1
