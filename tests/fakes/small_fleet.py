"""A fleet in memory: replicas that hang, die and come back when they are restarted."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from memory.database import Database
from memory.ids import new_id
from memory.tables.healing import Incident
from tests.fakes.clock import FakeClock
from tools.healing.repository import LOOK, HealingRepository
from tools.kit.errors import Conflict
from tools.kit.infrastructure import (
    DiskFacts,
    Fleet,
    ProbeResult,
    ProcessFacts,
    ReplicaSpec,
    ServiceSpec,
)


def _service(name: str, replicas: int) -> ServiceSpec:
    return ServiceSpec(
        name=name,
        title=name.title(),
        kind="fleet",
        replicas=tuple(
            ReplicaSpec(name, f"{name}-{n}", f"{name}-{n}", f"http://127.0.0.1:1/{name}-{n}")
            for n in range(1, replicas + 1)
        ),
        health_path="/healthz",
    )


SIGNALS = {
    "latency_ms": 4.0,
    "rss_mb": 40.0,
    "answer_ms": 31.4,
    "requests_per_second": 3.02,
    "error_percent": 0.0,
    "open_files": 17.0,
}


@dataclass
class SmallFleet:
    """`tools.kit.infrastructure.Infrastructure` over a dictionary of processes."""

    clock: FakeClock
    restarted: list[str] = field(default_factory=list)
    """Names of replicas in the order they were restarted: the effects."""
    hung: set[str] = field(default_factory=set)
    lines: list[str] = field(default_factory=list)
    """What every log ends with."""

    def __post_init__(self) -> None:
        self._fleet = Fleet((_service("catalog", 2), _service("player", 1)), environment="memory")
        began = self.clock.now() - timedelta(hours=1)
        names = [r.name for s in self._fleet.services for r in s.replicas]
        self.facts = {
            name: ProcessFacts(status="running", pid=100 + i, started_at=began)
            for i, name in enumerate(names)
        }

    def fleet(self) -> Fleet:
        return self._fleet

    def add(self, service: str, *, replicas: int) -> None:
        """One more service, running."""
        spec = _service(service, replicas)
        self._fleet = replace(self._fleet, services=(*self._fleet.services, spec))
        began = self.clock.now() - timedelta(hours=1)
        for i, one in enumerate(spec.replicas):
            self.facts[one.name] = ProcessFacts(status="running", pid=500 + i, started_at=began)

    async def processes(self) -> dict[str, ProcessFacts]:
        return dict(self.facts)

    async def probe(self, replica: ReplicaSpec, path: str, *, timeout: float) -> ProbeResult:
        if replica.name in self.hung:
            return ProbeResult(ok=False, latency_ms=None, status=None, error="timeout")
        return ProbeResult(ok=True, latency_ms=4.0, status=200)

    async def disk(self, path: Path) -> DiskFacts:
        return DiskFacts(path, 100, 50, 50.0, 1)

    async def restart(self, replica: ReplicaSpec, *, expected_pid: int | None) -> int:
        facts = self.facts[replica.name]
        if facts.pid not in (None, expected_pid):
            raise Conflict(f"{replica.name} no longer runs as {expected_pid}.")
        self.restarted.append(replica.name)
        self.hung.discard(replica.name)
        pid = (facts.pid or 0) + 1000
        self.facts[replica.name] = replace(facts, pid=pid, started_at=self.clock.now())
        return pid

    async def tail_log(self, replica: ReplicaSpec, *, lines: int) -> Sequence[str]:
        return self.lines[-lines:]

    async def hang(self, name: str, control: Database) -> str:
        """Hang a replica, with what the healer would have written about it; the incident's id."""
        self.hung.add(name)
        await self.seen(control)
        now = self.clock.now()
        service = name.rsplit("-", 1)[0]
        incident = Incident(
            id=new_id("inc"),
            service=service,
            replica=name,
            target=f"{service}/{name}",
            kind="hung",
            state="explained",
            title=f"{name} hangs: it accepts connections and does not answer",
            cause="Its process is stopped by a signal (state T).",
            explanation="3 probes in a row got no answer within 1 s.",
            evidence=[{"for": True, "text": "3 probes in a row timed out"}],
            before={"frozen": True, "pid": self.facts[name].pid},
            after={},
            resolution="",
            opened_at=now - timedelta(seconds=20),
            updated_at=now,
            closed_at=None,
        )
        async with control.unit_of_work() as session:
            session.add(incident)
        return incident.id

    async def seen(self, control: Database) -> None:
        """Write what the healer would have seen."""
        now = self.clock.now()
        rows = [
            {
                "service": spec.name,
                "replica": one.name,
                "status": "hung" if one.name in self.hung else "healthy",
                "note": "accepts and never answers" if one.name in self.hung else "",
                "pid": self.facts[one.name].pid,
                "started_at": self.facts[one.name].started_at,
                "restarts": 0,
                "since": now - timedelta(seconds=20),
                "signals": SIGNALS,
                "updated_at": now,
            }
            for spec in self._fleet.services
            for one in spec.replicas
        ]
        look = {**rows[0], "service": LOOK[0], "replica": LOOK[1], "status": "", "signals": {}}
        async with control.unit_of_work() as session:
            await HealingRepository(session).replace_states([look, *rows])
