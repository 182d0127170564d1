"""The healer's process: looks after the fleet, and goes on when the database is away.

`python -m graphs.healer`. It imports no agent, no model and no vector store, so that none of them
can take it down. Besides the incident loop it keeps house: questions nobody answers expire, the
head of the audit chain is signed, old signals go.
"""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from graphs.evidence import stored_evidence
from graphs.fleet import local_fleet
from graphs.logs import configure_logging
from graphs.settings import Settings, read_settings
from graphs.standing import StandingWatch, standing_watch
from memory import audit, audit_unsent
from memory.audit_unsent import UnsentRows
from memory.database import Databases
from tools.autonomy.evidence_source import StoredEvidence
from tools.autonomy.gatekeeper import Gatekeeping
from tools.autonomy.live_record import close_superseded
from tools.autonomy.policy import AutonomyConfig
from tools.autonomy.service import expire_due
from tools.catalogue import build_operations
from tools.healing.control_store import HealerDatabase
from tools.healing.local_store import LocalStore
from tools.healing.loop import HealingLoop
from tools.healing.policy import HealingPolicy
from tools.identity.service import tenant_for_host
from tools.kit.clock import Clock, SystemClock
from tools.kit.deps import Caller, engine
from tools.kit.errors import Unavailable
from tools.kit.infrastructure import Infrastructure
from tools.kit.operation import Operation, OperationContext

EXPIRE_SECONDS = 5.0
"""How late a question that ran out may be called expired."""
SEND_SECONDS = 5.0
"""How late audit rows kept while the database was down may reach it."""
SIGN_SECONDS = 10.0
"""How many seconds of audit rows a truncation may hide."""
FORGET_SECONDS = 600.0
STAND_SECONDS = 1.0
"""How late a standing permit follows what carries it, and the journal a database that is back."""
SUPERSEDE_SECONDS = 60.0
THREADS = 24
AWAY_SECONDS = 1.0
"""How often to look again whether the database is back."""
CALL_SECONDS = 10.0
"""How long one piece of housekeeping may take before it is tried again at its next turn."""

log = structlog.get_logger(__name__)


@dataclass
class Healer:
    """The loop and the housekeeping around it, composed from settings."""

    loop: HealingLoop
    databases: Databases
    database: HealerDatabase
    settings: Settings
    policy: HealingPolicy
    clock: Clock
    standing: StandingWatch | None
    evidence: StoredEvidence
    operations: Mapping[str, Operation[Any]]

    async def run(self, stop: asyncio.Event) -> None:
        """Look after the fleet until *stop* is set; actions under way are finished first."""
        await self.loop.start()
        chores = [
            asyncio.create_task(self._every(seconds, name, chore, stop))
            for seconds, name, chore in (
                (EXPIRE_SECONDS, "expire", self._expire),
                (SEND_SECONDS, "send_unsent_audit", self._send_late),
                (SIGN_SECONDS, "sign_head", self._sign),
                (FORGET_SECONDS, "forget_signals", self._forget),
                (SUPERSEDE_SECONDS, "close_superseded", self._close_superseded),
            )
        ]
        if self.standing is not None:
            chores.append(asyncio.create_task(self._stand(self.standing, stop)))
        try:
            await self.loop.run(stop)
        finally:
            for chore in chores:
                chore.cancel()
            await asyncio.gather(*chores, return_exceptions=True)
            # What was written since the last signature should not stay without one.
            await self._attempt("sign_head", self._sign)
            await self.databases.dispose()

    async def _every(
        self, seconds: float, name: str, chore: Callable[[], Awaitable[None]], stop: asyncio.Event
    ) -> None:
        while not stop.is_set():
            reachable = self.loop.store_reachable
            if reachable:
                await self._attempt(name, chore)
            with contextlib.suppress(TimeoutError):
                pause = seconds if reachable else min(seconds, AWAY_SECONDS)
                await asyncio.wait_for(stop.wait(), timeout=pause)

    async def _stand(self, standing: StandingWatch, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await standing.turn(reachable=self.loop.store_reachable)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), timeout=STAND_SECONDS)

    async def _attempt(self, name: str, chore: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await chore()
        except Exception as error:  # met again at its next turn
            log.warning("healer.chore_failed", chore=name, reason=str(error)[:300])

    async def _expire(self) -> None:
        async with self.databases.control.unit_of_work() as session:
            if count := await expire_due(session, self.clock):
                log.info("approvals.expired", count=count)

    async def _send_late(self) -> None:
        unsent = UnsentRows(self.settings.paths.unsent_audit)
        if count := await audit_unsent.send(self.databases.control, unsent, self.clock.now()):
            log.info("audit.sent_late", rows=count)

    async def _sign(self) -> None:
        home = self.settings.paths
        key = await asyncio.to_thread((home.keys / "audit.key").read_bytes)
        heads = home.audit / f"{self.databases.control.name}.heads.jsonl"
        async with self.databases.control.unit_of_work() as session:
            await audit.sign_head(session, key, heads, self.clock.now())

    async def _close_superseded(self) -> None:
        """What was withdrawn and has changed since is no open trouble any more."""
        current = await asyncio.to_thread(
            lambda: {
                operation.name: self.evidence.fingerprint(operation, "engine").digest
                for operation in self.operations.values()
            }
        )
        async with self.databases.control.unit_of_work() as session:
            if count := await close_superseded(session, current, self.clock.now()):
                log.info("withdrawals.superseded", count=count)

    async def _forget(self) -> None:
        before = self.clock.now() - timedelta(hours=self.policy.signal_hours)
        await self.database.forget_signals(before)


def compose(
    settings: Settings,
    *,
    infrastructure: Infrastructure | None = None,
    clock: Clock | None = None,
    policy: HealingPolicy | None = None,
) -> Healer:
    """A healer of the academy that *settings* name; nothing is contacted yet.

    Raises:
        memory.errors.StoreError: the database URL can't be read, or has no password yet.
    """
    home = settings.paths
    time = clock or SystemClock()
    limits = policy or HealingPolicy(probe_seconds=settings.probe_seconds)
    fleet = infrastructure or local_fleet(home)
    databases = Databases(settings.control_url, pool_size=3, tenants_kept=1)
    database = HealerDatabase(databases.control)
    operations = build_operations(archive_folder=settings.archive_folder)
    context = OperationContext(infrastructure=fleet, clock=time)
    evidence = stored_evidence(settings, databases.control, fleet, time)
    caller = FirstTenant(databases)
    gatekeeper = Gatekeeping(
        databases.control,
        operations,
        context,
        AutonomyConfig(locks=home.locks, approval_for=timedelta(minutes=settings.approval_minutes)),
        evidence,
    )
    standing = standing_watch(home, databases.control, operations, context, evidence, caller)
    loop = HealingLoop(
        infrastructure=fleet,
        gatekeeper=gatekeeper,
        caller=caller,
        store=database,
        local=LocalStore(home.healer, home.logs / "alerts.log"),
        clock=time,
        policy=limits,
        standing=standing.hands if standing is not None else None,
    )
    return Healer(loop, databases, database, settings, limits, time, standing, evidence, operations)


class FirstTenant:
    """The healer as a caller: an engine of the first tenant, looked up once it can be."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases
        self._caller: Caller | None = None

    async def __call__(self) -> Caller:
        """The caller.

        Raises:
            StoreUnavailable: the database can't be reached.
            Unavailable: the academy has no tenant yet.
        """
        if self._caller is None:
            async with self._databases.control.unit_of_work() as session:
                tenant = await tenant_for_host(session, "localhost")
            if tenant is None:
                raise Unavailable("The academy has no tenant yet.")
            self._caller = engine("healer", tenant_id=tenant.id, tenant_slug=tenant.slug)
        return self._caller


async def main() -> None:
    """Run the healer until SIGTERM or SIGINT."""
    configure_logging()
    stop = asyncio.Event()
    running = asyncio.get_running_loop()
    # Restarts and archives each hold a thread for seconds; probing must always find one free.
    running.set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="healer"))
    for number in (signal.SIGTERM, signal.SIGINT):
        running.add_signal_handler(number, stop.set)
    healer = compose(read_settings())
    log.info("healer.started", home=str(healer.settings.paths.path))
    await healer.run(stop)
    log.info("healer.stopped")


if __name__ == "__main__":
    asyncio.run(main())
