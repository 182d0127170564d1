"""A process that ends itself with SIGKILL at one named boundary, and notes those it passes."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from memory.database import Database

BEFORE, INSIDE, AFTER = "before", "inside", "after"
"""A boundary is one of these and a step: before it, inside it (all is written and nothing is
committed), after it."""


class Fate:
    """Where this process dies: at the first time it comes to the boundary *strike*, if ever."""

    def __init__(self, strike: str | None) -> None:
        self.strike = strike
        self.passed: list[str] = []
        """Boundaries in the order they were first come to."""
        self.step: str | None = None
        """The step under way."""

    def reach(self, boundary: str) -> None:
        """Come to a boundary; a process that is to die here doesn't come back."""
        if boundary == self.strike:
            os.kill(os.getpid(), signal.SIGKILL)
        if boundary not in self.passed:
            self.passed.append(boundary)

    @asynccontextmanager
    async def around(self, step: str) -> AsyncIterator[None]:
        """Put a boundary before and after what is done in the block."""
        self.reach(f"{BEFORE} {step}")
        self.step = step
        try:
            yield
        finally:
            self.step = None
        self.reach(f"{AFTER} {step}")


class MortalDatabase(Database):
    """A database whose units of work have a boundary between the last write and the commit."""

    def __init__(self, url: str, fate: Fate) -> None:
        super().__init__(url, pool_size=2)
        self._fate = fate

    @asynccontextmanager
    async def unit_of_work(self) -> AsyncIterator[AsyncSession]:
        """One transaction, as `Database.unit_of_work`."""
        async with super().unit_of_work() as session:
            yield session
            if self._fate.step is not None:
                await session.flush()
                wrote = await session.scalar(text("SELECT pg_current_xact_id_if_assigned()::text"))
                if wrote is not None:
                    self._fate.reach(f"{INSIDE} {self._fate.step}")
