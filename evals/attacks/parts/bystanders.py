"""Other people's requests on the worker under attack, in quiet times and in disturbed ones.

Quiet and disturbed times take turns, so that whatever else slows the machine slows both alike. A
request counts for a time in which it was asked and answered.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from evals.attacks.parts.seeding import HOME
from evals.attacks.parts.stage import Stage
from graphs.turns import Turns
from graphs.worker import work
from memory.tables.threads import Run

EVERY = 0.5
"""Seconds between two requests: as often as some hundred people at work ask."""
WINDOW = 10.0
"""Seconds of a quiet or a disturbed time."""
QUESTIONS = ("what is wrong?", "how is catalog?", "which actions were there today?")

Window = tuple[datetime, datetime]


class _OneTenant(Turns):
    """Turns over the bystanders' tenant only."""

    async def tenants(self) -> list[str]:
        return [HOME]


class Bystanders:
    """People who ask the embedded healer of *stage*, beside whatever else this process does."""

    def __init__(self, stage: Stage, *, every: float = EVERY, window: float = WINDOW) -> None:
        self._stage = stage
        self._every = every
        self._window = window
        self._go = asyncio.Event()
        self._still = asyncio.Event()
        self._still.set()
        self._at_work = 0
        self._windows: dict[bool, list[Window]] = {True: [], False: []}

    @asynccontextmanager
    async def disturbed(self) -> AsyncIterator[None]:
        """Waits for a disturbed time, which doesn't end before this does."""
        await self._go.wait()
        self._at_work += 1
        self._still.clear()
        try:
            yield
        finally:
            self._at_work -= 1
            if not self._at_work:
                self._still.set()

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """Asks and lets times take turns, until the end."""
        stop = asyncio.Event()
        runtime = self._stage.runtime
        turns = _OneTenant(
            databases=runtime.databases, services=runtime.services, owner="wrk-others"
        )
        async with turns.opened():
            tasks = [
                asyncio.create_task(work(turns, stop), name="others-worker"),
                asyncio.create_task(self._ask(), name="others"),
                asyncio.create_task(self._take_turns(), name="times"),
            ]
            try:
                yield
            finally:
                for task in tasks[1:]:
                    task.cancel()
                await asyncio.gather(*tasks[1:], return_exceptions=True)
                stop.set()
                await tasks[0]

    async def _ask(self) -> None:
        number = 0
        while True:
            thread = await self._stage.new_thread()
            await self._stage.say(thread, QUESTIONS[number % len(QUESTIONS)])
            number += 1
            await asyncio.sleep(self._every)

    async def _take_turns(self) -> None:
        while True:
            await self._still.wait()
            await self._time(disturbed=False)
            self._go.set()
            await self._time(disturbed=True)
            self._go.clear()

    async def _time(self, *, disturbed: bool) -> None:
        began = datetime.now(UTC)
        try:
            await asyncio.sleep(self._window)
        finally:
            self._windows[disturbed].append((began, datetime.now(UTC)))

    async def waits(self) -> dict[str, Any]:
        """How long requests took: counts, medians, 99th percentiles (s), and their ratio."""
        async with self._stage.home.unit_of_work() as session:
            rows = await session.execute(
                select(Run.created_at, Run.finished_at).where(Run.finished_at.is_not(None))
            )
            asked = [(row.created_at, row.finished_at) for row in rows]
        quiet = self._within(asked, self._windows[False])
        loud = self._within(asked, self._windows[True])
        if not quiet or not loud:
            return {"quiet": len(quiet), "disturbed": len(loud), "ratio_p99": 0.0}
        return {
            "quiet": len(quiet),
            "disturbed": len(loud),
            "quiet_p50": percentile(quiet, 0.5),
            "disturbed_p50": percentile(loud, 0.5),
            "quiet_p99": percentile(quiet, 0.99),
            "disturbed_p99": percentile(loud, 0.99),
            "ratio_p99": round(percentile(loud, 0.99) / percentile(quiet, 0.99), 2),
        }

    @staticmethod
    def _within(asked: Sequence[Window], windows: Sequence[Window]) -> list[float]:
        return [
            (ended - began).total_seconds()
            for began, ended in asked
            if any(first <= began and began <= last for first, last in windows)
        ]


def percentile(values: Sequence[float], share: float) -> float:
    """The value that *share* of *values* don't exceed, by nearest rank; seconds to milliseconds."""
    ordered = sorted(values)
    rank = max(0, min(len(ordered) - 1, round(share * len(ordered) + 0.5) - 1))
    return round(ordered[rank], 3)


def told(waits: Mapping[str, Any]) -> str:
    """The waits in a line."""
    if "quiet_p99" not in waits:
        return "other people's requests: too few to tell"
    return (
        f"other people's requests: p50 {waits['quiet_p50']} s quiet, {waits['disturbed_p50']} s "
        f"under attack; p99 {waits['quiet_p99']} s and {waits['disturbed_p99']} s "
        f"({waits['ratio_p99']} times; {waits['quiet']} and {waits['disturbed']} requests)"
    )
