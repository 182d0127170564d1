"""The words for a finding: cause, explanation, evidence for and against, with figures."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from tests.fakes.infrastructure import FAILING, TIMEOUT, FakeInfrastructure, service
from tools.healing.detection import assess, crashes
from tools.healing.diagnosis import Diagnosis, diagnose, diagnose_crash
from tools.healing.findings import Identity
from tools.healing.policy import HealingPolicy
from tools.healing.probes import Round, StoreLook, look
from tools.kit.infrastructure import Fleet

POLICY = HealingPolicy()


async def explain(
    infrastructure: FakeInfrastructure, clock: FakeClock, *, store: bool = True, rounds: int = 5
) -> list[Diagnosis]:
    history: list[Round] = []
    running = frozenset(infrastructure.replicas)
    fleet = infrastructure.fleet()
    for _ in range(rounds):
        seen = await look(infrastructure, fleet, None, clock=clock, policy=POLICY)
        down = StoreLook(reachable=False, error="connection refused")
        history.append(replace(seen, store=StoreLook(reachable=True) if store else down))
        clock.advance(seconds=20 if len(history) == 1 else 2)
    picture = assess(history, fleet, POLICY, began=history[0].at, seen_running=running)
    return [
        diagnose(f, history[-1], fleet, POLICY, symptoms=picture.symptoms.get(f.target, ()))
        for f in picture.findings
    ]


def points(diagnosis: Diagnosis, *, speaks_for: bool) -> str:
    return " ".join(p["text"] for p in diagnosis.evidence if p["for"] is speaks_for)


async def test_a_frozen_process_is_named_with_its_pid_and_state(
    infrastructure: FakeInfrastructure, clock: FakeClock
) -> None:
    infrastructure.freeze("catalog-1")
    [diagnosis] = await explain(infrastructure, clock)
    pid = infrastructure.pid("catalog-1")
    assert diagnosis.cause == (
        f"Process {pid} of catalog-1 is stopped (state T): something froze it."
    )
    said = points(diagnosis, speaks_for=True)
    assert "No answer to 5 probes of 1.0 s since 09:00:00 (timeout x5)." in said
    assert "catalog-2 of the same service answers in 3 ms" in said
    assert "database" not in said, "nothing it calls could freeze it"
    assert diagnosis.before["pid"] == pid


async def test_why_a_running_process_is_silent_is_said_as_unknown(
    infrastructure: FakeInfrastructure, clock: FakeClock
) -> None:
    infrastructure.hang("catalog-1")
    [diagnosis] = await explain(infrastructure, clock)
    assert "why is unknown" in diagnosis.cause
    assert "The database answers" in points(diagnosis, speaks_for=True)
    assert "It uses 1 % of a core: it waits." in points(diagnosis, speaks_for=True)
    assert "has not been seen answering" in points(diagnosis, speaks_for=False)


async def test_a_sibling_with_the_same_trouble_speaks_against_a_cause_of_its_own(
    infrastructure: FakeInfrastructure, clock: FakeClock
) -> None:
    infrastructure.hang("catalog-1")
    infrastructure.hang("catalog-2")
    first, _ = await explain(infrastructure, clock)
    assert "catalog-2 does not answer either" in points(first, speaks_for=False)


async def test_a_given_up_replica_quotes_the_supervisor(
    infrastructure: FakeInfrastructure, clock: FakeClock
) -> None:
    infrastructure.stop("catalog-1", "fatal", "Exited too quickly (process log may have details)")
    [diagnosis] = await explain(infrastructure, clock)
    assert diagnosis.title == "catalog-1 is dead"
    assert "gave up" in diagnosis.cause
    assert "Exited too quickly" in points(diagnosis, speaks_for=True)


async def test_a_stopped_database_says_what_goes_on_and_names_its_symptoms(
    infrastructure: FakeInfrastructure, clock: FakeClock
) -> None:
    infrastructure.stop("postgres")
    for name in ("catalog-1", "catalog-2"):
        infrastructure.hang(name, FAILING)
    [diagnosis] = await explain(infrastructure, clock, store=False)
    assert diagnosis.cause == "PostgreSQL is stopped."
    assert "Finding and explaining go on" in diagnosis.explanation
    assert "Explained by it: catalog-2: answers 503" in points(diagnosis, speaks_for=True)


async def test_a_frozen_database_is_told_from_a_stopped_one(
    infrastructure: FakeInfrastructure, clock: FakeClock
) -> None:
    infrastructure.freeze("postgres")
    [diagnosis] = await explain(infrastructure, clock, store=False)
    assert "state T" in diagnosis.cause


async def test_an_external_database_is_not_guessed_about(clock: FakeClock) -> None:
    fleet = Fleet(services=(service("catalog", depends_on=("postgres",)),))
    [diagnosis] = await explain(FakeInfrastructure(clock, fleet), clock, store=False)
    assert "external PostgreSQL" in diagnosis.cause


async def test_a_filling_disk_gives_figures_and_says_what_may_be_archived(
    clock: FakeClock,
) -> None:
    data = Path("/data/catalog")
    fleet = Fleet(services=(service("catalog", data=data, archivable=(data / "exports",)),))
    infrastructure = FakeInfrastructure(clock, fleet)
    infrastructure.fill(data, free_percent=8)
    [diagnosis] = await explain(infrastructure, clock)
    assert "8.0 % free (8.0 MiB of 100.0 MiB)" in diagnosis.cause
    assert "exports may be archived" in diagnosis.explanation
    assert "the threshold is 10 %" in points(diagnosis, speaks_for=True)
    assert "inodes" in points(diagnosis, speaks_for=False)


@pytest.mark.parametrize(
    ("asked", "exit_note", "speaks_for", "words"),
    [
        (True, "", False, "says nothing about how"),
        (True, "exit status 1", True, "exit status 1"),
        (False, "", False, "can't be asked: the database is down"),
    ],
)
async def test_a_crash_tells_both_processes_and_what_is_not_known(
    infrastructure: FakeInfrastructure,
    clock: FakeClock,
    asked: bool,
    exit_note: str,
    speaks_for: bool,
    words: str,
) -> None:
    fleet = infrastructure.fleet()
    old = Identity(infrastructure.pid("catalog-1"), None)
    infrastructure.start("catalog-1", answer=TIMEOUT)
    now = await look(infrastructure, fleet, None, clock=clock, policy=POLICY)
    [crash] = crashes(fleet, {"catalog-1": (old, clock.now())}, now)
    diagnosis = diagnose_crash(crash, now, fleet, earlier=1, exit_note=exit_note, asked=asked)
    assert f"Process {old.pid} of catalog-1 ended" in diagnosis.cause
    assert words in points(diagnosis, speaks_for=speaks_for)
    assert "replaced 1 more times" in points(diagnosis, speaks_for=True)
