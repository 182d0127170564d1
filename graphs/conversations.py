"""Which thread a conversation goes on in, for clients that send all of it with every message.

Such a client keeps no thread id: it sends what was said before and the new words. A run keeps a
digest of what its client had sent up to it; the next message goes on in the thread of the run
whose conversation and answer the client repeats, where nothing was said there since. All else
begins a thread of its own, and what the client says was said before is left out: nobody here
vouches for it. Light, as `graphs/threads.py` is: a web replica imports this.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from graphs import threads
from graphs.threads import RunView, run_view
from memory.tables.threads import Message, Run, RunEvent, Thread
from tools.kit.clock import Clock
from tools.kit.deps import Caller
from tools.kit.errors import Conflict, Invalid

CONTINUED_FOR = timedelta(days=7)
"""A conversation untouched for longer begins anew: what it knew of the fleet is stale."""
ALIKE = 5
"""Conversations of one wording that are compared by their answers, the newest first."""
LEFT_OUT = (
    "This begins a new conversation: the earlier messages you sent aren't one of yours that the "
    "academy could go on with, so they were left out."
)


@dataclass(frozen=True)
class Line:
    """One message as the client sent it."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True)
class Entered:
    """A message taken in."""

    run: RunView
    after: int
    """Its events have numbers above this one."""
    left_out: bool
    """Whether earlier messages of the client were left out."""


def squeezed(text: str) -> str:
    """*text* with every run of white space as one blank: clients trim and wrap."""
    return " ".join(text.split())


def digest(lines: Sequence[Line]) -> str:
    """What a conversation is recognised by: roles and words, white space aside."""
    plain = [[line.role, squeezed(line.text)] for line in lines]
    return hashlib.sha256(json.dumps(plain, ensure_ascii=True).encode()).hexdigest()


def parted(lines: Sequence[Line]) -> tuple[list[Line], str]:
    """What was said up to the last answer, and what the person has said since, as one text.

    Raises:
        Invalid: the last line isn't the person's.
    """
    if not lines or lines[-1].role != "user":
        raise Invalid("The last message must be the user's: there is nothing to answer otherwise.")
    start = len(lines)
    while start and lines[start - 1].role == "user":
        start -= 1
    return list(lines[:start]), "\n\n".join(line.text for line in lines[start:])


async def enter(
    session: AsyncSession,
    caller: Caller,
    lines: Sequence[Line],
    *,
    clock: Clock,
    specialist: str | None = None,
    key: str | None = None,
    repeated: bool = False,
) -> Entered:
    """Queue the run that answers the last of *lines*, in the thread it belongs to.

    *specialist* gets the message without routing. Sent again with the same *key*, or *repeated*
    by a client that says so, nothing is said twice: the first run is answered.

    Raises:
        Invalid: the last line isn't the person's, is empty or too long.
        Conflict: *key* came with other words before, or too many messages wait already.
    """
    before, text = parted(lines)
    whole = digest(lines)
    await session.execute(
        select(func.pg_advisory_xact_lock(func.hashtextextended(f"enter:{_owner(caller)}", 0)))
    )
    known = await _sent_before(session, caller, whole, clock, key=key, repeated=repeated)
    if known is not None:
        begun = await threads.first_event(session, caller, known.id)
        after = await _last_event(session, known.thread_id) if begun is None else begun - 1
        left_out = bool(known.input.get("left_out"))
        return Entered(run=run_view(known), after=after, left_out=left_out)
    thread_id = await _continued(session, caller, before, clock)
    left_out = bool(before) and thread_id is None
    if thread_id is None:
        thread_id = (await threads.create_thread(session, caller, clock=clock)).id
    after = await _last_event(session, thread_id)
    run = await threads.post_message(
        session,
        caller,
        thread_id,
        text,
        clock,
        key=key,
        more={"specialist": specialist, "conversation": whole, "left_out": left_out},
    )
    return Entered(run=run, after=after, left_out=left_out)


def _owner(caller: Caller) -> str:
    return caller.person_id or caller.actor


async def _sent_before(
    session: AsyncSession,
    caller: Caller,
    whole: str,
    clock: Clock,
    *,
    key: str | None,
    repeated: bool,
) -> Run | None:
    own = (
        select(Run)
        .join(Thread, Thread.id == Run.thread_id)
        .where(
            Thread.person_id == _owner(caller),
            Thread.updated_at > clock.now() - CONTINUED_FOR,
            Run.kind == "message",
        )
        .order_by(Run.created_at.desc(), Run.id.desc())
        .limit(1)
    )
    if key:
        found = await session.scalar(own.where(Run.input["key"].astext == key))
        if found is not None and found.input.get("conversation") != whole:
            raise Conflict("This Idempotency-Key came with another message before; use a new one.")
        return found
    if repeated:
        return await session.scalar(own.where(Run.input["conversation"].astext == whole))
    return None


async def _last_event(session: AsyncSession, thread_id: str) -> int:
    last = await session.scalar(
        select(func.max(RunEvent.seq)).where(RunEvent.thread_id == thread_id)
    )
    return last or 0


async def _continued(
    session: AsyncSession, caller: Caller, before: Sequence[Line], clock: Clock
) -> str | None:
    """The thread in which *before* was the last that was said; None where there is none."""
    if not before:
        return None
    alike = await session.scalars(
        select(Run)
        .join(Thread, Thread.id == Run.thread_id)
        .where(
            Thread.person_id == _owner(caller),
            Thread.updated_at > clock.now() - CONTINUED_FOR,
            Run.kind == "message",
            Run.input["conversation"].astext == digest(before[:-1]),
        )
        .order_by(Run.created_at.desc(), Run.id.desc())
        .limit(ALIKE)
    )
    for run in alike:
        if not await _went_on(session, run) and await _answered(session, run, before[-1].text):
            return run.thread_id
    return None


async def _went_on(session: AsyncSession, run: Run) -> bool:
    """Whether the person said something else in the thread since."""
    newest = await session.scalar(
        select(Message.run_id)
        .where(Message.thread_id == run.thread_id, Message.role == "user")
        .order_by(Message.seq.desc())
        .limit(1)
    )
    return newest != run.id


async def _answered(session: AsyncSession, run: Run, claimed: str) -> bool:
    """Whether *claimed* is the run's answer: all of it, or its beginning where it was stopped.

    A question to a person stands behind the words of an answer and in no message, so that words
    may follow.
    """
    texts = await session.scalars(
        select(Message.text)
        .where(Message.run_id == run.id, Message.role == "assistant")
        .order_by(Message.seq)
    )
    said = squeezed("\n\n".join(texts))
    told = squeezed(claimed).removeprefix(LEFT_OUT).strip()
    if said:
        return bool(told) and (said.startswith(told) or told.startswith(said))
    return bool(run.input.get("approval_ids"))
