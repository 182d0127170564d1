"""What the healer may see of and do to a fleet; adapters implement it (`tools/adapters/local`)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

ProcessStatus = Literal["running", "starting", "stopped", "fatal", "backoff", "unknown"]


@dataclass(frozen=True)
class ReplicaSpec:
    """One replica of a service as `fleet.toml` describes it."""

    service: str
    name: str
    """Such as `catalog-1`."""
    program: str
    """Its name at the process supervisor."""
    url: str | None
    """Base URL of its HTTP door; none for a worker without one."""


@dataclass(frozen=True)
class ServiceSpec:
    """One service as `fleet.toml` describes it."""

    name: str
    title: str
    kind: Literal["fleet", "academy"]
    """`fleet` is a service the academy looks after; `academy` is one of our own processes."""
    replicas: tuple[ReplicaSpec, ...]
    health_path: str | None
    depends_on: tuple[str, ...] = ()
    data_folder: Path | None = None
    """The folder whose filesystem is watched."""
    archivable: tuple[Path, ...] = ()
    """Folders whose old files may be archived; absolute."""
    data_limit_bytes: int | None = None
    """What the service may keep in its data folder, where that is less than the filesystem has."""
    minimum_healthy: int = 0
    """Replicas that should stay up while one is restarted, where the service has more than one."""


@dataclass(frozen=True)
class ProcessFacts:
    """What the operating system and the supervisor say of one replica."""

    status: ProcessStatus
    pid: int | None
    started_at: datetime | None
    """Start time of that pid (a pid alone may be reused)."""
    rss_bytes: int | None = None
    cpu_percent: float | None = None
    open_files: int | None = None
    stopped_by_signal: bool = False
    """The process is stopped (state T): it holds its port and answers nothing."""
    exit_note: str = ""
    """What the supervisor says of the last exit or spawn error."""


@dataclass(frozen=True)
class ProbeResult:
    """One HTTP health probe."""

    ok: bool
    latency_ms: float | None
    status: int | None
    error: str = ""
    """`timeout`, `refused`, `reset`, or a sentence; empty when an answer came."""
    body: str = ""
    """First 2,000 characters of the answer: outside content, which taints."""


@dataclass(frozen=True)
class DiskFacts:
    """One filesystem, and how much of it a folder's old files take."""

    path: Path
    total_bytes: int
    free_bytes: int
    free_inodes_percent: float
    device: int
    limited: bool = False
    """The figures are of the service's declared data limit, which is smaller than what is free."""


@dataclass(frozen=True)
class Fleet:
    """All services of `fleet.toml` plus the academy's own processes."""

    services: tuple[ServiceSpec, ...]
    environment: str = "local"
    """Adapter name, part of an evidence fingerprint's environment class."""
    problems: tuple[str, ...] = field(default=())
    """What in the description could not be used."""

    def service(self, name: str) -> ServiceSpec | None:
        """The service called *name*, if there is one."""
        return next((s for s in self.services if s.name == name), None)

    def replica(self, name: str) -> ReplicaSpec | None:
        """The replica called *name*, if there is one."""
        return next((r for s in self.services for r in s.replicas if r.name == name), None)


class Infrastructure(Protocol):
    """A fleet that can be looked at and acted upon. Every call may raise `Unavailable`."""

    def fleet(self) -> Fleet:
        """The described fleet (re-read when its description changes on disk)."""
        ...

    async def processes(self) -> dict[str, ProcessFacts]:
        """Facts per replica name; a replica the supervisor doesn't know is `unknown`."""
        ...

    async def probe(self, replica: ReplicaSpec, path: str, *, timeout: float) -> ProbeResult:
        """One GET of *path* at the replica, within *timeout* seconds; never raises."""
        ...

    async def disk(self, path: Path) -> DiskFacts:
        """Facts of the filesystem that holds *path*."""
        ...

    async def restart(self, replica: ReplicaSpec, *, expected_pid: int | None) -> int:
        """Stop (killing what won't) and start one replica; answers the new pid.

        *expected_pid* is the only process it may stop; None means that it may stop none. One that
        is gone already is only replaced.

        Raises:
            Conflict: the replica runs as another process.
            Unavailable: the supervisor can't be reached or the program didn't start.
        """
        ...

    async def tail_log(self, replica: ReplicaSpec, *, lines: int) -> Sequence[str]:
        """The last *lines* lines of its log: outside content, which taints."""
        ...
