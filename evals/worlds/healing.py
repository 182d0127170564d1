"""The world in which healing is tried: a small real fleet, a real database, the product's healer.

A world keeps one supervisord and plays trial after trial in it: every replica starts afresh, data
folders are emptied, the control database is a new clone. The healer is what `graphs.healer`
composes, with its production policy and adapter; a person of the trial approves every question
through the product's own service, because a trial measures what an operation does when it is let.
"""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from weakref import WeakSet

from pydantic import SecretStr

from evals.suites.base import Case, Played, World
from evals.worlds.healing_parts.databases import SHARED, TrialDatabase
from evals.worlds.healing_parts.drawing import STAY, Drawn, draw
from evals.worlds.healing_parts.faults import Breaker
from evals.worlds.healing_parts.files import Shelves
from evals.worlds.healing_parts.notes import Notes
from evals.worlds.healing_parts.playback import told
from evals.worlds.healing_parts.records import approve_all, nothing_open, read_records
from evals.worlds.healing_parts.supervised import SupervisedFleet
from evals.worlds.healing_parts.watching import Watcher, visit
from graphs.fleet import local_fleet
from graphs.healer import compose
from graphs.settings import Settings
from memory.audit_heads import new_key_pair
from memory.database import Database, Databases
from tools.kit.errors import Unavailable

LINGER = 0.8
"""Seconds to look on after all is whole and settled, for what should not follow."""
ALONE_SECONDS = 15.0
"""How long the control looks on: by then supervisord has made all the attempts it makes."""
RECOVER_SECONDS = 5.0
"""How much longer to look on where something is unwell at the end: a busy machine answers late."""
UP_SECONDS = 20.0
LOOK_SECONDS = 0.2
THREADS = 48
"""For all worlds of a process: a restart holds a thread for seconds, and probing must find one."""
_WIDENED: WeakSet[asyncio.AbstractEventLoop] = WeakSet()
"""Event loops that have so many threads already."""


class HealingWorld:
    """One fleet in *folder*, played by one trial at a time. Open it with `open_world`."""

    def __init__(self, folder: Path) -> None:
        self._settings = Settings(home=folder)
        self.home = self._settings.paths
        self._fleet = SupervisedFleet(self.home)
        self._shelves = Shelves(self.home)
        self._public_key = b""
        self._open = False

    async def open(self) -> None:
        """Start the supervisor and join the server that all worlds of this process share."""
        for path in (self.home.keys, self.home.run, self.home.logs):
            path.mkdir(parents=True, exist_ok=True)
        private, self._public_key = new_key_pair()
        for name, content in (("audit.key", private), ("standing.key", new_key_pair()[0])):
            key = self.home.keys / name
            key.touch(mode=0o600)
            key.write_bytes(content)
        await SHARED.join()
        self._open = True
        self._fleet.start()
        await asyncio.to_thread(self._fleet.wait_until_up)

    async def close(self) -> None:
        """Give back processes, ports, files and the database server; safe to call twice."""
        if self._open:
            self._open = False
            await asyncio.to_thread(self._fleet.stop)
            await SHARED.leave()

    async def play(self, case: Case, seed: int) -> Played:
        """One trial with the product's healer."""
        return await self._play(case, seed, healed=True)

    async def play_alone(self, case: Case, seed: int) -> Played:
        """The same world with supervisord alone: what recovers by itself."""
        return await self._play(case, seed, healed=False)

    async def _play(self, case: Case, seed: int, *, healed: bool) -> Played:
        drawn = draw(case.name, case.world, seed, injection=case.injection)
        notes = Notes(drawn)
        try:
            return await self._played(drawn, notes, healed=healed)
        except (Unavailable, TimeoutError) as error:
            problem = str(error) or "something did not come up in time"
        except ExceptionGroup as group:
            expected, defects = group.split((Unavailable, TimeoutError))
            if defects is not None or expected is None:
                raise
            problem = f"something did not happen in time: {expected.exceptions[0]}"
        return Played(trajectory=tuple(notes.steps), problem=problem)

    async def _played(self, drawn: Drawn, notes: Notes, *, healed: bool) -> Played:
        breaker = Breaker(self._fleet, self._shelves, drawn, notes)
        watcher = Watcher(drawn, self._fleet.ports, self._shelves)
        records = None
        async with contextlib.AsyncExitStack() as world:
            world.push_async_callback(breaker.mend)
            database: TrialDatabase | None = None
            async with asyncio.TaskGroup() as ready:
                ready.create_task(asyncio.to_thread(self._reset, drawn, breaker))
                if healed:
                    database = await world.enter_async_context(SHARED.cloned())
                    breaker.database = database
            notes.add("world", f"{len(drawn.replicas)} replicas run: {', '.join(drawn.replicas)}")
            await world.enter_async_context(beside(watcher.run()))
            async with asyncio.timeout(UP_SECONDS):
                await watcher.settled(drawn.replicas)
            watcher.changes.clear()
            load = visit(drawn.replicas, self._fleet.ports, drawn.load, drawn.crowd())
            await world.enter_async_context(beside(load))
            async with contextlib.AsyncExitStack() as healing:
                control = None
                if database is not None:
                    control = await healing.enter_async_context(self._healed(notes, database))
                await self._break_and_look_on(drawn, notes, breaker, watcher, control)
                notes.ended(watcher.whole_since(), watcher.ill())
            # Read after the healer has ended: what it did in its last round counts too.
            if database is not None:
                records = await self._records(database)
        files = await asyncio.to_thread(self._shelves.settle)
        return told(notes, self._fleet.events(), breaker, files, records)

    def _reset(self, drawn: Drawn, breaker: Breaker) -> None:
        self._fleet.end_all()
        home = self.home
        for folder in (home.healer, home.audit, home.locks, home.standing):
            shutil.rmtree(folder, ignore_errors=True)
        self._shelves.clear()
        self._shelves.lay_out(drawn)
        breaker.prepare()
        self._fleet.begin(drawn)
        self._shelves.remember(drawn)

    async def _break_and_look_on(
        self,
        drawn: Drawn,
        notes: Notes,
        breaker: Breaker,
        watcher: Watcher,
        control: Database | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        looked = loop.time()
        await breaker.disturb()
        async with asyncio.TaskGroup() as lasting:
            tasks = []
            for fault in drawn.faults:
                await asyncio.sleep(max(0.0, looked + fault.after - loop.time()))
                await breaker.begin(fault)
                notes.broke(fault)
                await asyncio.to_thread(self._shelves.remember, drawn)
                tasks.append(lasting.create_task(breaker.outlast(fault)))
            until = loop.time() + (drawn.watch if control is not None else ALONE_SECONDS)
            stays = any(fault.kind in STAY for fault in drawn.faults) or control is None
            settled_at: float | None = None
            while loop.time() < until or not (
                stays or watcher.whole or loop.time() > until + RECOVER_SECONDS
            ):
                await asyncio.sleep(LOOK_SECONDS)
                settled = watcher.whole and all(task.done() for task in tasks)
                if not (settled and control is not None and await _ended(control)):
                    settled_at = None
                    continue
                settled_at = settled_at or loop.time()
                if loop.time() - settled_at >= LINGER:
                    break
            for task in tasks:
                task.cancel()

    @asynccontextmanager
    async def _healed(self, notes: Notes, database: TrialDatabase) -> AsyncIterator[Database]:
        """The product's healer at work, after its first look, and the person who answers it."""
        settings = self._settings.model_copy(update={"database_url": SecretStr(database.url)})
        home = self.home
        infrastructure = local_fleet(home)
        healer = compose(settings, infrastructure=infrastructure)
        asked = Databases(database.url, pool_size=2, tenants_kept=1)
        stop = asyncio.Event()
        working = asyncio.create_task(healer.run(stop))
        try:
            async with asyncio.timeout(UP_SECONDS):
                while not healer.loop.store_reachable:  # noqa: ASYNC110 - the loop tells nobody
                    await asyncio.sleep(0.01)
            notes.add("world", "the healer has looked for the first time")
            answering = asyncio.create_task(
                approve_all(asked.control, database, home.locks, notes.add, stop)
            )
            try:
                yield asked.control
            finally:
                stop.set()
                await answering
        finally:
            stop.set()
            await working
            await asked.dispose()
            await infrastructure.aclose()

    async def _records(self, database: TrialDatabase) -> Any:
        opened = Databases(database.url, pool_size=1, tenants_kept=1)
        heads = self.home.audit / f"{opened.control.name}.heads.jsonl"
        try:
            return await read_records(opened.control, heads, self._public_key)
        finally:
            await opened.dispose()


async def _ended(control: Database) -> bool:
    try:
        return await nothing_open(control)
    except Exception:  # the database is away, as a case may want it
        return False


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """*work* in a task of its own while the block runs; it is cancelled at the block's end.

    Raises:
        Exception: what *work* raised, at the block's end.
    """
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def open_world(folder: Path, slot: int) -> World:
    """A world in *folder*; *slot* is of no use here, because ports and sockets are its own anyway.

    Raises:
        StoreError: the database server could not be started.
        Unavailable: supervisord did not answer.
    """
    loop = asyncio.get_running_loop()
    if loop not in _WIDENED:
        loop.set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="world"))
        _WIDENED.add(loop)
    world = HealingWorld(folder)
    try:
        await world.open()
    except BaseException:
        await world.close()
        raise
    return world


async def supervisord_alone(world: World, case: Case, seed: int) -> Played:
    """The control: the same case and seed, and nobody but supervisord."""
    assert isinstance(world, HealingWorld)
    return await world.play_alone(case, seed)
