"""Detection as a function: rounds in, statuses and findings out."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from tests.fakes.infrastructure import (
    FAILING,
    OK,
    REFUSED,
    TIMEOUT,
    FakeInfrastructure,
    campus,
    service,
)
from tools.healing.detection import assess, crashes
from tools.healing.findings import Identity, Picture
from tools.healing.policy import HealingPolicy
from tools.healing.probes import Round, StoreLook, look
from tools.kit.infrastructure import Fleet

POLICY = HealingPolicy()


class Film:
    """Rounds two seconds apart over a fake fleet."""

    def __init__(self, infrastructure: FakeInfrastructure, clock: FakeClock) -> None:
        self.infrastructure = infrastructure
        self.clock = clock
        self.rounds: list[Round] = []
        self.store: StoreLook | None = StoreLook(reachable=True, latency_ms=1.0)
        self.running: frozenset[str] = frozenset()

    async def shoot(self, rounds: int = 1) -> Picture:
        for _ in range(rounds):
            seen = await look(
                self.infrastructure,
                self.infrastructure.fleet(),
                None,
                clock=self.clock,
                policy=POLICY,
            )
            self.rounds.append(replace(seen, store=self.store))
            self.running |= {
                n for n, x in seen.looks.items() if x.facts and x.facts.status == "running"
            }
            self.clock.advance(seconds=2)
        return assess(
            self.rounds,
            self.infrastructure.fleet(),
            POLICY,
            began=self.rounds[0].at,
            seen_running=self.running,
        )


@pytest.fixture
async def film(infrastructure: FakeInfrastructure, clock: FakeClock) -> Film:
    film = Film(infrastructure, clock)
    await film.shoot(10)
    return film


def found(picture: Picture) -> list[str]:
    return sorted(f"{f.kind} {f.target}" for f in picture.findings)


Change = Callable[[FakeInfrastructure], object]


@pytest.mark.parametrize(
    ("change", "rounds", "status", "findings"),
    [
        (lambda i: i.freeze("catalog-1"), 1, "unknown", []),
        (lambda i: i.freeze("catalog-1"), 2, "unknown", []),
        (lambda i: i.freeze("catalog-1"), 3, "hung", ["hung catalog/catalog-1"]),
        (lambda i: i.hang("catalog-1"), 3, "hung", ["hung catalog/catalog-1"]),
        (lambda i: i.hang("catalog-1", REFUSED), 3, "hung", ["hung catalog/catalog-1"]),
        (lambda i: i.hang("catalog-1", FAILING), 9, "failing", []),
        (lambda i: i.hang("catalog-1", replace(OK, latency_ms=800.0)), 3, "slow", []),
        (lambda i: i.stop("catalog-1"), 1, "stopped", []),
        (lambda i: i.stop("catalog-1"), 4, "dead", ["dead catalog/catalog-1"]),
        (lambda i: i.stop("catalog-1", "fatal"), 1, "dead", ["dead catalog/catalog-1"]),
        (lambda i: i.stop("catalog-1", "backoff"), 2, "starting", []),
        (lambda i: i.stop("catalog-1", "backoff"), 6, "dead", ["dead catalog/catalog-1"]),
        (lambda i: i.start("catalog-1", answer=TIMEOUT), 5, "starting", []),
        (lambda i: i.start("catalog-1", answer=TIMEOUT), 9, "hung", ["hung catalog/catalog-1"]),
        (lambda i: i.start("catalog-1", answer=FAILING), 3, "starting", []),
    ],
)
async def test_a_change_of_one_replica_is_told_for_what_it_is(
    film: Film,
    infrastructure: FakeInfrastructure,
    change: Change,
    rounds: int,
    status: str,
    findings: list[str],
) -> None:
    change(infrastructure)
    picture = await film.shoot(rounds)
    assert picture.assessments["catalog-1"].status == status
    assert found(picture) == findings


async def test_one_answer_between_two_misses_starts_the_count_anew(
    film: Film, infrastructure: FakeInfrastructure
) -> None:
    infrastructure.hang("catalog-1")
    await film.shoot(2)
    infrastructure.hang("catalog-1", OK)
    await film.shoot(1)
    infrastructure.hang("catalog-1")
    assert found(await film.shoot(2)) == []


async def test_a_worker_without_a_door_hangs_only_when_it_is_stopped_by_a_signal(
    film: Film, infrastructure: FakeInfrastructure
) -> None:
    infrastructure.hang("worker-1")
    assert found(await film.shoot(5)) == []
    infrastructure.freeze("worker-1")
    assert found(await film.shoot(3)) == ["hung worker/worker-1"]


async def test_what_could_not_be_looked_at_is_unknown_and_no_fault(
    film: Film, infrastructure: FakeInfrastructure
) -> None:
    infrastructure.supervisor_up = False
    infrastructure.hang("catalog-1")
    picture = await film.shoot(10)
    assert picture.assessments["catalog-1"].status == "unknown"
    assert picture.assessments["worker-1"].status == "unknown"
    assert picture.assessments["catalog-2"].status == "healthy"
    assert "could not be looked at" in picture.assessments["catalog-2"].note
    assert found(picture) == []


async def test_programs_that_come_up_one_after_another_are_not_dead(
    infrastructure: FakeInfrastructure, clock: FakeClock
) -> None:
    for name in infrastructure.replicas:
        infrastructure.stop(name, note="not started")
    film = Film(infrastructure, clock)
    assert found(await film.shoot(9)) == []
    assert "dead catalog/catalog-1" in found(await film.shoot(3))


async def test_a_hung_dependency_explains_its_callers_errors(
    film: Film, infrastructure: FakeInfrastructure
) -> None:
    infrastructure.freeze("catalog-1")
    infrastructure.hang("player-1", FAILING)
    infrastructure.hang("player-2", FAILING)
    picture = await film.shoot(5)
    assert found(picture) == ["hung catalog/catalog-1"]
    assert picture.assessments["player-1"].because_of == "catalog/catalog-1"
    assert len(picture.symptoms["catalog/catalog-1"]) == 2


async def test_silence_of_every_caller_is_a_symptom_and_of_one_alone_is_not(
    film: Film, infrastructure: FakeInfrastructure
) -> None:
    infrastructure.freeze("catalog-1")
    infrastructure.freeze("catalog-2")
    infrastructure.hang("player-1")
    infrastructure.hang("player-2")
    both = await film.shoot(5)
    assert found(both) == ["hung catalog/catalog-1", "hung catalog/catalog-2"]
    infrastructure.hang("player-2", FAILING)
    one = await film.shoot(3)
    assert "hung player/player-1" in found(one)
    assert "hung player/player-2" not in found(one)


async def test_a_frozen_process_is_a_fault_of_its_own_whatever_is_below(
    film: Film, infrastructure: FakeInfrastructure
) -> None:
    film.store = StoreLook(reachable=False, error="refused")
    infrastructure.stop("postgres")
    infrastructure.freeze("player-1")
    infrastructure.stop("catalog-2", "fatal")
    assert found(await film.shoot(5)) == [
        "dead catalog/catalog-2",
        "hung player/player-1",
        "store_down postgres",
    ]


async def test_callers_whose_dependency_has_only_begun_to_fail_are_not_blamed_first(
    film: Film, infrastructure: FakeInfrastructure
) -> None:
    infrastructure.hang("player-1")
    infrastructure.hang("player-2")
    await film.shoot(2)
    infrastructure.hang("catalog-1")
    infrastructure.hang("catalog-2")
    assert found(await film.shoot(1)) == []
    infrastructure.hang("catalog-1", OK)
    infrastructure.hang("catalog-2", OK)
    assert found(await film.shoot(1)) == ["hung player/player-1", "hung player/player-2"]


async def test_one_missed_question_is_no_database_that_is_down(film: Film) -> None:
    film.store = StoreLook(reachable=False, error="timeout")
    assert found(await film.shoot(1)) == []
    picture = await film.shoot(1)
    assert found(picture) == ["store_down postgres"]
    assert picture.findings[0].since == film.rounds[-2].at


async def test_a_database_never_seen_has_time_to_start(
    infrastructure: FakeInfrastructure, clock: FakeClock
) -> None:
    film = Film(infrastructure, clock)
    film.store = StoreLook(reachable=False, error="refused")
    assert found(await film.shoot(8)) == []
    assert "store_down postgres" in found(await film.shoot(4))


def with_disks(clock: FakeClock, *names: str) -> tuple[FakeInfrastructure, dict[str, Path]]:
    folders = {name: Path(f"/data/{name}") for name in names}
    services = tuple(
        service(n, data=folders[n], archivable=(folders[n] / "old",) if n == "catalog" else ())
        for n in names
    )
    return FakeInfrastructure(clock, Fleet(services=services)), folders


async def test_a_filling_disk_is_found_in_the_second_round_and_keeps_its_distance(
    clock: FakeClock,
) -> None:
    infrastructure, folders = with_disks(clock, "catalog")
    film = Film(infrastructure, clock)
    infrastructure.fill(folders["catalog"], free_percent=9.9)
    assert found(await film.shoot(1)) == []
    assert found(await film.shoot(1)) == ["disk_filling catalog:data"]
    infrastructure.fill(folders["catalog"], free_percent=11.0)
    between = await film.shoot(1)
    assert found(between) == []
    assert between.disk_low == {"catalog"}
    infrastructure.fill(folders["catalog"], free_percent=12.5)
    assert (await film.shoot(1)).disk_low == frozenset()


async def test_a_disk_without_inodes_is_filling_too(clock: FakeClock) -> None:
    infrastructure, folders = with_disks(clock, "catalog")
    infrastructure.fill(folders["catalog"], free_percent=60, inodes=1.0)
    assert found(await Film(infrastructure, clock).shoot(2)) == ["disk_filling catalog:data"]


async def test_services_on_one_full_filesystem_are_one_incident_where_it_can_be_helped(
    clock: FakeClock,
) -> None:
    infrastructure, folders = with_disks(clock, "player", "catalog")
    for path in folders.values():
        infrastructure.fill(path, free_percent=5)
        infrastructure.disks[path] = replace(infrastructure.disks[path], limited=False)
    picture = await Film(infrastructure, clock).shoot(2)
    assert found(picture) == ["disk_filling catalog:data"]
    assert picture.findings[0].facts["shared_with"] == ["player"]


async def test_a_disk_that_can_not_be_read_is_neither_full_nor_well(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    infrastructure, _ = with_disks(clock, "catalog")
    film = Film(infrastructure, clock)

    async def stuck(path: Path) -> object:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(infrastructure, "disk", stuck)
    picture = await film.shoot(3)
    assert found(picture) == []
    assert picture.disk_low == {"catalog"}
    assert film.rounds[-1].problems == ("The disk of catalog: Input/output error",)


async def test_a_probe_that_never_returns_is_a_miss_and_holds_nothing_up(
    film: Film, infrastructure: FakeInfrastructure, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    calm = infrastructure.probe

    async def probe(replica: object, path: str, *, timeout: float) -> object:
        if getattr(replica, "name", "") == "catalog-1":
            await asyncio.sleep(60)
        return await calm(replica, path, timeout=timeout)  # type: ignore[arg-type]

    monkeypatch.setattr(infrastructure, "probe", probe)
    began = asyncio.get_running_loop().time()
    picture = await film.shoot(1)
    assert asyncio.get_running_loop().time() - began < 3
    assert picture.assessments["catalog-1"].status == "unknown"
    assert picture.assessments["catalog-2"].status == "healthy"


async def test_another_process_is_a_crash_and_a_rounded_start_time_is_not(
    film: Film, infrastructure: FakeInfrastructure
) -> None:
    facts = infrastructure.replicas["catalog-1"].facts
    assert facts.pid is not None
    assert facts.started_at is not None
    known = {"catalog-1": (Identity(facts.pid, facts.started_at), film.clock.now())}
    now = film.rounds[-1]
    assert crashes(campus(), known, now) == []
    rounded = {
        "catalog-1": (
            Identity(facts.pid, facts.started_at + timedelta(seconds=1)),
            film.clock.now(),
        )
    }
    assert crashes(campus(), rounded, now) == []
    reused = {
        "catalog-1": (Identity(facts.pid, facts.started_at - timedelta(hours=1)), film.clock.now())
    }
    assert [c.replica for c in crashes(campus(), reused, now)] == ["catalog-1"]
