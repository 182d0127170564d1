"""The incident loop across its transitions, over a fleet, a gate and a database of values."""

import asyncio

import pytest

from tests.fakes.clock import FakeClock
from tests.fakes.healing import Bench
from tests.fakes.infrastructure import TIMEOUT, FakeInfrastructure
from tools.healing.local_store import read_fleet_view


async def test_a_healthy_fleet_has_no_incident_and_says_when_it_was_looked_at(bench: Bench) -> None:
    await bench.turn(15)
    assert bench.loop.cases == []
    assert bench.alerts == []
    view = read_fleet_view(bench.local.folder)
    assert view is not None
    assert {s.name: s.status for s in view.services}["catalog"] == "healthy"
    assert view.looked_at is not None
    assert bench.store.view is not None
    assert any(s.name == "latency_ms" for s in bench.store.samples)


async def test_a_frozen_replica_is_found_within_eight_seconds_and_explained_at_once(
    bench: Bench, infrastructure: FakeInfrastructure, clock: FakeClock
) -> None:
    await bench.turn(10)
    infrastructure.freeze("catalog-1")
    began = clock.now()
    incident = await bench.until("asking")
    assert (incident.opened_at - began).total_seconds() <= 8
    assert incident.kind == "hung"
    assert "state T" in incident.cause
    assert any("3 probes of 1.0 s" in p["text"] for p in incident.evidence)
    assert [e.kind for e in incident.timeline] == ["detected", "explained", "asked"]


async def test_an_approved_restart_is_carried_out_verified_and_closed(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(10)
    infrastructure.freeze("catalog-1")
    await bench.until("asking")
    bench.gate.decide("approved")
    incident = await bench.until("closed")
    assert infrastructure.restarted == ["catalog-1"]
    assert incident.resolution.startswith("Repaired:")
    assert incident.action_ids == list(bench.gate.actions)
    assert incident.after["pid"] != incident.before["pid"]
    assert [e.kind for e in incident.timeline if e.kind != "note"] == [
        "detected",
        "explained",
        "asked",
        "acting",
        "acted",
        "closed",
    ]
    await bench.turn(10)
    assert bench.standing == ["hung catalog/catalog-1 closed"], "its own restart is no crash"


async def test_an_alert_is_written_once_for_opening_asking_and_closing(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(10)
    infrastructure.freeze("catalog-1")
    await bench.turn(30)
    assert [line.split()[1] for line in bench.alerts] == ["OPEN", "ASKS"]
    bench.gate.decide("approved")
    await bench.until("closed")
    await bench.turn(5)
    assert [line.split()[1] for line in bench.alerts] == ["OPEN", "ASKS", "CLOSED"]


async def test_with_an_outcome_of_run_nobody_is_asked(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    bench.gate.outcome = "run"
    await bench.turn(10)
    infrastructure.freeze("catalog-1")
    incident = await bench.until("closed")
    assert infrastructure.restarted == ["catalog-1"]
    assert incident.resolution.startswith("Repaired:")


async def test_a_killed_replica_that_the_supervisor_restarts_needs_no_action(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(10)
    infrastructure.start("catalog-1")
    incident = await bench.until("closed")
    assert incident.kind == "crashed"
    assert "No action was needed" in incident.resolution
    assert bench.gate.proposals == 0


async def test_a_stop_seen_on_the_way_is_told_as_how_the_process_ended(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(10)
    infrastructure.stop("catalog-1", "backoff", "Exited too quickly")
    await bench.turn(1)
    infrastructure.start("catalog-1")
    incident = await bench.until("closed")
    assert any("Exited too quickly" in p["text"] for p in incident.evidence)


async def test_a_restart_asked_for_in_the_chat_is_no_crash(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(10)
    bench.store.begun = ["catalog/catalog-1"]
    infrastructure.start("catalog-1")
    await bench.turn(5)
    assert bench.loop.cases == []


async def test_a_replica_that_crashes_again_and_again_calls_a_person(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(10)
    for _ in range(3):
        infrastructure.start("catalog-1")
        await bench.turn(3)
    assert any(c.state == "escalated" or "3 times" in str(c.timeline) for c in bench.loop.cases)
    assert sum("NEEDS A PERSON" in line for line in bench.alerts) == 1


@pytest.mark.parametrize("status", ["fatal", "stopped"])
async def test_a_replica_that_stays_down_is_dead_within_ten_seconds(
    bench: Bench, infrastructure: FakeInfrastructure, clock: FakeClock, status: str
) -> None:
    await bench.turn(15)
    infrastructure.stop("catalog-1", status, "exited too quickly")
    began = clock.now()
    incident = await bench.until("asking")
    assert incident.kind == "dead"
    assert (incident.opened_at - began).total_seconds() <= 10
    bench.gate.decide("approved")
    await bench.until("closed")
    assert infrastructure.restarted == ["catalog-1"]


async def test_a_fault_that_goes_away_withdraws_its_question_and_closes(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(10)
    infrastructure.freeze("catalog-1")
    asked = await bench.until("asking")
    infrastructure.thaw("catalog-1")
    incident = await bench.until("closed")
    assert bench.gate.withdrawn == [asked.id]
    assert "without an action" in incident.resolution
    assert infrastructure.restarted == []


async def test_what_the_gate_allowed_and_allows_no_more_is_judged_anew(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(10)
    bench.gate.outcome, bench.gate.lapses = "run", "Frozen since: exams."
    infrastructure.freeze("catalog-1")
    while not bench.gate.proposals:
        await bench.turn()
    bench.gate.outcome = "ask"
    incident = await bench.until("asking")
    assert "It was withdrawn: Frozen since: exams." in [e.text for e in incident.timeline]
    assert bench.gate.proposals == 2
    assert infrastructure.restarted == []


@pytest.mark.parametrize("answer", ["denied", "expired"])
async def test_a_no_or_no_answer_calls_a_person_and_is_not_asked_again_at_once(
    bench: Bench, infrastructure: FakeInfrastructure, clock: FakeClock, answer: str
) -> None:
    await bench.turn(10)
    infrastructure.freeze("catalog-1")
    await bench.until("asking")
    bench.gate.decide(answer)  # type: ignore[arg-type]
    incident = await bench.until("escalated")
    assert incident.closed_at is None
    assert answer in [e.kind for e in incident.timeline]
    await bench.turn(30)
    assert bench.gate.proposals == 1
    clock.advance(minutes=31)
    await bench.until("asking")
    assert bench.gate.proposals == 2


async def test_after_a_no_another_process_with_the_fault_is_asked_about(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(10)
    infrastructure.freeze("catalog-1")
    await bench.until("asking")
    bench.gate.decide("denied")
    await bench.until("escalated")
    infrastructure.start("catalog-1", answer=TIMEOUT)
    infrastructure.freeze("catalog-1")
    await bench.until("asking")
    assert bench.gate.proposals == 2


async def test_a_repair_that_did_not_help_calls_a_person_and_is_not_repeated(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    infrastructure.heals = False
    await bench.turn(10)
    infrastructure.freeze("catalog-1")
    await bench.until("asking")
    bench.gate.decide("approved")
    await bench.until("escalated")
    await bench.turn(40)
    assert infrastructure.restarted == ["catalog-1"]
    assert bench.gate.proposals == 1
    assert sum("NEEDS A PERSON" in line for line in bench.alerts) == 1


async def test_a_refusal_calls_a_person(bench: Bench, infrastructure: FakeInfrastructure) -> None:
    bench.gate.outcome = "refuse"
    await bench.turn(10)
    infrastructure.freeze("catalog-1")
    incident = await bench.until("escalated")
    assert "refused" in incident.timeline[-1].text
    await bench.turn(20)
    assert bench.gate.proposals == 1


async def test_a_target_held_by_somebody_elses_action_is_waited_for(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(10)
    infrastructure.freeze("catalog-1")
    await bench.until("asking")
    [action] = bench.gate.actions.values()
    action.incident_id = "inc-other"
    [case] = bench.loop.cases
    before = case.model_copy(update={"timeline": case.timeline[:2], "state": "explained"})
    bench.store.incidents[case.id] = before
    bench.local.write_incidents([before])
    await bench.restart()
    await bench.turn(8)
    [waiting] = bench.loop.cases
    assert waiting.state == "explained"
    assert f"{action.id} holds" in waiting.timeline[-1].text
    assert sum(e.kind == "note" for e in waiting.timeline) == 1
    action.state = "verified"
    await bench.until("asking")


async def test_a_start_after_a_long_stop_ends_that_fault_and_is_no_crash(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(15)
    infrastructure.stop("catalog-1")
    await bench.until("asking")
    infrastructure.start("catalog-1")
    await bench.turn(6)
    assert bench.standing == ["dead catalog/catalog-1 closed"]


async def test_two_faults_at_once_are_two_incidents_with_a_question_each(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(15)
    infrastructure.freeze("catalog-1")
    infrastructure.stop("player-2", "fatal")
    await bench.turn(8)
    assert sorted(bench.standing) == [
        "dead player/player-2 asking",
        "hung catalog/catalog-1 asking",
    ]


async def test_a_hung_replica_that_is_stopped_by_hand_goes_on_as_a_dead_one(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(15)
    infrastructure.freeze("catalog-1")
    await bench.until("asking")
    infrastructure.stop("catalog-1")
    await bench.turn(10)
    assert sorted(bench.standing) == [
        "dead catalog/catalog-1 asking",
        "hung catalog/catalog-1 closed",
    ]


async def test_rounds_go_on_while_an_action_takes_its_time(
    bench: Bench, infrastructure: FakeInfrastructure
) -> None:
    await bench.turn(10)
    infrastructure.freeze("catalog-1")
    await bench.until("asking")
    bench.gate.hold = asyncio.Event()
    bench.gate.decide("approved")
    await bench.turn(3)
    assert bench.standing == ["hung catalog/catalog-1 acting"]
    infrastructure.freeze("player-1")
    await bench.turn(6)
    assert "hung player/player-1 asking" in bench.standing
    bench.gate.hold.set()
    bench.gate.hold = None
    await bench.turn(5)
    assert "hung catalog/catalog-1 closed" in bench.standing
