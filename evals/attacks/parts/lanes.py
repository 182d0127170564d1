"""Several academies attacked at once, each conversation in whichever is free."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

from evals.attacks.parts.stage import Stage, open_stage
from memory.embedded_postgres import EmbeddedPostgres

One = TypeVar("One")
Result = TypeVar("Result")
LANES = 4
"""Academies at once: enough for one to work while another waits, and no more."""


@asynccontextmanager
async def open_lanes(
    server: EmbeddedPostgres, folder: Path, *, name: str, lanes: int
) -> AsyncIterator[list[Stage]]:
    """*lanes* academies on *server*, called *name* and a number."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(open_stage(server, folder, name=f"{name}_{number}"))
            for number in range(lanes)
        ]


async def in_lanes(
    stages: Sequence[Stage],
    todo: Iterable[One],
    play: Callable[[Stage, One], Awaitable[Result]],
) -> list[tuple[One, Result]]:
    """What *play* makes of each of *todo*, in the order they ended.

    Raises:
        Exception: what *play* raised first; the others are cancelled.
    """
    found: list[tuple[One, Result]] = []
    waiting = iter(todo)

    async def lane(stage: Stage) -> None:
        for one in waiting:
            result = await play(stage, one)
            found.append((one, result))

    try:
        async with asyncio.TaskGroup() as group:
            for stage in stages:
                group.create_task(lane(stage))
    except ExceptionGroup as several:
        raise several.exceptions[0] from several
    return found
