"""A fleet made of values: tests freeze, kill and fill it, and the adapter's protocol reads it."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from tools.kit.clock import Clock
from tools.kit.errors import Conflict, Unavailable
from tools.kit.infrastructure import (
    DiskFacts,
    Fleet,
    ProbeResult,
    ProcessFacts,
    ReplicaSpec,
    ServiceSpec,
)

OK = ProbeResult(ok=True, latency_ms=3.0, status=200, body='{"status": "ok"}')
TIMEOUT = ProbeResult(ok=False, latency_ms=None, status=None, error="timeout")
REFUSED = ProbeResult(ok=False, latency_ms=None, status=None, error="refused")
FAILING = ProbeResult(ok=False, latency_ms=4.0, status=503, body="no database")
MIB = 1024 * 1024


def service(
    name: str,
    replicas: int = 1,
    *,
    kind: str = "fleet",
    http: bool = True,
    depends_on: tuple[str, ...] = (),
    data: Path | None = None,
    archivable: tuple[Path, ...] = (),
    minimum_healthy: int = 0,
) -> ServiceSpec:
    """A described service with replicas `name-1`, `name-2` ... (or `name` for an academy's own)."""
    names = [f"{name}-{n}" for n in range(1, replicas + 1)] if kind == "fleet" else [name]
    return ServiceSpec(
        name=name,
        title=name.capitalize(),
        kind=kind,  # type: ignore[arg-type]
        replicas=tuple(
            ReplicaSpec(name, r, r, f"http://127.0.0.1:{9000 + i}" if http else None)
            for i, r in enumerate(names)
        ),
        health_path="/healthz" if http else None,
        depends_on=depends_on,
        data_folder=data,
        archivable=archivable,
        minimum_healthy=minimum_healthy,
    )


def campus() -> Fleet:
    """Catalog (two replicas) on PostgreSQL, player calling catalog, a worker without a door."""
    return Fleet(
        services=(
            service("catalog", 2, depends_on=("postgres",), minimum_healthy=1),
            service("player", 2, depends_on=("catalog",)),
            service("worker", 1, http=False, depends_on=("postgres",)),
            service("postgres", kind="academy", http=False),
        )
    )


@dataclass
class FakeReplica:
    """What one replica is doing."""

    facts: ProcessFacts
    answer: ProbeResult = OK


class FakeInfrastructure:
    """`tools.kit.infrastructure.Infrastructure` over values a test sets."""

    def __init__(self, clock: Clock, fleet: Fleet | None = None) -> None:
        self.clock = clock
        self.described = fleet or campus()
        self.pids = itertools.count(4711)
        self.replicas: dict[str, FakeReplica] = {}
        self.disks: dict[Path, DiskFacts] = {}
        self.supervisor_up = True
        self.restarted: list[str] = []
        self.heals = True
        """Whether a restart makes a replica answer."""
        for described in self.described.services:
            for spec in described.replicas:
                self.start(spec.name, at=clock.now() - timedelta(hours=1))

    def start(self, name: str, *, at: datetime | None = None, answer: ProbeResult = OK) -> int:
        """Run a fresh process; its pid."""
        pid = next(self.pids)
        started = at or self.clock.now()
        facts = ProcessFacts("running", pid, started, rss_bytes=40 * MIB, cpu_percent=1.0)
        self.replicas[name] = FakeReplica(facts, answer)
        return pid

    def freeze(self, name: str) -> None:
        """SIGSTOP: the process is there, takes connections, answers nothing."""
        replica = self.replicas[name]
        replica.facts = replace(replica.facts, stopped_by_signal=True)
        replica.answer = TIMEOUT

    def thaw(self, name: str) -> None:
        """SIGCONT."""
        replica = self.replicas[name]
        replica.facts = replace(replica.facts, stopped_by_signal=False)
        replica.answer = OK

    def hang(self, name: str, answer: ProbeResult = TIMEOUT) -> None:
        """The program runs but answers like this."""
        self.replicas[name].answer = answer

    def stop(self, name: str, status: str = "stopped", note: str = "") -> None:
        """No process any more."""
        facts = ProcessFacts(status, None, None, exit_note=note)  # type: ignore[arg-type]
        self.replicas[name] = FakeReplica(facts, REFUSED)

    def fill(self, path: Path, *, free_percent: float, inodes: float = 90.0) -> None:
        """A disk of 100 MiB with so much free."""
        total = 100 * MIB
        self.disks[path] = DiskFacts(
            path, total, int(total * free_percent / 100), inodes, device=7, limited=True
        )

    def pid(self, name: str) -> int:
        """The pid of a running replica."""
        pid = self.replicas[name].facts.pid
        assert pid is not None
        return pid

    def fleet(self) -> Fleet:
        """The described fleet."""
        return self.described

    async def processes(self) -> dict[str, ProcessFacts]:
        """Facts per replica name."""
        if not self.supervisor_up:
            raise Unavailable("The process supervisor can't be reached.")
        return {name: replica.facts for name, replica in self.replicas.items()}

    async def probe(self, replica: ReplicaSpec, path: str, *, timeout: float) -> ProbeResult:
        """The answer the test set."""
        return self.replicas[replica.name].answer

    async def disk(self, path: Path) -> DiskFacts:
        """The disk the test set, or a roomy one."""
        if path in self.disks:
            return self.disks[path]
        return DiskFacts(path, 100 * MIB, 60 * MIB, 90.0, device=1)

    async def restart(self, replica: ReplicaSpec, *, expected_pid: int | None) -> int:
        """A fresh process, well unless `heals` is off."""
        if self.replicas[replica.name].facts.pid not in (None, expected_pid):
            raise Conflict(f"{replica.name} is another process now.")
        self.restarted.append(replica.name)
        return self.start(replica.name, answer=OK if self.heals else TIMEOUT)

    async def tail_log(self, replica: ReplicaSpec, *, lines: int) -> Sequence[str]:
        """Nothing was logged."""
        return []
