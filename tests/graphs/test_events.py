"""How the words of a turn become rows: a slow model's as they come, a fast one's together."""

import pytest

from graphs import events, threads
from memory.database import Database
from tests.fakes.clock import FakeClock
from tests.fakes.turns import StandInWorker, say
from tools.kit.deps import Caller

WORDS = ["Catalog ", "is ", "healthy."]


class Watch:
    """The time that passes between words."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    found = Watch()
    monkeypatch.setattr(events, "time", found)
    return found


async def _deltas(tenant: Database, staff: Caller, thread_id: str) -> list[str]:
    async with tenant.unit_of_work() as session:
        told = await threads.events_after(session, staff, thread_id, 0)
    return [one.data["delta"] for one in told if one.type == "TEXT_MESSAGE_CONTENT"]


async def test_each_word_of_a_slow_model_can_be_read_before_the_next_comes(
    tenant_db: Database, staff: Caller, clock: FakeClock, watch: Watch
) -> None:
    thread_id = await say(tenant_db, staff, clock, "how is catalog?")
    writer = await StandInWorker(tenant_db, clock).begin()
    speech = writer.speech(0)

    for count, word in enumerate(WORDS, start=1):
        watch.now += 2 * events.FLUSH_SECONDS
        await speech.add(word)
        assert await _deltas(tenant_db, staff, thread_id) == WORDS[:count]


async def test_words_that_come_together_are_one_row(
    tenant_db: Database, staff: Caller, clock: FakeClock, watch: Watch
) -> None:
    thread_id = await say(tenant_db, staff, clock, "how is catalog?")
    writer = await StandInWorker(tenant_db, clock).begin()
    speech = writer.speech(0)

    for word in WORDS:
        await speech.add(word)
    assert await _deltas(tenant_db, staff, thread_id) == []
    watch.now += 2 * events.FLUSH_SECONDS
    await speech.add(" Bye.")
    await speech.end()

    assert await _deltas(tenant_db, staff, thread_id) == ["Catalog is healthy. Bye."]
