"""An agents worker's side of a conversation, moved step by step by a test."""

from graphs import runs, threads
from graphs.events import EventWriter
from memory.database import Database
from tests.fakes.clock import FakeClock
from tools.kit.deps import Caller


class StandInWorker:
    """Claims queued runs of one tenant and writes the events that a test wants."""

    def __init__(self, tenant: Database, clock: FakeClock) -> None:
        self.tenant = tenant
        self.clock = clock

    async def begin(self) -> EventWriter:
        """Take the oldest queued run up."""
        async with self.tenant.unit_of_work() as session:
            claimed = await runs.claim_run(session, owner="wrk-test", clock=self.clock)
        assert claimed is not None, "no run is queued"
        writer = EventWriter(self.tenant, claimed, self.clock)
        await writer.begin(mode="embedded")
        return writer

    async def answer(self, text: str) -> None:
        """Answer the oldest queued run with one message."""
        writer = await self.begin()
        await writer.say(text)
        await writer.finish()

    async def ask(self, approval_id: str) -> None:
        """Pause the oldest queued run on a question."""
        writer = await self.begin()
        await writer.pause([{"id": "call-1", "approvalId": approval_id}])

    async def use_tool(self, name: str, title: str, answer: str) -> None:
        """Answer the oldest queued run after one tool call."""
        writer = await self.begin()
        await writer.called("call.1", name, title, '{"service": "catalog"}')
        await writer.answered("call.1", answer, ok=True)
        await writer.say("It is well.")
        await writer.finish()


async def say(
    tenant: Database, caller: Caller, clock: FakeClock, *texts: str, thread_id: str | None = None
) -> str:
    """A thread of *caller* in which each of *texts* waits for an answer; its id."""
    async with tenant.unit_of_work() as session:
        if thread_id is None:
            thread_id = (await threads.create_thread(session, caller, clock=clock)).id
        for text in texts:
            await threads.post_message(session, caller, thread_id, text, clock)
    return thread_id
