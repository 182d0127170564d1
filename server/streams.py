"""Following a thread's events: one query every so often, and an end that can be resumed.

A stream is only ever a reading of stored rows, so any replica can continue what another began:
the client names the last event it saw, and nothing is missed or repeated.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from starlette.responses import StreamingResponse

from graphs.threads import EventView, events_after
from memory.database import Database
from memory.errors import StoreError
from server.lifespan import Services
from tools.kit.deps import Caller

POLL_SECONDS = 0.08
"""Between two looks while a turn is under way: below what a reader notices."""
IDLE_SECONDS = 0.4
"""Between two looks while nothing happens."""
BUSY_FOR = 20.0
"""Seconds without an event after which a thread counts as idle."""
HEARTBEAT_SECONDS = 10.0
"""A comment this often keeps proxies from closing a silent stream."""
LONGEST_SECONDS = 300.0
"""A stream ends after this, so that its session is checked again; the client resumes it."""
STORE_WAIT_SECONDS = 1.0
BATCH = 500
RETRY_DRAINING_MS = 200
RETRY_MS = 1000
RUN_OVER = ("RUN_FINISHED", "RUN_ERROR")

Batch = Sequence[EventView]


async def look(database: Database, caller: Caller, thread_id: str, after: int) -> Batch:
    """The next events numbered above *after*, at most `BATCH`."""
    async with database.unit_of_work() as session:
        return await events_after(session, caller, thread_id, after, BATCH)


async def follow(
    services: Services,
    caller: Caller,
    thread_id: str,
    after: int,
    *,
    first_batch_ends: bool = False,
) -> AsyncIterator[Batch | None]:
    """Batches of events numbered above *after*, as they come; None where a heartbeat is due.

    Ends when the replica drains, when the stream has lasted `LONGEST_SECONDS`, or, with
    *first_batch_ends*, once everything stored has been sent. While the store is down it waits.
    """
    database = await services.tenant_database(caller.tenant_id)
    began = quiet_since = beat = time.monotonic()
    while not services.draining.is_set():
        pause = POLL_SECONDS
        try:
            # Shielded: a client that leaves in the middle of a query must not cost a connection.
            events = await asyncio.shield(look(database, caller, thread_id, after))
        except StoreError:
            events, pause = [], STORE_WAIT_SECONDS
        now = time.monotonic()
        if events:
            after = events[-1].seq
            quiet_since = beat = now
            yield events
            if len(events) == BATCH:
                continue
        elif now - beat >= HEARTBEAT_SECONDS:
            beat = now
            yield None
        if first_batch_ends or now - began > LONGEST_SECONDS:
            return
        if now - quiet_since > BUSY_FOR:
            pause = max(pause, IDLE_SECONDS)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(services.draining.wait(), pause)


def message(data: str, *, id: int | None = None) -> bytes:  # noqa: A002 - the protocol's name
    """One unnamed server-sent event; each line of *data* becomes a data line."""
    head = f"id: {id}\n" if id is not None else ""
    body = "\n".join(f"data: {line}" for line in data.splitlines() or [""])
    return f"{head}{body}\n\n".encode()


def ag_ui(event: EventView) -> bytes:
    """One stored event in AG-UI's form, its number as the stream's id."""
    data: dict[str, Any] = {
        "type": event.type,
        "timestamp": int(event.at.timestamp() * 1000),
        **event.data,
    }
    return message(json.dumps(data, ensure_ascii=False, separators=(",", ":")), id=event.seq)


def ends_run(batch: Batch, run_id: str) -> bool:
    """Whether *batch* holds the end of the run."""
    return any(event.run_id == run_id and event.type in RUN_OVER for event in batch)


def resume_point(last_event_id: str | None, otherwise: int) -> int:
    """The number to continue after: `Last-Event-ID` where it is one, else *otherwise*."""
    if last_event_id is not None and last_event_id.isascii() and last_event_id.isdigit():
        return int(last_event_id)
    return otherwise


Render = Callable[[Batch], Awaitable[bytes]]


def stream(
    services: Services,
    batches: AsyncIterator[Batch | None],
    render: Render,
    *,
    until_run: str | None = None,
    headers: dict[str, str] | None = None,
) -> StreamingResponse:
    """*batches* as a `text/event-stream` answer; with *until_run* it ends with that run."""

    async def chunks() -> AsyncIterator[bytes]:
        services.metrics.streams.inc()
        try:
            yield b": connected\n\n"
            async for batch in batches:
                if batch is None:
                    yield b": still here\n\n"
                    continue
                yield await render(batch)
                if until_run is not None and ends_run(batch, until_run):
                    return
            wait = RETRY_DRAINING_MS if services.draining.is_set() else RETRY_MS
            yield f"retry: {wait}\n\n".encode()
        finally:
            services.metrics.streams.dec()

    return StreamingResponse(
        chunks(),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no", **(headers or {})},
    )
