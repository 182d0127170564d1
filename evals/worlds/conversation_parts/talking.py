"""A person who talks to the academy's agents through the worker's own turns, and answers questions.

What is kept of it comes from the stored events, runs and actions, never from a return value.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import select

from evals.suites.base import Step
from evals.worlds.conversation_parts.academies import Academy
from evals.worlds.conversation_parts.drawing import Drawn
from graphs import threads
from graphs.runtime import Runtime
from graphs.threads import EventView
from graphs.turns import Turns
from memory.ids import new_id
from memory.tables.autonomy import Action
from memory.tables.threads import Run
from tools.autonomy import service as autonomy

DECISIONS: dict[str, Literal["approve", "deny"]] = {"approves": "approve", "denies": "deny"}
MOST_EVENTS = 5_000


@dataclass
class Conversed:
    """What a conversation came to, whoever answered."""

    words: str = ""
    """What was answered to the last message."""
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Tool calls in order: name and arguments."""
    results: list[str] = field(default_factory=list)
    """What the tools answered."""
    asked: list[dict[str, str]] = field(default_factory=list)
    """Actions put to the gate or to the person: `operation`, `target`, `state`."""
    ended: list[str] = field(default_factory=list)
    """How each turn ended, such as `finished`, `waiting` or `failed model_timeout`."""
    steps: list[Step] = field(default_factory=list)
    cost: dict[str, float] = field(default_factory=dict)


class Talk:
    """One conversation of the world's person with the product."""

    def __init__(self, runtime: Runtime, academy: Academy, drawn: Drawn, began: datetime) -> None:
        self._runtime = runtime
        self._academy = academy
        self._drawn = drawn
        self._began = began
        self._clock = runtime.services.clock
        self._thread_id = ""
        self._told = Conversed()

    async def play(self) -> Conversed:
        """Say every message of the world, each after the answer to the one before."""
        async with self._academy.tenant.unit_of_work() as session:
            thread = await threads.create_thread(session, self._academy.person, clock=self._clock)
        self._thread_id, before = thread.id, 0
        async with self._runtime.turns(new_id("wrk")).opened() as turns:
            for text in self._drawn.turns:
                before = len(await self._events())
                await self._say(text)
                await self._answered(turns)
        events = await self._events()
        self._told.words = _words(events[before:])
        self._read(events)
        await self._read_records(events)
        self._told.steps.sort(key=lambda step: step.at)
        return self._told

    async def _say(self, text: str) -> None:
        self._note(self._clock.now(), "person", text)
        async with self._academy.tenant.unit_of_work() as session:
            await threads.post_message(
                session, self._academy.person, self._thread_id, text, self._clock
            )

    async def _answered(self, turns: Turns) -> None:
        """Let the worker do all there is to do, and the person decide what they are asked."""
        tenant_id = self._academy.person.tenant_id
        while True:
            await turns.resume_decided(tenant_id)
            if await turns.claim(tenant_id):
                await asyncio.gather(*turns.at_work)
            elif not await self._decide():
                return

    async def _decide(self) -> bool:
        """Answer every open question as this person does; whether there was one to answer."""
        if self._drawn.person == "silent":
            return False
        control, person = self._academy.databases.control, self._academy.person
        async with control.unit_of_work() as session:
            pending = await autonomy.list_approvals(session, person, state="pending")
        for question in pending:
            self._note(self._clock.now(), "decision", f"{self._drawn.person}: {question.title}")
            async with control.unit_of_work() as session:
                await autonomy.decide(
                    session,
                    person,
                    question.id,
                    decision=DECISIONS[self._drawn.person],
                    digest=question.digest,
                    clock=self._clock,
                    config=self._runtime.autonomy,
                )
        return bool(pending)

    async def _events(self) -> list[EventView]:
        async with self._academy.tenant.unit_of_work() as session:
            return await threads.events_after(
                session, self._academy.person, self._thread_id, 0, limit=MOST_EVENTS
            )

    def _read(self, events: Sequence[EventView]) -> None:
        """Tool calls, their answers and what was said, in the order in which it was stored."""
        names: dict[str, str] = {}
        called: set[str] = set()
        for event in events:
            data = event.data
            match event.type:
                case "TOOL_CALL_START":
                    names[data["toolCallId"]] = data["toolCallName"]
                case "TOOL_CALL_ARGS" if data["toolCallId"] in names:
                    name = names[data["toolCallId"]]
                    arguments = json.loads(data["delta"] or "{}")
                    if data["toolCallId"] not in called:  # a call goes on after a decision
                        called.add(data["toolCallId"])
                        self._told.calls.append((name, arguments))
                    self._note(event.at, "tool", f"{name} {json.dumps(arguments)}")
                case "TOOL_CALL_RESULT":
                    self._told.results.append(data["content"])
                    self._note(event.at, "result", data["content"])
                case "TEXT_MESSAGE_END":
                    said = [e for e in events if e.data.get("messageId") == data["messageId"]]
                    self._note(event.at, "answer", _words(said))
                case "RUN_FINISHED" if data["outcome"]["type"] == "interrupt":
                    self._note(event.at, "question", "It waits for a person.")
                case "RUN_ERROR":
                    self._note(event.at, "error", f"{data['code']}: {data['message']}")

    async def _read_records(self, events: Sequence[EventView]) -> None:
        """How the turns ended and what was put to the gate."""
        async with self._academy.tenant.unit_of_work() as session:
            query = select(Run).where(Run.thread_id == self._thread_id).order_by(Run.created_at)
            runs = list(await session.scalars(query))
        async with self._academy.databases.control.unit_of_work() as session:
            order = (Action.created_at, Action.position)
            actions = list(await session.scalars(select(Action).order_by(*order)))
        last = {event.run_id: event.data for event in events}
        for run in runs:
            code = last.get(run.id, {}).get("code")
            self._told.ended.append(f"{run.state} {code}" if code else run.state)
        self._told.asked = [
            {"operation": one.operation, "target": one.target, "state": one.state}
            for one in actions
        ]
        spent = [data["usage"] for data in last.values() if "usage" in data]
        for name, key in (
            ("model_calls", "modelCalls"),
            ("input_tokens", "promptTokens"),
            ("output_tokens", "completionTokens"),
        ):
            self._told.cost[name] = float(sum(usage[key] for usage in spent))

    def _note(self, at: datetime, kind: str, text: str) -> None:
        since = max(0.0, (at - self._began).total_seconds())
        self._told.steps.append(Step(at=since, kind=kind, text=text))


def _words(events: Sequence[EventView]) -> str:
    return "".join(
        event.data["delta"] if event.type == "TEXT_MESSAGE_CONTENT" else "\n"
        for event in events
        if event.type in ("TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END")
    ).strip()
