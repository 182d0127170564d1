"""The process that plays suites and alone signs their trials: `python -m evals.worker`.

It takes up what pages and command lines asked for (`suite_run`), one run at a time under a lease,
goes on with what a killed worker left, and ends when nothing was asked for during a minute.
"""

import argparse
import asyncio
import contextlib
import os
import platform
import secrets
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import structlog

from evals.earning import Deciding, Earning
from evals.records import RunOptions, RunRecord
from evals.running import Running, Told
from evals.seeds import LARGEST, home_secret
from evals.stored_runs import StoredRuns
from evals.suites.base import BadSuite, Suite, UnknownSuite, load_suite
from graphs.fleet import local_fleet
from graphs.logs import configure_logging
from graphs.settings import Settings, read_settings
from memory import leases
from memory.database import Database
from memory.errors import LeaseLost, StoreError
from memory.ids import new_id
from tools.autonomy.evidence_source import EvidenceFiles, StoredEvidence
from tools.autonomy.fingerprint import read_running
from tools.catalogue import build_operations
from tools.kit.clock import Clock, SystemClock
from tools.kit.errors import Unavailable

LEASE = "evaluation-worker"
LEASE_SECONDS = 30.0
BEAT_SECONDS = 2.0
"""How often the lease is renewed and an order to stop is looked for."""
IDLE_SECONDS = 60.0

log = structlog.get_logger(__name__)


class Worker:
    """Plays runs of the academy that *settings* name.

    Args:
        settings: of the academy whose evidence it is.
        control: its control database.
        clock: for the times that are kept.
        load: finds a suite by name.
        told: called with a run whenever its progress changes.
        say: called with a sentence when there is something to wait for.
    """

    def __init__(
        self,
        settings: Settings,
        control: Database,
        *,
        clock: Clock | None = None,
        load: Callable[[str], Suite] = load_suite,
        told: Told = lambda _: None,
        say: Callable[[str], None] = lambda text: log.info("worker.waiting", reason=text),
    ) -> None:
        self._settings = settings
        self._control = control
        self._clock = clock or SystemClock()
        self._load = load
        self._told = told
        self._say = say
        self._owner = f"{platform.node()}:{os.getpid()}:{new_id('own')}"
        self.operations = build_operations(archive_folder=settings.archive_folder)
        self.runs = StoredRuns(control, self._clock)

    async def serve(self, stop: asyncio.Event, *, idle: float = IDLE_SECONDS) -> None:
        """Play what was asked for until *stop* is set or nothing came for *idle* seconds."""
        async with self.lease(stop) as mine:
            quiet = 0.0
            while mine and not stop.is_set():
                run = await self.runs.next_to_play()
                if run is not None:
                    await self.play(run, stop)
                    quiet = 0.0
                    continue
                if quiet >= idle:
                    return
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), BEAT_SECONDS)
                quiet += BEAT_SECONDS

    @contextlib.asynccontextmanager
    async def lease(self, stop: asyncio.Event) -> AsyncIterator[bool]:
        """Be the only worker: waits for the one before, and sets *stop* when the lease is lost.

        It answers False when *stop* was set while it waited: then nothing may be played.
        """
        fence = await self._acquire(stop)
        beating = asyncio.create_task(self._beat(fence, stop))
        try:
            yield fence is not None
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
            if fence is not None:
                with contextlib.suppress(StoreError):
                    async with self._control.unit_of_work() as session:
                        now = self._clock.now()
                        await leases.release(session, LEASE, self._owner, fence, now=now)

    async def _acquire(self, stop: asyncio.Event) -> int | None:
        said = False
        while not stop.is_set():
            async with self._control.unit_of_work() as session:
                fence = await leases.acquire(
                    session, LEASE, self._owner, seconds=LEASE_SECONDS, now=self._clock.now()
                )
            if fence is not None:
                return fence
            if not said:
                self._say("Another evaluation is being played; this one waits for its end.")
                said = True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), BEAT_SECONDS)
        return None

    async def _beat(self, fence: int | None, stop: asyncio.Event) -> None:
        while fence is not None:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                async with self._control.unit_of_work() as session:
                    now = self._clock.now()
                    await leases.renew(
                        session, LEASE, self._owner, fence, seconds=LEASE_SECONDS, now=now
                    )
            except LeaseLost:
                log.error("worker.lease_lost")
                stop.set()
                return
            except StoreError as error:
                log.warning("worker.lease_not_renewed", reason=str(error)[:200])

    async def ask(self, suite: str, options: RunOptions, requested_by: str) -> RunRecord:
        """Add a run to what is to be played."""
        run = RunRecord(
            id=new_id("evl"),
            suite=suite,
            options=options,
            state="queued",
            requested_by=requested_by,
            created_at=self._clock.now(),
        )
        await self.runs.save(run)
        return run

    async def play(self, run: RunRecord, stop: asyncio.Event) -> RunRecord:
        """Play a run or what is left of it; only under the lease.

        A run whose suite or operations changed since it began is ended as failed: its worlds are
        evidence about something else. One that somebody stopped meanwhile is left alone.
        """
        if not await self.runs.claim(run):
            return await self.runs.find(run.id) or run
        try:
            suite = self._load(run.suite)
            earning, store = await asyncio.to_thread(self._earn, suite)
            await self._unchanged(run, suite, earning)
        except (UnknownSuite, BadSuite, _Changed, Unavailable, OSError) as error:
            return await self._failed(run, str(error))
        run = run.model_copy(
            update={
                "state": "running",
                "digest": suite.digest,
                "options": seeded(run.options),
            }
        )
        halted = asyncio.Event()
        watching = asyncio.create_task(self._watch(run.id, stop, halted))
        try:
            with world_folder() as folder:
                return await Running(
                    suite,
                    run,
                    store,
                    folder=folder,
                    clock=self._clock,
                    risks={name: o.risk for name, o in self.operations.items()},
                    told=self._told,
                    home=home_secret((self._settings.paths.keys / "evidence.key").read_bytes()),
                ).play(halted)
        finally:
            watching.cancel()

    def _earn(self, suite: Suite) -> tuple[Earning, StoredRuns]:
        home = self._settings.paths
        files = EvidenceFiles(home.evidence / "heads.json", home.keys / "evidence.pub")
        key = home.keys / "evidence.key"
        if not key.exists():
            raise Unavailable("This academy has no evidence key yet; `academy up` makes it.")
        earning = Earning(
            suite,
            self.operations,
            key=key.read_bytes(),
            files=files,
            clock=self._clock,
            model=lambda: _model(self._settings),
        )
        fleet = local_fleet(home)
        source = StoredEvidence(self._control, files, earning.surroundings, fleet, self._clock)
        return earning, StoredRuns(self._control, self._clock, earning=earning, source=source)

    async def _unchanged(self, run: RunRecord, suite: Suite, earning: Earning) -> None:
        now = {one.digest for one in earning.fingerprints.values()}
        before = await self.runs.fingerprints(run.id)
        if (run.digest and run.digest != suite.digest) or before - now:
            raise _Changed("The suite or its operations changed since this run began; ask anew.")

    async def _failed(self, run: RunRecord, note: str) -> RunRecord:
        log.error("run.failed", run=run.id, reason=note)
        now = self._clock.now()
        run = run.model_copy(update={"state": "failed", "note": note, "ended_at": now})
        await self.runs.save(run)
        self._told(run)
        return run

    async def _watch(self, run_id: str, stop: asyncio.Event, halted: asyncio.Event) -> None:
        """Halt the run when the worker is to stop, or somebody marked the run stopped."""
        while not halted.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), BEAT_SECONDS)
            if stop.is_set():
                halted.set()
                return
            with contextlib.suppress(StoreError):
                found = await self.runs.find(run_id)
                if found is not None and found.state == "stopped":
                    halted.set()


class _Changed(Exception):
    """What a run is about is no longer what it began with."""


def seeded(options: RunOptions) -> RunOptions:
    """The options with a seed, drawn where none was given."""
    if options.seed is not None:
        return options
    return options.model_copy(update={"seed": secrets.randbelow(LARGEST)})


@contextlib.contextmanager
def world_folder() -> Iterator[Path]:
    """A folder for the worlds of one run, removed after; a database's own user may pass through."""
    with tempfile.TemporaryDirectory(prefix="academy-eval-", ignore_cleanup_errors=True) as name:
        if os.geteuid() == 0:
            Path(name).chmod(0o711)
        yield Path(name)


def _model(settings: Settings) -> Deciding:
    """Who decides where a model does, as the runtime tells it."""
    from graphs.runtime import deciders, mode_of, told_to_specialists

    return Deciding(mode_of(settings), told_to_specialists(), deciders(settings))


async def main(idle: float) -> int:
    """Serve until SIGTERM, SIGINT or idleness; the exit code."""
    configure_logging()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await asyncio.to_thread(read_running)
    settings = read_settings()
    control = Database(settings.control_url, pool_size=3)
    try:
        await Worker(settings, control).serve(stop, idle=idle)
    finally:
        await control.dispose()
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m evals.worker")
    parser.add_argument("--idle", type=float, default=IDLE_SECONDS, help="seconds to wait for work")
    sys.exit(asyncio.run(main(parser.parse_args().idle)))
