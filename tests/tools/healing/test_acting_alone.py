"""The incident loop with the database down and the real standing permits of a home."""

import asyncio
from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from tests.fakes.healing import Bench
from tests.fakes.infrastructure import FakeInfrastructure
from tests.fakes.outpost import TARGET, Outpost
from tools.autonomy.standing_folder import take_back
from tools.healing.schemas import IncidentView
from tools.kit.deps import Caller


@pytest.fixture
def outpost(
    clock: FakeClock, tmp_path: Path, staff: Caller, infrastructure: FakeInfrastructure
) -> Outpost:
    """A home over the same fleet."""
    made = Outpost(tmp_path / "home", None, clock, staff)
    made.infrastructure = infrastructure
    made.context = type(made.context)(infrastructure, clock)
    made.hands = made.another()
    return made


@pytest.fixture
async def alone(bench: Bench, outpost: Outpost) -> Bench:
    """A healer with hands, which has seen ten good rounds."""
    bench.hands = outpost.hands
    bench.loop = bench.another()
    await bench.turn(10)
    return bench


def store_goes(bench: Bench) -> None:
    bench.store.up = False
    bench.infrastructure.stop("postgres")


def store_returns(bench: Bench) -> None:
    bench.store.up = True
    bench.infrastructure.start("postgres")


def on_target(bench: Bench) -> IncidentView:
    [found] = [c for c in bench.loop.cases if c.target == TARGET]
    return found


async def until(bench: Bench, state: str, *, within: int = 30) -> IncidentView:
    for _ in range(within):
        await bench.turn()
        if any(c.target == TARGET and c.state == state for c in bench.loop.cases):
            return on_target(bench)
    raise AssertionError(bench.standing)


async def test_a_permitted_repair_is_done_verified_and_told_without_the_database(
    alone: Bench, outpost: Outpost
) -> None:
    outpost.issue()
    store_goes(alone)
    await alone.turn(4)
    alone.infrastructure.freeze("catalog-1")
    incident = await until(alone, "closed")
    assert alone.infrastructure.restarted == ["catalog-1"]
    assert incident.resolution.startswith("Repaired:")
    assert [e.kind for e in incident.timeline] == [
        "detected",
        "explained",
        "permitted",
        "acting",
        "acted",
        "closed",
    ]
    assert "approved by Ada" in incident.timeline[2].text
    assert any("ACTS ALONE" in line and "approved by Ada" in line for line in alone.alerts)
    await alone.turn(10)
    assert len([c for c in alone.loop.cases if c.target == TARGET]) == 1, "its restart is no crash"
    assert alone.gate.proposals == 0
    assert outpost.lines[0]["body"]["action"]["incident_id"] == incident.id


async def test_without_a_permit_it_explains_waits_and_says_so(
    alone: Bench, outpost: Outpost
) -> None:
    outpost.issue("catalog/catalog-2")
    store_goes(alone)
    await alone.turn(4)
    alone.infrastructure.freeze("catalog-1")
    await alone.turn(10)
    incident = on_target(alone)
    assert incident.state == "waiting"
    assert "nobody permitted" in incident.timeline[-1].text
    assert sum("nobody permitted" in e.text for e in incident.timeline) == 1, "said once"
    assert alone.infrastructure.restarted == []
    store_returns(alone)
    await until(alone, "asking", within=15)


async def test_nothing_is_asked_before_the_database_knows_what_was_done(
    alone: Bench, outpost: Outpost, clock: FakeClock
) -> None:
    outpost.issue()
    store_goes(alone)
    await alone.turn(4)
    alone.infrastructure.freeze("catalog-1")
    await until(alone, "closed")
    alone.infrastructure.freeze("catalog-2")
    store_returns(alone)
    await alone.turn(6)
    assert alone.gate.proposals == 0
    outpost.hands.journal.rotate(clock.now())
    await alone.turn(3)
    assert alone.gate.proposals == 1
    assert alone.store.incidents[on_target(alone).id].state == "closed"


async def test_while_the_database_is_there_people_are_asked_whatever_is_permitted(
    alone: Bench, outpost: Outpost
) -> None:
    outpost.issue()
    alone.infrastructure.freeze("catalog-1")
    await until(alone, "asking")
    assert outpost.lines == []
    store_goes(alone)
    await alone.turn(10)
    assert on_target(alone).state == "asking", "the question stands until it is answered"
    assert alone.infrastructure.restarted == []


async def test_one_missed_answer_of_the_database_is_not_yet_its_absence(
    alone: Bench, outpost: Outpost
) -> None:
    outpost.issue()
    alone.infrastructure.freeze("catalog-1")
    await alone.turn(2)
    alone.store.up = False
    await alone.turn()
    alone.store.up = True
    await until(alone, "asking")
    assert alone.infrastructure.restarted == []


async def test_a_repair_that_does_not_help_calls_a_person_and_is_not_tried_again(
    alone: Bench, outpost: Outpost
) -> None:
    outpost.issue(TARGET, TARGET)
    alone.infrastructure.heals = False
    store_goes(alone)
    await alone.turn(4)
    alone.infrastructure.freeze("catalog-1")
    incident = await until(alone, "escalated")
    await alone.turn(20)
    assert alone.infrastructure.restarted == ["catalog-1"]
    assert "did not help" in incident.timeline[-1].text


async def test_a_permit_taken_back_after_it_was_found_lets_nothing_happen(
    alone: Bench, outpost: Outpost, monkeypatch: pytest.MonkeyPatch
) -> None:
    outpost.issue()
    really = outpost.hands.drive

    async def too_late(action_id: str) -> object:
        take_back(outpost.path, approval_id="sta-1")
        return await really(action_id)

    monkeypatch.setattr(outpost.hands, "drive", too_late)
    store_goes(alone)
    await alone.turn(4)
    alone.infrastructure.freeze("catalog-1")
    incident = await until(alone, "waiting")
    assert "withdrawn" in [e.kind for e in incident.timeline]
    assert alone.infrastructure.restarted == []
    assert outpost.lines == []


async def test_a_healer_killed_in_the_middle_finds_out_and_repeats_nothing(
    alone: Bench, outpost: Outpost, monkeypatch: pytest.MonkeyPatch
) -> None:
    outpost.issue()
    never, done = asyncio.Event(), asyncio.Event()
    really = alone.infrastructure.restart

    async def dies(*given: object, **more: object) -> int:
        await really(*given, **more)  # type: ignore[arg-type]
        done.set()
        await never.wait()
        return 0

    monkeypatch.setattr(alone.infrastructure, "restart", dies)
    store_goes(alone)
    await alone.turn(4)
    alone.infrastructure.freeze("catalog-1")
    alone.gate.hold = never  # rounds don't wait for what is under way
    await alone.turn(6)
    assert on_target(alone).state == "acting"
    await asyncio.wait_for(done.wait(), timeout=10)
    for task in alone.loop.work.tasks:
        task.cancel()
    await asyncio.sleep(0)
    assert [line["kind"] for line in outpost.lines] == ["intended"]

    monkeypatch.undo()
    alone.gate.hold = None
    outpost.hands = alone.hands = outpost.another()
    await alone.restart()
    await outpost.hands.recover()
    incident = await until(alone, "closed")
    assert alone.infrastructure.restarted == ["catalog-1"]
    assert incident.resolution.startswith("Repaired:")
    assert outpost.lines[-1]["body"]["state"] == "verified"


async def test_a_healer_killed_before_it_began_judges_the_incident_anew(
    alone: Bench, outpost: Outpost, monkeypatch: pytest.MonkeyPatch
) -> None:
    outpost.issue()
    never = asyncio.Event()

    async def hangs(action_id: str) -> object:
        return await never.wait()

    monkeypatch.setattr(outpost.hands, "drive", hangs)
    store_goes(alone)
    await alone.turn(4)
    alone.infrastructure.freeze("catalog-1")
    alone.gate.hold = never
    await alone.turn(6)
    assert on_target(alone).state == "acting"
    for task in alone.loop.work.tasks:
        task.cancel()

    alone.gate.hold = None
    outpost.hands = alone.hands = outpost.another()
    await alone.restart()
    incident = await until(alone, "closed")
    assert alone.infrastructure.restarted == ["catalog-1"]
    assert "judged anew" in " ".join(e.text for e in incident.timeline)


async def test_problems_of_the_hands_are_told_with_the_fleets(
    alone: Bench, outpost: Outpost
) -> None:
    outpost.hands.problems = ["The journal can't be read."]
    assert "The journal can't be read." in alone.loop.problems
