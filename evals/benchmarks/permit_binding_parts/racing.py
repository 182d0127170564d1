"""Many clients at once: processes of their own, connections of their own, one starting shot."""

import asyncio
import multiprocessing
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from evals.benchmarks.permit_binding_parts.stage import Stage
from evals.worlds.held_clock import HeldClock
from evals.worlds.outpost import Outpost
from memory.database import Database
from tools.kit.errors import CapabilityError
from tools.kit.leases import driving

PROCESSES = 5
READY_SECONDS = 120.0
"""Longest wait of a process for the others."""


@dataclass(frozen=True)
class Prize:
    """What the clients are after: an action of a question that may still be open."""

    url: str
    folder: Path
    name: str
    action_id: str
    approval_id: str
    digest: str


Client = Callable[[Stage, int], Awaitable[None]]


async def drive(stage: Stage, number: int) -> None:
    """Drive it, all on one machine."""
    await stage.drive()


async def drive_elsewhere(stage: Stage, number: int) -> None:
    """Drive it from a machine of one's own, without a lock file in common."""
    await stage.drive(locks=f"machine-{number}")


async def begin_elsewhere(stage: Stage, number: int) -> None:
    """Use its permit up, and have the effect if that worked: what is left without any driver."""
    await stage.tried(_begin_and_apply(stage))


async def answer_and_drive(stage: Stage, number: int) -> None:
    """Say yes, and drive it."""
    await stage.answer()
    await stage.drive()


async def answer_either(stage: Stage, number: int) -> None:
    """Every second says no; all drive it."""
    await stage.answer("deny" if number % 2 else "approve")
    await stage.drive()


async def undo(stage: Stage, number: int) -> None:
    """Drive its undo."""
    await stage.drive(purpose="undo")


async def _begin_and_apply(stage: Stage) -> None:
    gatekeeper = stage.gatekeeper()
    context = gatekeeper.driver.context
    with driving() as holder:
        action = await gatekeeper.begin(stage.action_id, "apply", holder)
        operation = gatekeeper.driver.operations[action.operation]
        arguments = operation.arguments.model_validate(action.arguments)
        effect = await operation.apply(context, arguments, action.plan, action.id)
        await gatekeeper.record(action.id, "applied", holder=holder, effect=effect)


def race(prize: Prize, client: Client, clients: int) -> list[str]:
    """Let *clients* clients do the same at once; what the product refused, sorted.

    Raises:
        RuntimeError: a client failed in a way that is no refusal.
    """
    return _shoot(_database_clients, (prize, client), clients)


def race_for_permit(home: Path, clock: HeldClock, clients: int) -> list[str]:
    """Let *clients* healers without a database go for one standing permit; what was refused.

    Raises:
        RuntimeError: a client failed in a way that is no refusal.
    """
    return _shoot(_outpost_clients, (home, clock), clients)


def _shoot(
    body: Callable[..., Awaitable[list[str]]], given: Sequence[Any], clients: int
) -> list[str]:
    fork = multiprocessing.get_context("fork")
    processes = min(PROCESSES, clients)
    barrier = fork.Barrier(processes)
    answers: Any = fork.SimpleQueue()
    shares = [range(number, clients, processes) for number in range(processes)]
    running = [
        fork.Process(target=_child, args=(body, given, share, barrier, answers)) for share in shares
    ]
    for process in running:
        process.start()
    told = [answers.get() for _ in running]
    for process in running:
        process.join()
    if failures := [failure for failure, _ in told if failure]:
        raise RuntimeError(f"A racing client failed: {failures[0]}")
    return sorted(refusal for _, refusals in told for refusal in refusals)


def _child(
    body: Callable[..., Awaitable[list[str]]],
    given: Sequence[Any],
    share: range,
    barrier: Barrier,
    answers: Any,
) -> None:
    try:
        answers.put(("", asyncio.run(_run(body(*given, share, barrier)))))
    except Exception as error:
        barrier.abort()
        answers.put((f"{type(error).__name__}: {error}", []))


async def _run(work: Awaitable[list[str]]) -> list[str]:
    return await work


async def _database_clients(
    prize: Prize, client: Client, share: range, barrier: Barrier
) -> list[str]:
    stages = [
        Stage(
            database=Database(prize.url, pool_size=1),
            folder=prize.folder,
            name=prize.name,
            action_id=prize.action_id,
            approval_id=prize.approval_id,
            digest=prize.digest,
        )
        for _ in share
    ]
    try:
        await asyncio.gather(*(stage.database.ping(seconds=60) for stage in stages))
        await asyncio.to_thread(barrier.wait, READY_SECONDS)
        await asyncio.gather(
            *(client(stage, number) for stage, number in zip(stages, share, strict=True))
        )
    finally:
        for stage in stages:
            await stage.database.dispose()
    return [refusal for stage in stages for refusal in stage.refusals]


async def _outpost_clients(
    home: Path, clock: HeldClock, share: range, barrier: Barrier
) -> list[str]:
    outposts = [Outpost(home, clock) for _ in share]
    await asyncio.to_thread(barrier.wait, READY_SECONDS)

    async def act(outpost: Outpost) -> str:
        try:
            return await outpost.act()
        except CapabilityError as refused:
            return refused.message

    said = await asyncio.gather(*(act(outpost) for outpost in outposts))
    return [words for words in said if words != "verified"]
