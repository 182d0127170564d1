"""One round of looking: health, latency, process facts, disks and the store, all at once.

Each look has a timeout of its own, and one that could not be made is reported as such with the
reason; it never counts as healthy and never as a miss.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeVar

from tools.healing.policy import HealingPolicy
from tools.kit.clock import Clock
from tools.kit.errors import CapabilityError
from tools.kit.infrastructure import (
    DiskFacts,
    Fleet,
    Infrastructure,
    ProbeResult,
    ProcessFacts,
    ReplicaSpec,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Look:
    """What one round saw of one replica."""

    facts: ProcessFacts | None
    """None when the supervisor could not be asked; then `facts_problem` says why."""
    probe: ProbeResult | None
    """None when no probe was made; then `unprobed` says why."""
    facts_problem: str = ""
    unprobed: str = ""

    @property
    def missed(self) -> bool:
        """A probe was made and no answer of any kind came."""
        return self.probe is not None and not self.probe.ok and self.probe.status is None

    @property
    def answered_badly(self) -> bool:
        """A probe was answered, with an error."""
        return self.probe is not None and not self.probe.ok and self.probe.status is not None


@dataclass(frozen=True)
class DiskLook:
    """What one round saw of the disk under a service's data folder."""

    facts: DiskFacts | None
    problem: str = ""

    @property
    def free_percent(self) -> float | None:
        """Free bytes as a share of the whole, 0-100; None when unknown."""
        if self.facts is None or self.facts.total_bytes <= 0:
            return None
        return 100.0 * self.facts.free_bytes / self.facts.total_bytes


@dataclass(frozen=True)
class StoreLook:
    """Whether the control database answered."""

    reachable: bool
    latency_ms: float | None = None
    error: str = ""


@dataclass(frozen=True)
class Round:
    """Everything one round saw, and what it could not see."""

    at: datetime
    looks: Mapping[str, Look]
    """By replica name."""
    disks: Mapping[str, DiskLook] = field(default_factory=dict)
    """By service name, for services with a data folder."""
    store: StoreLook | None = None
    """None where there is no store to look at (a fleet without PostgreSQL)."""
    problems: tuple[str, ...] = ()


class Store(Protocol):
    """Something that can be asked whether it is there."""

    async def ping(self) -> object:
        """Return when it answers; raise when it doesn't."""
        ...


async def look(
    infrastructure: Infrastructure,
    fleet: Fleet,
    store: Store | None,
    *,
    clock: Clock,
    policy: HealingPolicy,
) -> Round:
    """Look once at everything in *fleet*; takes at most the sum of the two longest timeouts."""
    at = clock.now()
    process_facts, disks, store_look = await asyncio.gather(
        _processes(infrastructure, policy),
        _disks(infrastructure, fleet, policy),
        _store(store, policy),
    )
    facts, problem = process_facts
    pairs = [(s, r) for s in fleet.services for r in s.replicas]
    seen = await asyncio.gather(
        *(_replica(infrastructure, r, s.health_path, facts, problem, policy) for s, r in pairs)
    )
    problems = [*fleet.problems]
    if problem:
        problems.append(f"The process supervisor could not be asked: {problem}")
    problems += [f"The disk of {name}: {d.problem}" for name, d in disks.items() if d.problem]
    return Round(
        at=at,
        looks={r.name: x for (_, r), x in zip(pairs, seen, strict=True)},
        disks=disks,
        store=store_look,
        problems=tuple(problems),
    )


async def _within(seconds: float, call: Callable[[], Awaitable[T]]) -> tuple[T | None, str]:
    try:
        async with asyncio.timeout(seconds):
            return await call(), ""
    except TimeoutError:
        return None, f"no answer within {seconds:g} s"
    except CapabilityError as error:
        return None, error.message
    except OSError as error:
        return None, error.strerror or type(error).__name__


async def _processes(
    infrastructure: Infrastructure, policy: HealingPolicy
) -> tuple[dict[str, ProcessFacts] | None, str]:
    return await _within(policy.look_timeout, infrastructure.processes)


async def _disks(
    infrastructure: Infrastructure, fleet: Fleet, policy: HealingPolicy
) -> dict[str, DiskLook]:
    async def one(path: Path) -> DiskLook:
        facts, problem = await _within(policy.look_timeout, lambda: infrastructure.disk(path))
        return DiskLook(facts, problem)

    watched = [(s.name, s.data_folder) for s in fleet.services if s.data_folder is not None]
    looks = await asyncio.gather(*(one(path) for _, path in watched))
    return {name: d for (name, _), d in zip(watched, looks, strict=True)}


async def _store(store: Store | None, policy: HealingPolicy) -> StoreLook | None:
    if store is None:
        return None
    loop = asyncio.get_running_loop()
    begun = loop.time()
    try:
        async with asyncio.timeout(policy.probe_timeout):
            await store.ping()
    except TimeoutError:
        return StoreLook(reachable=False, error=f"no answer within {policy.probe_timeout:g} s")
    except Exception as error:  # a driver's every failure means the same: it didn't answer
        text = str(error).strip().splitlines()
        return StoreLook(reachable=False, error=text[0][:200] if text else type(error).__name__)
    return StoreLook(reachable=True, latency_ms=round((loop.time() - begun) * 1000, 2))


async def _replica(
    infrastructure: Infrastructure,
    replica: ReplicaSpec,
    path: str | None,
    facts: Mapping[str, ProcessFacts] | None,
    problem: str,
    policy: HealingPolicy,
) -> Look:
    mine = facts.get(replica.name) if facts is not None else None
    if facts is not None and mine is None:
        problem = "the supervisor doesn't know this program"
    if replica.url is None or path is None:
        return Look(mine, None, problem, "it has no HTTP door")
    if mine is not None and mine.status in ("stopped", "fatal", "backoff"):
        return Look(mine, None, problem, "it does not run")
    # The adapter keeps its own timeout; the outer one is for an adapter that doesn't.
    answer, failed = await _within(
        policy.probe_timeout + 0.5,
        lambda: infrastructure.probe(replica, path, timeout=policy.probe_timeout),
    )
    if answer is None and failed.startswith("no answer"):
        answer = ProbeResult(ok=False, latency_ms=None, status=None, error="timeout")
    return Look(mine, answer, problem, failed if answer is None else "")
