"""One person talking to the academy's agents, with a worker that takes turns when told to."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from graphs import threads
from graphs.runtime import Runtime
from graphs.threads import EventView, RunView
from graphs.turns import Turns
from memory.database import Database
from memory.ids import new_id
from memory.tables.autonomy import Action
from tests.fakes.clock import FakeClock
from tests.fakes.small_fleet import SmallFleet
from tools.autonomy import service as autonomy
from tools.autonomy.schemas import ApprovalView
from tools.kit.deps import Caller

TURN_SECONDS = 30


@dataclass
class Conversation:
    """A thread, and what was said in it since the last question."""

    runtime: Runtime
    tenant: Database
    staff: Caller
    fleet: SmallFleet
    clock: FakeClock
    thread_id: str = ""
    seen: int = 0
    events: list[EventView] = field(default_factory=list)
    turns: Turns | None = None

    @property
    def control(self) -> Database:
        return self.runtime.services.control

    async def ask(self, text: str) -> str:
        """Say *text* and let the worker answer; the words that came back."""
        await self.post(text)
        return await self.answered()

    async def post(self, text: str) -> RunView:
        """Say *text*; nobody answers yet."""
        async with self.tenant.unit_of_work() as session:
            if not self.thread_id:
                thread = await threads.create_thread(session, self.staff, clock=self.clock)
                self.thread_id = thread.id
            return await threads.post_message(session, self.staff, self.thread_id, text, self.clock)

    async def answered(self, *, owner: str | None = None) -> str:
        """Let a worker do all there is to do; the words said meanwhile."""
        turns = self.runtime.turns(owner or new_id("wrk"))
        async with asyncio.timeout(TURN_SECONDS), turns.opened():
            while True:
                await turns.resume_decided(self.staff.tenant_id)
                if not await turns.claim(self.staff.tenant_id):
                    break
                await asyncio.gather(*turns.at_work)
        await self.read()
        return self.words

    async def read(self) -> None:
        """Read the events that came since the last time."""
        async with self.tenant.unit_of_work() as session:
            self.events = await threads.events_after(session, self.staff, self.thread_id, self.seen)
        self.seen = self.events[-1].seq if self.events else self.seen

    @property
    def words(self) -> str:
        """What was said in the last events."""
        return "".join(
            event.data["delta"] if event.type == "TEXT_MESSAGE_CONTENT" else "\n"
            for event in self.events
            if event.type in ("TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END")
        ).strip()

    def of(self, type_: str) -> list[dict[str, Any]]:
        """The data of the last events of one type."""
        return [event.data for event in self.events if event.type == type_]

    async def run(self) -> RunView:
        """The thread's newest run."""
        async with self.tenant.unit_of_work() as session:
            view = await threads.get_thread(session, self.staff, self.thread_id)
        assert view.run is not None
        return view.run

    async def question(self) -> ApprovalView:
        """The one open question."""
        async with self.control.unit_of_work() as session:
            (found,) = await autonomy.list_approvals(session, self.staff, state="pending")
        return found

    async def decide(self, decision: Any) -> ApprovalView:
        """Answer the one open question; nothing is carried out yet."""
        question = await self.question()
        self.clock.advance(seconds=1)
        async with self.control.unit_of_work() as session:
            return await autonomy.decide(
                session,
                self.staff,
                question.id,
                decision=decision,
                digest=question.digest,
                clock=self.clock,
                config=self.runtime.autonomy,
            )

    async def actions(self) -> list[tuple[str, str]]:
        """Every action there is: target and state, in order."""
        async with self.control.unit_of_work() as session:
            rows = await session.scalars(
                select(Action).order_by(Action.created_at, Action.position)
            )
            return [(row.target, row.state) for row in rows]
