"""The worker's side of a conversation: claiming runs, writing their events, and ending them.

A run is worked on under the lease `thread:<id>`; every write names the fence it was given, in the
same transaction, so that a worker believed dead can't write after its successor began.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import and_, delete, exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from graphs.threads import next_message_seq
from memory import leases
from memory.checkpoints import Fence
from memory.ids import new_id
from memory.tables.leases import Lease
from memory.tables.threads import Message, Run, RunEvent, Thread
from tools.kit.clock import Clock

LEASE_SECONDS = 20.0
"""How long a thread stays with a worker that went silent; renewed at a third of it."""
ATTEMPTS = 3
"""Times a run is begun before it is given up as poisoned."""

EndState = Literal["waiting", "finished", "failed", "cancelled"]


@dataclass(frozen=True)
class Asker:
    """Who a run answers. What they may do now is looked up when the run begins."""

    person_id: str | None
    """None for one of the academy's own engines."""
    name: str
    via: Literal["session", "key", "engine"]


@dataclass(frozen=True)
class Claimed:
    """A run that this worker holds, with the fence to name at every write."""

    id: str
    thread_id: str
    kind: Literal["message", "resume"]
    input: dict[str, Any]
    asker: Asker
    attempts: int
    fence: Fence

    @property
    def approved(self) -> list[str]:
        """The approvals this run carries out."""
        decisions = self.input.get("decisions", {})
        return [approval_id for approval_id, state in decisions.items() if state == "approved"]

    @property
    def text(self) -> str:
        """What the person wrote."""
        return str(self.input.get("text", ""))

    @property
    def specialist(self) -> str:
        """The specialist the person chose themselves; empty where the supervisor routes."""
        return str(self.input.get("specialist") or "")


@dataclass(frozen=True)
class Waiting:
    """A run that waits for people's decisions."""

    id: str
    thread_id: str
    approval_ids: tuple[str, ...]


@dataclass(frozen=True)
class NewEvent:
    """An AG-UI event about to be stored."""

    type: str
    data: dict[str, Any]
    at: datetime


def lease_name(thread_id: str) -> str:
    """The lease one works on a thread under."""
    return f"thread:{thread_id}"


def asker_of(run_input: dict[str, Any]) -> Asker:
    """Who a run's input names (`graphs.threads.asker_data`)."""
    data = run_input["asker"]
    return Asker(person_id=data["person_id"], name=data["name"], via=data["via"])


async def claim_run(session: AsyncSession, *, owner: str, clock: Clock) -> Claimed | None:
    """The oldest queued run whose thread nobody works on, now running and leased to *owner*.

    Within a thread a decision is carried out before the next message is answered.
    """
    now = clock.now()
    other = aliased(Run)
    earlier = exists().where(
        other.thread_id == Run.thread_id,
        other.id != Run.id,
        (other.state == "running")
        | and_(other.state == "queued", other.kind == "resume", Run.kind == "message"),
    )
    run = await session.scalar(
        select(Run)
        .where(Run.state == "queued", ~earlier)
        .order_by(Run.created_at, Run.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if run is None:
        return None
    name = lease_name(run.thread_id)
    number = await leases.acquire(session, name, owner, seconds=LEASE_SECONDS, now=now)
    if number is None:
        return None
    run.state = "running"
    run.attempts += 1
    run.started_at = now
    await session.flush()
    return Claimed(
        id=run.id,
        thread_id=run.thread_id,
        kind="resume" if run.kind == "resume" else "message",
        input=run.input,
        asker=asker_of(run.input),
        attempts=run.attempts,
        fence=Fence(name=name, owner=owner, number=number),
    )


async def requeue_lost(session: AsyncSession, *, clock: Clock) -> int:
    """Queue again every running run whose worker's lease has lapsed; how many there were."""
    held = exists().where(
        Lease.name == func.concat("thread:", Run.thread_id), Lease.expires_at > clock.now()
    )
    runs = await session.scalars(
        select(Run).where(Run.state == "running", ~held).with_for_update(skip_locked=True)
    )
    lost = runs.all()
    for run in lost:
        run.state = "queued"
    await session.flush()
    return len(lost)


async def check_fence(session: AsyncSession, fence: Fence) -> None:
    """Make sure that the turn still holds its thread.

    Raises:
        LeaseLost: somebody else has taken it.
    """
    await leases.check(session, fence.name, fence.owner, fence.number)


async def append_events(session: AsyncSession, claimed: Claimed, events: Sequence[NewEvent]) -> int:
    """Store events after the thread's last one; the new last number.

    A message or tool call that starts a second time replaces its earlier events.

    Raises:
        LeaseLost: somebody else has taken the thread.
    """
    await check_fence(session, claimed.fence)
    await session.scalar(select(Thread.id).where(Thread.id == claimed.thread_id).with_for_update())
    for event in events:
        key = {"TEXT_MESSAGE_START": "messageId", "TOOL_CALL_START": "toolCallId"}.get(event.type)
        if key is not None:
            await session.execute(
                delete(RunEvent).where(
                    RunEvent.thread_id == claimed.thread_id,
                    RunEvent.run_id == claimed.id,
                    RunEvent.data[key].astext == str(event.data[key]),
                )
            )
    last = await session.scalar(
        select(func.max(RunEvent.seq)).where(RunEvent.thread_id == claimed.thread_id)
    )
    seq = last or 0
    for event in events:
        seq += 1
        session.add(
            RunEvent(
                thread_id=claimed.thread_id,
                seq=seq,
                run_id=claimed.id,
                type=event.type,
                data=event.data,
                at=event.at,
            )
        )
    await session.flush()
    return seq


async def store_message(
    session: AsyncSession, claimed: Claimed, message_id: str, text: str, *, clock: Clock
) -> None:
    """Keep what an agent said as a message of the thread; said again, it replaces itself."""
    thread = await session.scalar(
        select(Thread).where(Thread.id == claimed.thread_id).with_for_update()
    )
    assert thread is not None
    known = await session.get(Message, message_id)
    if known is not None:
        known.text = text
        return
    now = clock.now()
    session.add(
        Message(
            id=message_id,
            thread_id=claimed.thread_id,
            seq=await next_message_seq(session, claimed.thread_id),
            role="assistant",
            text=text,
            run_id=claimed.id,
            created_at=now,
        )
    )
    thread.updated_at = now
    await session.flush()


async def end_run(
    session: AsyncSession,
    claimed: Claimed,
    state: EndState,
    *,
    clock: Clock,
    error: str | None = None,
    approval_ids: Sequence[str] = (),
) -> None:
    """Leave the run in *state* and give its thread back.

    Raises:
        LeaseLost: somebody else has taken the thread.
    """
    await check_fence(session, claimed.fence)
    run = await session.get(Run, claimed.id, with_for_update=True)
    assert run is not None
    run.state = state
    run.error = error
    if approval_ids:
        run.input = {
            **run.input,
            "approval_id": approval_ids[0],
            "approval_ids": list(approval_ids),
        }
    run.finished_at = None if state == "waiting" else clock.now()
    await session.flush()
    await _give_back(session, claimed.fence, clock)


async def requeue(session: AsyncSession, claimed: Claimed, *, clock: Clock) -> None:
    """Give the run back, to be begun again; its thread becomes free.

    Raises:
        LeaseLost: somebody else has taken the thread.
    """
    await check_fence(session, claimed.fence)
    run = await session.get(Run, claimed.id, with_for_update=True)
    assert run is not None
    run.state = "queued"
    await session.flush()
    await _give_back(session, claimed.fence, clock)


async def _give_back(session: AsyncSession, fence: Fence, clock: Clock) -> None:
    await leases.release(session, fence.name, fence.owner, fence.number, now=clock.now())


async def renew(session: AsyncSession, claimed: Claimed, *, clock: Clock) -> None:
    """Hold the run's thread for another `LEASE_SECONDS`.

    Raises:
        LeaseLost: somebody else has taken the thread.
    """
    fence = claimed.fence
    await leases.renew(
        session, fence.name, fence.owner, fence.number, seconds=LEASE_SECONDS, now=clock.now()
    )


async def waiting_runs(session: AsyncSession, *, thread_id: str | None = None) -> list[Waiting]:
    """Runs that wait for decisions, oldest first."""
    query = select(Run).where(Run.state == "waiting").order_by(Run.created_at)
    if thread_id is not None:
        query = query.where(Run.thread_id == thread_id)
    return [
        Waiting(
            id=run.id,
            thread_id=run.thread_id,
            approval_ids=tuple(run.input.get("approval_ids", ())),
        )
        for run in await session.scalars(query)
    ]


async def busy_threads(session: AsyncSession) -> set[str]:
    """Threads with a run that is queued, at work or waiting."""
    rows = await session.scalars(
        select(Run.thread_id).where(Run.state.in_(("queued", "running", "waiting"))).distinct()
    )
    return set(rows)


async def queue_resume(
    session: AsyncSession, waiting_id: str, decisions: dict[str, str], *, clock: Clock
) -> str | None:
    """Finish a waiting run and queue the one that carries out *decisions* (approval to state).

    None when it no longer waits: whoever came first has queued it.
    """
    run = await session.get(Run, waiting_id, with_for_update=True)
    if run is None or run.state != "waiting":
        return None
    now = clock.now()
    run.state = "finished"
    run.finished_at = now
    resume = Run(
        id=new_id("run"),
        thread_id=run.thread_id,
        person_id=run.person_id,
        kind="resume",
        input={
            "asker": run.input["asker"],
            "approval_id": run.input["approval_id"],
            "decisions": decisions,
        },
        state="queued",
        error=None,
        attempts=0,
        created_at=now,
        started_at=None,
        finished_at=None,
    )
    session.add(resume)
    await session.flush()
    return resume.id


async def supersede(session: AsyncSession, waiting_id: str, *, clock: Clock) -> bool:
    """Cancel a waiting run because its conversation went on; False when it no longer waits."""
    run = await session.get(Run, waiting_id, with_for_update=True)
    if run is None or run.state != "waiting":
        return False
    run.state = "cancelled"
    run.finished_at = clock.now()
    await session.flush()
    return True
