"""The agents' process: answers people's messages and carries out what they approved.

`python -m graphs.worker`. It says "starting" within the first second and loads its libraries after,
so that pages can say so; while the database is away it waits and tries again.
"""

import asyncio
import contextlib
import importlib
import os
import signal
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal

import structlog

from graphs.logs import configure_logging
from graphs.presence import HEARTBEAT_SECONDS, Presence, beat, leave
from graphs.settings import Settings, read_settings
from memory.database import Databases
from memory.errors import StoreError, StoreUnavailable
from memory.ids import new_id
from tools.kit.clock import SystemClock

if TYPE_CHECKING:
    from procrastinate import App

    from graphs.turns import Turns

KIND = "agents"
POLL_SECONDS = 0.1
"""How long a message waits at most before a free worker takes it up."""
RESUME_SECONDS = 0.4
"""How long a decision waits at most before it is carried out."""
SWEEP_SECONDS = 2.0
"""How often runs of dead workers, left-over work and new tenants are looked for."""
AGAIN_SECONDS = 1.0
"""Pause before the database is tried again."""
GRACE_SECONDS = 10.0
"""How long turns under way may take to end when the process is told to."""

log = structlog.get_logger(__name__)


class Heart:
    """Says that this process is there, and what it is doing, until it is stopped."""

    def __init__(self, databases: Databases, worker_id: str, model: str) -> None:
        self._databases = databases
        self._worker_id = worker_id
        self._model = model
        self._clock = SystemClock()
        self._state: Literal["starting", "ready"] = "starting"

    async def ready(self) -> None:
        """Say at once that the process can answer."""
        self._state = "ready"
        await self._beat()

    async def _beat(self) -> None:
        presence = Presence(state=self._state, model=self._model, pid=os.getpid())
        try:
            async with self._databases.control.unit_of_work() as session:
                await beat(session, KIND, self._worker_id, presence, clock=self._clock)
        except StoreUnavailable as error:
            log.warning("heartbeat.store_unavailable", why=str(error))

    async def run(self) -> None:
        """Beat until cancelled, then say goodbye."""
        try:
            while True:
                await self._beat()
                await asyncio.sleep(HEARTBEAT_SECONDS)
        finally:
            with contextlib.suppress(StoreError):
                async with self._databases.control.unit_of_work() as session:
                    await leave(session, KIND, self._worker_id)


async def work(turns: "Turns", stop: asyncio.Event) -> None:
    """Take turns until *stop* is set; those under way then get `GRACE_SECONDS` to end."""
    tenants: list[str] = []
    swept = resumed = float("-inf")
    while not stop.is_set():
        try:
            now = time.monotonic()
            if now - swept >= SWEEP_SECONDS:
                tenants = await turns.tenants()
                for tenant_id in tenants:
                    await turns.requeue_lost(tenant_id)
                await turns.drive_left_over(tenants)
                swept = now
            if now - resumed >= RESUME_SECONDS:
                for tenant_id in tenants:
                    await turns.resume_decided(tenant_id)
                resumed = now
            for tenant_id in tenants:
                while await turns.claim(tenant_id):
                    pass
        except StoreError as error:
            log.warning("worker.store_unavailable", why=str(error))
            await _pause(stop, AGAIN_SECONDS)
        await _pause(stop, POLL_SECONDS)
    if turns.at_work:
        await asyncio.wait(turns.at_work, timeout=GRACE_SECONDS)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), timeout=seconds)


async def _until_it_works(
    what: Callable[[], Awaitable[object]], stop: asyncio.Event, name: str
) -> None:
    while not stop.is_set():
        try:
            await what()
            return
        except StoreUnavailable as error:
            log.warning("worker.waits_for_store", doing=name, why=str(error))
            await _pause(stop, AGAIN_SECONDS)


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """The worker from its first heartbeat to its last."""
    worker_id = new_id("wrk")
    databases = Databases(settings.control_url, pool_size=5)
    heart = Heart(databases, worker_id, settings.model_name or "embedded")
    beating = asyncio.create_task(heart.run(), name="heart")
    try:
        module = await asyncio.to_thread(importlib.import_module, "graphs.runtime")
        jobs_module = await asyncio.to_thread(importlib.import_module, "graphs.jobs")
        async with module.open_runtime(settings, databases=databases) as runtime:
            gatekeeper = runtime.services.gatekeeper
            await _until_it_works(lambda: gatekeeper.recover(KIND), stop, "recover")
            jobs = asyncio.create_task(_jobs(jobs_module.build_jobs(runtime), stop), name="jobs")
            async with runtime.turns(worker_id).opened() as turns:
                await heart.ready()
                log.info("worker.ready", worker=worker_id, model=runtime.services.mode)
                await work(turns, stop)
            jobs.cancel()
            await asyncio.gather(jobs, return_exceptions=True)
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        await databases.dispose()


async def _jobs(app: "App", stop: asyncio.Event) -> None:
    """Work on jobs until cancelled; while their database is away, try again."""
    while not stop.is_set():
        try:
            async with app.open_async():
                # No LISTEN: a pooler may sit in between, and these jobs may wait some seconds.
                await app.run_worker_async(
                    install_signal_handlers=False, listen_notify=False, concurrency=2
                )
        except Exception as error:
            log.warning("jobs.interrupted", why=str(error)[:300])
        await _pause(stop, AGAIN_SECONDS * 5)


async def main() -> None:
    """Run the worker until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    configure_logging()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    log.info("worker.started", pid=os.getpid())
    await run(read_settings(), stop)
    log.info("worker.stopped")


if __name__ == "__main__":
    asyncio.run(main())
