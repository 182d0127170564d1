"""A worker that dies at any line: the next one finishes the run, and nothing is done twice."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from graphs import presence, threads
from graphs.runs import ATTEMPTS, LEASE_SECONDS
from graphs.turns import Turns
from memory.checkpoints import FencedSaver
from memory.database import Database
from memory.ids import new_id
from memory.tables.leases import Lease
from memory.tables.threads import Message, Run
from tests.fakes.conversation import Conversation
from tools.kit.clock import SystemClock
from tools.kit.infrastructure import ReplicaSpec

ROOT = Path(__file__).resolve().parent.parent.parent


class Killed(BaseException):
    """The process ended here: nothing after this line happened."""


class Reaper:
    """Kills the worker at its n-th step: a unit of work or a checkpoint, before or after it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at: int | None = None
        self.steps = 0
        unit_of_work, aput = Database.unit_of_work, FencedSaver.aput
        reaper = self

        @asynccontextmanager
        async def dying_unit(database: Database) -> AsyncIterator[AsyncSession]:
            reaper.step()
            async with unit_of_work(database) as session:
                yield session
            reaper.step()

        async def dying_put(saver: FencedSaver, *args: object) -> object:
            reaper.step()
            stored = await aput(saver, *args)  # type: ignore[arg-type]
            reaper.step()
            return stored

        monkeypatch.setattr(Database, "unit_of_work", dying_unit)
        monkeypatch.setattr(FencedSaver, "aput", dying_put)

    def step(self) -> None:
        """One place to die at."""
        self.steps += 1
        if self.at is not None and self.steps >= self.at:
            # Dead stays dead: what would still run in this process does nothing any more.
            raise Killed


@pytest.fixture
def reaper(monkeypatch: pytest.MonkeyPatch) -> Reaper:
    async def nothing(*_: object) -> None:
        """A killed process gives nothing back."""

    monkeypatch.setattr(Turns, "_give_back", nothing)
    return Reaper(monkeypatch)


async def die_at(talk: Conversation, reaper: Reaper, at: int) -> bool:
    """Let a worker work until its *at*-th step; whether it died there."""
    reaper.steps, reaper.at = 0, at
    turns = talk.runtime.turns(new_id("wrk"))
    died = False
    try:
        await turns.resume_decided(talk.staff.tenant_id)
        if await turns.claim(talk.staff.tenant_id):
            (task,) = turns.at_work
            await asyncio.wait([task])
            died = task.exception() is not None
    except Killed:
        died = True
    reaper.at = None
    return died


async def recover(talk: Conversation) -> str:
    """Another worker comes once the dead one's lease has lapsed."""
    talk.clock.advance(seconds=LEASE_SECONDS + 1)
    await talk.runtime.services.gatekeeper.recover("agents")
    turns = talk.runtime.turns(new_id("wrk"))
    await turns.requeue_lost(talk.staff.tenant_id)
    return await talk.answered()


STEPS = (3, 11, 17, 21, 25, 29, 33, 37, 43, 51)
"""Places to die at. Each one from 1 to 59 passed; these are where something new has just happened:
claimed, resumed, permit used, effect recorded, verified, answered, step stored, next step."""


@pytest.mark.parametrize("at", STEPS)
async def test_dying_while_an_approved_restart_is_carried_out(
    talk: Conversation, reaper: Reaper, at: int
) -> None:
    await talk.ask("restart player, then tell me how catalog is doing")
    await talk.decide("approve")

    await die_at(talk, reaper, at)
    await recover(talk)

    assert talk.fleet.restarted == ["player-1"]
    assert await talk.actions() == [("player/player-1", "verified")]
    async with talk.tenant.unit_of_work() as session:
        view = await threads.get_thread(session, talk.staff, talk.thread_id)
    assert view.run is not None
    assert view.run.state == "finished"
    said = "\n".join(m.text for m in view.messages if m.role == "assistant")
    assert said.count("player-1: Done, and it helped") == 1
    assert said.count("catalog is healthy") == 1


@pytest.mark.parametrize("at", STEPS[::3])
async def test_dying_while_a_question_is_put_asks_it_once(
    talk: Conversation, reaper: Reaper, at: int
) -> None:
    await talk.post("restart player")

    await die_at(talk, reaper, at)
    await recover(talk)

    assert await talk.actions() == [("player/player-1", "asked")]
    assert (await talk.run()).state == "waiting"
    await talk.decide("approve")
    await talk.answered()
    assert talk.fleet.restarted == ["player-1"]


async def test_dying_between_the_effect_and_its_record(
    talk: Conversation, reaper: Reaper, monkeypatch: pytest.MonkeyPatch
) -> None:
    restart = talk.fleet.restart

    async def dies_after(replica: ReplicaSpec, *, expected_pid: int | None) -> int:
        await restart(replica, expected_pid=expected_pid)
        raise Killed

    await talk.ask("restart player")
    await talk.decide("approve")
    talk.clock.advance(seconds=1)
    monkeypatch.setattr(talk.fleet, "restart", dies_after)
    assert await die_at(talk, reaper, 10_000)
    monkeypatch.setattr(talk.fleet, "restart", restart)

    words = await recover(talk)

    assert talk.fleet.restarted == ["player-1"]
    assert await talk.actions() == [("player/player-1", "verified")]
    assert "Done, and it helped" in words


async def test_a_worker_that_lost_its_lease_writes_nothing_more(
    talk: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell = Turns._turn
    late = asyncio.Event()
    go_on = asyncio.Event()

    async def slow(*args: object) -> None:
        late.set()
        await go_on.wait()
        await tell(*args)  # type: ignore[arg-type]

    await talk.post("what is wrong?")
    monkeypatch.setattr(Turns, "_turn", slow)
    sleeper = talk.runtime.turns("wrk-sleeper")
    assert await sleeper.claim(talk.staff.tenant_id)
    await late.wait()
    monkeypatch.setattr(Turns, "_turn", tell)

    await recover(talk)
    go_on.set()
    await asyncio.gather(*sleeper.at_work, return_exceptions=True)

    async with talk.tenant.unit_of_work() as session:
        said = await session.scalar(
            select(func.count()).select_from(Message).where(Message.role == "assistant")
        )
    assert said == 1
    assert (await talk.run()).state == "finished"


async def test_a_run_that_kills_every_worker_is_given_up_with_a_reason(
    talk: Conversation, reaper: Reaper
) -> None:
    await talk.post("what is wrong?")
    for _ in range(ATTEMPTS):
        assert await die_at(talk, reaper, 12)
        talk.clock.advance(seconds=LEASE_SECONDS + 1)
        await talk.runtime.turns("wrk").requeue_lost(talk.staff.tenant_id)

    await talk.answered()

    (error,) = talk.of("RUN_ERROR")
    assert error["code"] == "run_poisoned"
    assert (await talk.run()).state == "failed"


async def test_an_unexpected_error_is_tried_again_and_then_told(
    talk: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks(*_: object) -> None:
        raise RuntimeError("unplugged")

    monkeypatch.setattr(Turns, "_turn", breaks)
    await talk.ask("what is wrong?")

    (error,) = talk.of("RUN_ERROR")
    assert error["code"] == "run_broken"
    assert "unplugged" not in error["message"]
    async with talk.tenant.unit_of_work() as session:
        assert await session.scalar(select(Run.attempts)) == ATTEMPTS


@pytest.fixture
def worker_process(tmp_path: Path, control_url: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def start_worker(tmp_path: Path, control_url: str) -> subprocess.Popen[bytes]:
    home = tmp_path / "academy home"
    home.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "graphs.worker"],
        cwd=ROOT,
        env={
            **os.environ,
            "ACADEMY_HOME": str(home),
            "ACADEMY_DATABASE_URL": control_url.replace("+psycopg", ""),
        },
    )


async def reach(talk: Conversation, states: set[str], *, every: float) -> None:
    """Wait until the newest run is in one of *states*."""
    deadline = time.monotonic() + 90
    while (await talk.run()).state not in states:
        assert time.monotonic() < deadline, f"the run never was {states}"
        await asyncio.sleep(every)


@pytest.mark.timeout(180)
async def test_a_killed_process_is_succeeded_by_the_next(
    talk: Conversation,
    tmp_path: Path,
    control_url: str,
    worker_process: list[subprocess.Popen[bytes]],
) -> None:
    real = SystemClock()
    talk.clock.set(real.now())
    worker_process.append(start_worker(tmp_path, control_url))

    async def until(state: str) -> float:
        began = time.monotonic()
        while time.monotonic() - began < 90:
            async with talk.control.unit_of_work() as session:
                there = await presence.present(session, "agents", clock=real)
            if there is not None and there.state == state:
                return time.monotonic() - began
            await asyncio.sleep(0.05)
        raise AssertionError(f"the worker never said {state}")

    await until("starting")
    await until("ready")
    await talk.post("what is wrong?")
    await reach(talk, {"running", "finished"}, every=0.01)
    worker_process[0].send_signal(signal.SIGKILL)
    worker_process[0].wait()
    if (await talk.run()).state == "running":
        async with talk.tenant.unit_of_work() as session:
            await session.execute(update(Lease).values(expires_at=real.now()))
    worker_process.append(start_worker(tmp_path, control_url))

    await reach(talk, {"finished"}, every=0.1)
    await talk.read()

    assert (await talk.run()).state == "finished"
    assert talk.words
    worker_process[1].send_signal(signal.SIGTERM)
    assert worker_process[1].wait(timeout=30) == 0
    async with talk.control.unit_of_work() as session:
        left = await presence.present(session, "agents", clock=real)
    assert left is None or left.pid != worker_process[1].pid


async def test_a_long_conversation_keeps_one_checkpoint(talk: Conversation) -> None:
    async def rows() -> list[int]:
        tables = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
        async with talk.tenant.unit_of_work() as session:
            return [
                await session.scalar(text(f"SELECT count(*) FROM {table}")) or 0 for table in tables
            ]

    await talk.ask("how is catalog doing?")
    first = await rows()
    for _ in range(3):
        await talk.ask("how is catalog doing?")
    assert await rows() == first
    assert first[0] == 1

    await talk.ask("restart player")
    assert (await rows())[0] == 1
    await talk.decide("approve")
    await talk.answered()
    assert talk.fleet.restarted == ["player-1"]
    assert "because a person asked for it" in await talk.ask("why?")
