"""What a turn says, as AG-UI events in rows: words stream in small batches, tool calls in cards.

Ids are derived from the run, so that a turn begun again after a crash replaces what its first
attempt had said instead of saying it twice.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from agents.metering import RunMeter
from graphs import runs
from graphs.runs import Claimed, EndState, NewEvent
from memory.database import Database
from tools.kit.clock import Clock
from tools.kit.storable import storable

FLUSH_SECONDS = 0.08
"""Words that come closer together than this are stored together: below what an eye notices."""
BATCH = 64
"""Events stored in one transaction at most."""
RESULT_CHARACTERS = 2_000
"""Longest tool result a card shows; the specialist reads all of it."""


class EventWriter:
    """Stores the events of one run, under its fence."""

    def __init__(self, tenant: Database, claimed: Claimed, clock: Clock) -> None:
        self._tenant = tenant
        self._claimed = claimed
        self._clock = clock
        self._buffer: list[NewEvent] = []
        self._messages: list[tuple[str, str]] = []
        self._flushed = time.monotonic()
        self._said: dict[int, int] = {}
        self.meter: RunMeter | None = None
        """What the turn spends on models, told with its end."""

    async def emit(self, type_: str, **data: Any) -> None:
        """Add one event; stored at once, or with those that follow within `FLUSH_SECONDS`."""
        self.add(type_, **data)
        waited = time.monotonic() - self._flushed
        if waited >= FLUSH_SECONDS or len(self._buffer) >= BATCH:
            await self.flush()

    def add(self, type_: str, **data: Any) -> None:
        """Add one event that is stored with the next."""
        event = NewEvent(type=type_, data=storable(data), at=self._clock.now())
        last = self._buffer[-1] if self._buffer else None
        if last is not None and _continues(event, last):
            # Letters that wait together are one event: a model that sends them one by one costs
            # no row for each.
            last.data["delta"] += event.data["delta"]
        else:
            self._buffer.append(event)

    async def flush(self) -> None:
        """Store what is waiting.

        Raises:
            LeaseLost: another worker has taken the thread; nothing was stored.
            StoreUnavailable: the tenant's database can't be reached.
        """
        if not self._buffer:
            return
        async with self._tenant.unit_of_work() as session:
            await self._store(session)

    async def _store(self, session: AsyncSession) -> None:
        events, messages = self._buffer, self._messages
        self._buffer, self._messages = [], []
        self._flushed = time.monotonic()
        await runs.append_events(session, self._claimed, events)
        for message_id, text in messages:
            said = storable(text)
            await runs.store_message(session, self._claimed, message_id, said, clock=self._clock)

    async def begin(self, *, mode: str) -> None:
        """The turn begins, or begins again."""
        await self.emit("RUN_STARTED", threadId=self._claimed.thread_id, runId=self._claimed.id)
        await self.status("thinking", mode=mode)

    async def status(self, status: str, **more: Any) -> None:
        """Where the turn stands: a word for the page, and the steps once they are known."""
        await self.emit("STATE_SNAPSHOT", snapshot={"status": status, **more})
        await self.flush()

    def speech(self, step: int) -> "Speech":
        """Something to say in step *step*; each has its own message."""
        self._said[step] = self._said.get(step, 0) + 1
        return Speech(self, f"{self._claimed.id}.{step}.{self._said[step]}")

    async def say(self, text: str, *, step: int = 0) -> None:
        """Say *text* as one message."""
        speech = self.speech(step)
        await speech.add(text)
        await speech.end()

    async def called(self, call_id: str, name: str, title: str, arguments: str) -> None:
        """A tool is being called: its card opens."""
        await self.emit("TOOL_CALL_START", toolCallId=call_id, toolCallName=name, title=title)
        await self.emit("TOOL_CALL_ARGS", toolCallId=call_id, delta=arguments)
        await self.emit("TOOL_CALL_END", toolCallId=call_id)
        await self.flush()

    async def answered(self, call_id: str, content: str, *, ok: bool) -> None:
        """A tool has answered: its card closes."""
        shown = content
        if len(content) > RESULT_CHARACTERS:
            shown = content[: RESULT_CHARACTERS - 1] + "…"
        await self.emit(
            "TOOL_CALL_RESULT",
            toolCallId=call_id,
            messageId=f"{call_id}.result",
            content=shown,
            ok=ok,
        )
        await self.flush()

    async def finish(self, state: EndState = "finished") -> None:
        """The turn is over."""
        await self._end(state, {"type": "success"})

    async def pause(self, interrupts: Sequence[Mapping[str, str]]) -> None:
        """The turn waits for people: each interrupt names a tool call and its approval."""
        outcome = {"type": "interrupt", "interrupts": [dict(one) for one in interrupts]}
        await self._end("waiting", outcome, [one["approvalId"] for one in interrupts])

    async def _end(
        self, state: EndState, outcome: dict[str, Any], approval_ids: Sequence[str] = ()
    ) -> None:
        self.add(
            "RUN_FINISHED",
            threadId=self._claimed.thread_id,
            runId=self._claimed.id,
            outcome=outcome,
            **self._usage(),
        )
        async with self._tenant.unit_of_work() as session:
            await self._store(session)
            await runs.end_run(
                session, self._claimed, state, clock=self._clock, approval_ids=approval_ids
            )

    async def fail(self, message: str, code: str) -> None:
        """The turn ends without an answer, and says why."""
        self.add("RUN_ERROR", message=message, code=code, **self._usage())
        async with self._tenant.unit_of_work() as session:
            await self._store(session)
            await runs.end_run(session, self._claimed, "failed", clock=self._clock, error=message)

    def _usage(self) -> dict[str, Any]:
        return {"usage": self.meter.usage} if self.meter else {}

    async def keep(self, message_id: str, text: str) -> None:
        """Store a whole message with the events that told it."""
        self._messages.append((message_id, text))
        await self.flush()


def _continues(event: NewEvent, last: NewEvent) -> bool:
    return (
        event.type == last.type == "TEXT_MESSAGE_CONTENT"
        and event.data["messageId"] == last.data["messageId"]
    )


class Speech:
    """One message being said; it begins with its first word and may stay unsaid."""

    def __init__(self, writer: EventWriter, message_id: str) -> None:
        self._writer = writer
        self._id = message_id
        self._text = ""

    @property
    def text(self) -> str:
        """What has been said so far."""
        return self._text

    async def add(self, delta: str) -> None:
        """Say a few more letters."""
        if not delta:
            return
        if not self._text:
            self._writer.add("TEXT_MESSAGE_START", messageId=self._id, role="assistant")
        self._text += delta
        await self._writer.emit("TEXT_MESSAGE_CONTENT", messageId=self._id, delta=delta)

    async def end(self) -> None:
        """The message is complete."""
        if not self._text:
            return
        await self._writer.emit("TEXT_MESSAGE_END", messageId=self._id)
        await self._writer.keep(self._id, self._text)
