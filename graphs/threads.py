"""Conversations as people meet them: threads, messages, runs and the events of a run.

Everything here takes a session on the tenant's database and the caller; a person sees their own
threads only, and somebody else's thread does not exist for them. Light on purpose: a web replica
imports this, so it stands on memory and the kit alone. The worker's side is in `graphs/runs.py`.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from memory.ids import new_id
from memory.tables.threads import Message, Run, RunEvent, Thread
from tools.kit.clock import Clock
from tools.kit.deps import Caller
from tools.kit.errors import Conflict, Invalid, NotFound
from tools.kit.operation import Value

MESSAGE_CHARACTERS = 20_000
"""Longest message taken: some 40 pages of chat; a longer text belongs in a file."""
QUEUED_RUNS = 5
"""Messages of one thread that may wait for an answer before another is refused."""
TITLE_CHARACTERS = 60
NEW_TITLE = "New conversation"

RunState = Literal["queued", "running", "waiting", "finished", "failed", "cancelled"]


class RunView(Value):
    """One turn of a thread: a message being answered, or a decision being carried out."""

    id: str
    thread_id: str
    kind: Literal["message", "resume"]
    state: RunState
    error: str | None
    approval_id: str | None
    """The question a `waiting` run waits for, or the one a `resume` run answers."""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class MessageView(Value):
    """One message as it stands in the thread."""

    id: str
    seq: int
    role: Literal["user", "assistant"]
    text: str
    run_id: str | None
    created_at: datetime


class EventView(Value):
    """One AG-UI event; *seq* counts per thread and is the stream's event id."""

    seq: int
    run_id: str
    type: str
    data: dict[str, Any]
    at: datetime


class ThreadView(Value):
    """One conversation, with its messages where one thread was asked for."""

    id: str
    title: str
    created_at: datetime
    updated_at: datetime
    messages: list[MessageView] = []
    run: RunView | None = None
    """The newest turn, whatever its state."""
    last_seq: int = 0
    """Sequence number of the newest event; following a stream from here misses nothing."""


def run_view(run: Run) -> RunView:
    """The value that stands for *run* outside this module."""
    return RunView.model_validate(
        {
            "id": run.id,
            "thread_id": run.thread_id,
            "kind": run.kind,
            "state": run.state,
            "error": run.error,
            "approval_id": run.input.get("approval_id"),
            "created_at": run.created_at,
            "started_at": run.started_at,
            "finished_at": run.finished_at,
        }
    )


def _owner(caller: Caller) -> str:
    """Whose threads are meant; an engine has threads of its own under its name."""
    return caller.person_id or caller.actor


async def create_thread(
    session: AsyncSession, caller: Caller, *, clock: Clock, thread_id: str | None = None
) -> ThreadView:
    """An empty conversation of *caller*; its title comes with the first message.

    A form may choose *thread_id* before it is sent: sent twice, also at once, it is one thread.

    Raises:
        NotFound: the id is somebody else's thread.
    """
    now = clock.now()
    chosen = thread_id or new_id("thr")
    await session.execute(
        insert(Thread)
        .values(
            id=chosen, person_id=_owner(caller), title=NEW_TITLE, created_at=now, updated_at=now
        )
        .on_conflict_do_nothing()
    )
    row = await own_thread(session, caller, chosen)
    return ThreadView(
        id=row.id, title=row.title, created_at=row.created_at, updated_at=row.updated_at
    )


async def list_threads(
    session: AsyncSession, caller: Caller, *, limit: int = 30
) -> list[ThreadView]:
    """The caller's conversations, the one touched last first, without their messages."""
    rows = await session.scalars(
        select(Thread)
        .where(Thread.person_id == _owner(caller))
        .order_by(Thread.updated_at.desc(), Thread.id)
        .limit(limit)
    )
    return [
        ThreadView(id=row.id, title=row.title, created_at=row.created_at, updated_at=row.updated_at)
        for row in rows
    ]


async def own_thread(
    session: AsyncSession, caller: Caller, thread_id: str, *, lock: bool = False
) -> Thread:
    """The caller's thread as a row, locked until the unit of work ends where *lock* says so.

    Raises:
        NotFound: there is none with that id, or it is somebody else's.
    """
    query = select(Thread).where(Thread.id == thread_id, Thread.person_id == _owner(caller))
    thread = await session.scalar(query.with_for_update() if lock else query)
    if thread is None:
        raise NotFound("There is no such conversation of yours.")
    return thread


async def get_thread(
    session: AsyncSession, caller: Caller, thread_id: str, *, messages: int = 200
) -> ThreadView:
    """One conversation with its last *messages* messages, its newest run and last event number.

    Raises:
        NotFound: there is none with that id, or it is somebody else's.
    """
    thread = await own_thread(session, caller, thread_id)
    newest = await session.scalars(
        select(Message)
        .where(Message.thread_id == thread_id)
        .order_by(Message.seq.desc())
        .limit(messages)
    )
    run = await session.scalar(
        select(Run)
        .where(Run.thread_id == thread_id)
        .order_by(Run.created_at.desc(), Run.id.desc())
        .limit(1)
    )
    last = await session.scalar(
        select(func.max(RunEvent.seq)).where(RunEvent.thread_id == thread_id)
    )
    return ThreadView(
        id=thread.id,
        title=thread.title,
        created_at=thread.created_at,
        updated_at=thread.updated_at,
        messages=[_message_view(row) for row in reversed(newest.all())],
        run=run_view(run) if run else None,
        last_seq=last or 0,
    )


def _message_view(message: Message) -> MessageView:
    return MessageView.model_validate(
        {
            "id": message.id,
            "seq": message.seq,
            "role": message.role,
            "text": message.text,
            "run_id": message.run_id,
            "created_at": message.created_at,
        }
    )


async def post_message(
    session: AsyncSession,
    caller: Caller,
    thread_id: str,
    text: str,
    clock: Clock,
    *,
    key: str | None = None,
    more: Mapping[str, Any] | None = None,
) -> RunView:
    """Store what the person wrote and queue the run that answers it.

    *more* is what else the run's input carries (`graphs/conversations.py`).

    A run waiting for a decision is superseded when the worker takes this one up: it first closes
    the open question, so that nobody can approve what the conversation has left behind. The same
    *key* sent twice to one thread (a double click, a repeated request) answers the first run.

    Raises:
        NotFound: no such thread of this caller.
        Invalid: the text is empty, or longer than `MESSAGE_CHARACTERS`.
        Conflict: `QUEUED_RUNS` messages of this thread already wait for an answer.
    """
    words = text.replace("\x00", "").strip()
    if not words:
        raise Invalid("The message is empty; write what you want to know or have done.")
    if len(words) > MESSAGE_CHARACTERS:
        raise Invalid(
            f"The message has {len(words):,} characters; at most {MESSAGE_CHARACTERS:,} are taken."
        )
    thread = await own_thread(session, caller, thread_id, lock=True)
    if key:
        sent = await session.scalar(
            select(Run).where(Run.thread_id == thread_id, Run.input["key"].astext == key).limit(1)
        )
        if sent is not None:
            return run_view(sent)
    waiting = await session.scalar(
        select(func.count()).where(Run.thread_id == thread_id, Run.state == "queued")
    )
    if waiting and waiting >= QUEUED_RUNS:
        raise Conflict(
            f"{waiting} messages of this conversation wait for an answer; send the next after one."
        )
    now = clock.now()
    run = Run(
        id=new_id("run"),
        thread_id=thread_id,
        person_id=_owner(caller),
        kind="message",
        input={**(more or {}), "text": words, "asker": asker_data(caller), "key": key},
        state="queued",
        error=None,
        attempts=0,
        created_at=now,
        started_at=None,
        finished_at=None,
    )
    session.add(run)
    await session.flush()
    session.add(
        Message(
            id=new_id("msg"),
            thread_id=thread_id,
            seq=await next_message_seq(session, thread_id),
            role="user",
            text=words,
            run_id=run.id,
            created_at=now,
        )
    )
    if thread.title == NEW_TITLE:
        thread.title = _title(words)
    thread.updated_at = now
    await session.flush()
    return run_view(run)


def _title(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TITLE_CHARACTERS else line[: TITLE_CHARACTERS - 1].rstrip() + "…"


async def next_message_seq(session: AsyncSession, thread_id: str) -> int:
    """The number of the next message; hold the thread's row lock while using it."""
    last = await session.scalar(select(func.max(Message.seq)).where(Message.thread_id == thread_id))
    return (last or 0) + 1


async def events_after(
    session: AsyncSession, caller: Caller, thread_id: str, after_seq: int, limit: int = 500
) -> list[EventView]:
    """Events of the caller's thread with a number above *after_seq*, oldest first.

    A message or tool call whose START comes a second time (the worker died and another took over)
    replaces what was shown under its id. An unknown or foreign thread has no events.
    """
    rows = await session.scalars(
        select(RunEvent)
        .join(Thread, Thread.id == RunEvent.thread_id)
        .where(
            RunEvent.thread_id == thread_id,
            Thread.person_id == _owner(caller),
            RunEvent.seq > after_seq,
        )
        .order_by(RunEvent.seq)
        .limit(limit)
    )
    return [
        EventView(seq=row.seq, run_id=row.run_id, type=row.type, data=row.data, at=row.at)
        for row in rows
    ]


async def get_run(session: AsyncSession, caller: Caller, run_id: str) -> RunView:
    """One run of the caller.

    Raises:
        NotFound: there is none with that id, or it is somebody else's.
    """
    run = await session.scalar(select(Run).where(Run.id == run_id))
    if run is None or run.person_id != _owner(caller):
        raise NotFound("There is no such run of yours.")
    return run_view(run)


async def first_event(session: AsyncSession, caller: Caller, run_id: str) -> int | None:
    """Number of the first event of the caller's run; None while it hasn't begun."""
    query = (
        select(func.min(RunEvent.seq))
        .join(Thread, Thread.id == RunEvent.thread_id)
        .where(RunEvent.run_id == run_id, Thread.person_id == _owner(caller))
    )
    return await session.scalar(query)


def asker_data(caller: Caller) -> dict[str, Any]:
    """Who asked, in the form a run carries to the worker.

    What they may do is left out on purpose: the worker looks it up when it begins.
    """
    return {"person_id": caller.person_id, "name": caller.name, "via": caller.via}
