"""Conversations as a web replica reads and writes them."""

import pytest

from graphs import presence, threads
from graphs.jobs import EVENTS_KEPT, forget_old_events, remember_closed
from graphs.presence import LAPSE_SECONDS, Presence
from graphs.runtime import Runtime
from memory.database import Database
from memory.tables.healing import Incident
from tests.fakes.clock import FakeClock
from tests.fakes.conversation import Conversation
from tests.fakes.people import add_person
from tools.kit.deps import Caller
from tools.kit.errors import Conflict, Invalid, NotFound


@pytest.fixture
def stranger(staff: Caller) -> Caller:
    return Caller(
        tenant_id=staff.tenant_id,
        tenant_slug=staff.tenant_slug,
        person_id="per-other",
        name="Eve",
        roles=frozenset({"staff"}),
        fleet=True,
    )


async def test_somebody_elses_thread_does_not_exist(
    tenant_db: Database, staff: Caller, stranger: Caller, clock: FakeClock
) -> None:
    async with tenant_db.unit_of_work() as session:
        thread = await threads.create_thread(session, staff, clock=clock)
        await threads.post_message(session, staff, thread.id, "what is wrong?", clock)

        for attempt in (
            threads.get_thread(session, stranger, thread.id),
            threads.post_message(session, stranger, thread.id, "hello", clock),
        ):
            with pytest.raises(NotFound):
                await attempt
        assert await threads.events_after(session, stranger, thread.id, 0) == []
        assert await threads.list_threads(session, stranger) == []
        assert [t.title for t in await threads.list_threads(session, staff)] == ["what is wrong?"]


async def test_empty_long_and_too_many_messages_are_refused(
    tenant_db: Database, staff: Caller, clock: FakeClock
) -> None:
    async with tenant_db.unit_of_work() as session:
        thread = await threads.create_thread(session, staff, clock=clock)
        for text in ("", " \n", "\x00", "x" * (threads.MESSAGE_CHARACTERS + 1)):
            with pytest.raises(Invalid):
                await threads.post_message(session, staff, thread.id, text, clock)
        for _ in range(threads.QUEUED_RUNS):
            await threads.post_message(session, staff, thread.id, "hello", clock)
        with pytest.raises(Conflict):
            await threads.post_message(session, staff, thread.id, "hello", clock)


async def test_messages_of_one_thread_are_answered_in_order(talk: Conversation) -> None:
    await talk.post("what is wrong?")
    talk.clock.advance(seconds=1)
    await talk.post("thanks")

    words = await talk.answered()

    assert words.index("Nothing is wrong") < words.index("You're welcome")


async def test_a_caller_without_the_fleet_is_told_so(talk: Conversation) -> None:
    await add_person(talk.control, talk.clock, "learner", **{talk.staff.tenant_id: "learner"})
    talk.staff = Caller(
        tenant_id=talk.staff.tenant_id,
        tenant_slug=talk.staff.tenant_slug,
        person_id="per-learner",
        name="Lou",
        roles=frozenset({"learner"}),
        fleet=False,
    )

    assert "The fleet is for operators" in await talk.ask("restart catalog")
    assert talk.of("TOOL_CALL_START") == []


async def test_a_silent_process_counts_as_gone(control_db: Database, clock: FakeClock) -> None:
    starting = Presence(state="starting", model="embedded", pid=1)
    ready = Presence(state="ready", model="embedded", pid=2)
    async with control_db.unit_of_work() as session:
        assert await presence.present(session, "agents", clock=clock) is None
        await presence.beat(session, "agents", "wrk-1", starting, clock=clock)
        assert await presence.present(session, "agents", clock=clock) == starting
        await presence.beat(session, "agents", "wrk-2", ready, clock=clock)
        assert await presence.present(session, "agents", clock=clock) == ready
        await presence.leave(session, "agents", "wrk-2")
        assert await presence.present(session, "agents", clock=clock) == starting
        clock.advance(seconds=LAPSE_SECONDS)
        assert await presence.present(session, "agents", clock=clock) is None
        await presence.sweep(session, "agents", before=clock.now())


async def test_old_events_go_and_messages_stay(talk: Conversation) -> None:
    await talk.ask("what is wrong?")
    await forget_old_events(talk.runtime, talk.staff.tenant_id)
    async with talk.tenant.unit_of_work() as session:
        assert await threads.events_after(session, talk.staff, talk.thread_id, 0)
    talk.clock.advance(seconds=EVENTS_KEPT.total_seconds() + 1)

    await forget_old_events(talk.runtime, talk.staff.tenant_id)

    async with talk.tenant.unit_of_work() as session:
        assert await threads.events_after(session, talk.staff, talk.thread_id, 0) == []
        view = await threads.get_thread(session, talk.staff, talk.thread_id)
    assert len(view.messages) == 2


async def test_closed_incidents_are_remembered_once(
    talk: Conversation, runtime: Runtime, clock: FakeClock
) -> None:
    incident_id = await talk.fleet.hang("catalog-2", talk.control)
    assert await remember_closed(runtime) == 0
    async with talk.control.unit_of_work() as session:
        incident = await session.get(Incident, incident_id)
        assert incident is not None
        incident.closed_at = clock.now()
        incident.resolution = "It was restarted and answers."

    assert await remember_closed(runtime) == 1
    assert await remember_closed(runtime) == 1
    notes = await runtime.memory.search(talk.staff, "catalog-2 hangs", limit=5)
    assert [note.id for note in notes] == [incident_id]
