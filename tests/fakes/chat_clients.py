"""People behind existing chat clients, and the worker that answers them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
from openai import AsyncOpenAI

from graphs.runtime import open_runtime
from graphs.settings import Settings
from graphs.threads import ThreadView
from graphs.worker import work
from memory.database import Database, Databases
from memory.ids import new_id
from memory.tables.identity import Person
from tests.fakes.clock import FakeClock
from tests.fakes.embedded import TENANT_ID
from tests.fakes.remembered import WordMemory
from tests.fakes.small_fleet import SmallFleet
from tools.identity import service as identity
from tools.kit.deps import Caller, Role
from tools.recall.service import RecallService


@asynccontextmanager
async def working(
    settings: Settings, databases: Databases, fleet: SmallFleet, clock: FakeClock
) -> AsyncIterator[None]:
    """An agents worker with the embedded model, taking turns until the end."""
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        runtime = await stack.enter_async_context(
            open_runtime(
                settings,
                databases=databases,
                infrastructure=fleet,
                clock=clock,
                memory=RecallService(WordMemory(), clock),
            )
        )
        turns = await stack.enter_async_context(runtime.turns(new_id("wrk")).opened())
        task = asyncio.create_task(work(turns, stop))
        yield
        stop.set()
        await task


async def key_of(control: Database, clock: FakeClock, person: Person, role: Role) -> str:
    """A fresh API key of *person*."""
    caller = Caller(
        tenant_id=TENANT_ID,
        tenant_slug="dynasty",
        person_id=person.id,
        name=person.name,
        roles=frozenset({role}),
        fleet=True,
    )
    async with control.unit_of_work() as session:
        return await identity.issue_key(session, caller, "chat client", clock=clock)


def user(text: str) -> Any:
    return {"role": "user", "content": text}


def assistant(text: str) -> Any:
    return {"role": "assistant", "content": text}


async def say(client: AsyncOpenAI, *messages: Any, model: str = "academy", **more: Any) -> str:
    """The words that answer *messages*."""
    answer = await client.chat.completions.create(model=model, messages=[*messages], **more)
    assert answer.choices[0].message.content is not None
    return answer.choices[0].message.content


async def looks() -> AsyncIterator[None]:
    """Turns of a loop that looks at the world until it has changed; end it by a timeout."""
    while True:
        yield
        await asyncio.sleep(0.05)


async def threads_of(browser: httpx2.AsyncClient) -> list[ThreadView]:
    """A person's conversations with their messages, the newest first."""
    listed = (await browser.get("/api/threads")).json()["threads"]
    return [
        ThreadView.model_validate((await browser.get(f"/api/threads/{one['id']}")).json())
        for one in listed
    ]
