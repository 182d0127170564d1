"""What one web replica holds while it lives, and how it starts and stops."""

import asyncio
import json
from collections import OrderedDict, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import structlog
from fastapi import FastAPI

from graphs.evidence import stored_evidence
from graphs.fleet import local_fleet
from graphs.settings import Settings
from memory.database import Database, Databases
from memory.errors import StoreError
from server.metrics import Metrics
from server.visitor import TenantFace, Visitor
from tools.adapters.fleet_file import read_fleet
from tools.autonomy.evidence_source import StoredEvidence
from tools.autonomy.policy import AutonomyConfig
from tools.catalogue import build_operations
from tools.identity import service as identity
from tools.kit.clock import Clock
from tools.kit.errors import CapabilityError
from tools.kit.infrastructure import Fleet
from tools.kit.operation import Operation

log = structlog.get_logger("server")

T = TypeVar("T")

POOL_SIZE = 5
"""Connections of one replica to the control database."""
TENANT_KEPT = timedelta(seconds=20)
"""How long a host's tenant is taken from memory; a new theme or name shows after this."""
GLANCE_KEPT = timedelta(seconds=1)
"""How long what every page shows is taken from memory: half of a round of the healer."""
REMEMBERED = timedelta(minutes=10)
"""How long a session seen by this replica still opens the local view while the store is down."""
MOST_REMEMBERED = 500


class RecentSessions:
    """Sessions this replica resolved lately: read only while the store can't be asked."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: OrderedDict[str, tuple[datetime, Visitor]] = OrderedDict()

    def remember(self, key: str, visitor: Visitor) -> None:
        """Note that *key* (a digest of the cookie) belonged to *visitor* just now."""
        self._seen[key] = (self._clock.now(), visitor)
        self._seen.move_to_end(key)
        while len(self._seen) > MOST_REMEMBERED:
            self._seen.popitem(last=False)

    def forget(self, key: str) -> None:
        """The session ended."""
        self._seen.pop(key, None)

    def recall(self, key: str) -> Visitor | None:
        """The visitor of *key*, if this replica saw it within `REMEMBERED`."""
        found = self._seen.get(key)
        if found is None or self._clock.now() - found[0] > REMEMBERED:
            return None
        return found[1]


class FleetDescription:
    """The described fleet, read again when `fleet.toml` or the ports change on disk."""

    def __init__(self, settings: Settings) -> None:
        self._paths = settings.paths
        self._read_at: tuple[float, float] | None = None
        self._fleet = Fleet(services=())

    def read(self) -> Fleet:
        """The fleet; what can't be read shows among its problems, never as an empty fleet."""
        stamp = (modified(self._paths.fleet_file), modified(self._paths.ports_file))
        if stamp != self._read_at:
            self._fleet = self._parse()
            self._read_at = stamp
        return self._fleet

    def _parse(self) -> Fleet:
        try:
            ports = (
                json.loads(self._paths.ports_file.read_text())
                if self._paths.ports_file.exists()
                else {}
            )
            return read_fleet(self._paths.fleet_file, self._paths.path, ports)
        except (CapabilityError, OSError, ValueError) as error:
            log.warning("fleet_unreadable", error=str(error))
            return Fleet(services=(), problems=(f"The fleet's description is unreadable: {error}",))


def modified(path: Path) -> float:
    """When *path* was last changed, in seconds; 0 when it isn't there."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


class Glance:
    """What many open pages ask for at once, read or rendered once per *keep*.

    One at a time reads it, the others wait for that; never the place for anything of one person.
    """

    def __init__(self, clock: Clock, *, keep: timedelta = GLANCE_KEPT) -> None:
        self._clock = clock
        self.keep = keep
        self._kept: dict[Hashable, tuple[datetime, Any]] = {}
        self._locks: defaultdict[Hashable, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def take(self, key: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """What is kept under *key*, or *read*'s answer where that is too old."""
        async with self._locks[key]:
            now = self._clock.now()
            kept = self._kept.get(key)
            if kept is None or now - kept[0] >= self.keep:
                kept = self._kept[key] = (now, await read())
            value: T = kept[1]
            return value

    def forget(self) -> None:
        """Something changed here: the next one reads anew."""
        self._kept.clear()


@dataclass
class Services:
    """What routes and pages work with; one per replica."""

    settings: Settings
    replica: str
    clock: Clock
    databases: Databases
    metrics: Metrics
    fleet: FleetDescription
    recent: RecentSessions
    glance: Glance
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    _tenants: dict[str, tuple[datetime, TenantFace | None]] = field(default_factory=dict)

    async def tenant_of_host(self, host: str) -> TenantFace | None:
        """The tenant *host* names, from memory for `TENANT_KEPT`, or None for an unknown host.

        With the store down the last known answer stands.

        Raises:
            StoreUnavailable: the store is down and this host was never seen.
        """
        now = self.clock.now()
        kept = self._tenants.get(host)
        if kept is not None and now - kept[0] <= TENANT_KEPT:
            return kept[1]
        try:
            async with self.databases.control.unit_of_work() as session:
                record = await identity.tenant_for_host(session, host)
                face = TenantFace.of(record) if record is not None else None
        except StoreError:
            if kept is not None:
                return kept[1]
            raise
        if len(self._tenants) > MOST_REMEMBERED:
            self._tenants.clear()
        self._tenants[host] = (now, face)
        return face

    @cached_property
    def autonomy(self) -> AutonomyConfig:
        """What the gate is told; a web replica answers questions and drives nothing."""
        return AutonomyConfig(
            locks=self.settings.paths.locks,
            approval_for=timedelta(minutes=self.settings.approval_minutes),
        )

    @cached_property
    def operations(self) -> dict[str, Operation[Any]]:
        """Every operation there is, to say where each stands."""
        return build_operations(archive_folder=self.settings.archive_folder)

    @cached_property
    def evidence(self) -> StoredEvidence:
        """The evidence as the healer's gate reads it; this process only shows it."""
        home = self.settings.paths
        fleet = local_fleet(home)
        return stored_evidence(
            self.settings, self.databases.control, fleet, self.clock, decides=False
        )

    async def tenant_database(self, tenant_id: str) -> Database:
        """The database of the visitor's tenant."""
        return await self.databases.tenant(tenant_id)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Hold the replica's services from its first request to after its last."""
    services: Services = app.state.services
    log.info("replica_started", replica=services.replica)
    yield
    services.draining.set()
    await services.databases.dispose()
    log.info("replica_stopped", replica=services.replica)
