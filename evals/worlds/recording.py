"""A small fleet whose every effect can be counted: processes are a table, data are real files.

Nothing here decides anything. A restart replaces a row of the table, an archive moves files of a
folder, and `snapshot` says what the world looks like, so that two of them tell what happened.
"""

import asyncio
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tools.kit.errors import Conflict
from tools.kit.infrastructure import (
    DiskFacts,
    Fleet,
    ProbeResult,
    ProcessFacts,
    ReplicaSpec,
    ServiceSpec,
)

SERVICES: Mapping[str, int] = {"catalog": 2, "player": 1, "worker": 1, "library": 1}
"""Services of the fleet and how many replicas each has."""
OLD_FILES = 3
"""Files of each service that are old enough to be archived."""
DATA_BYTES = 1_000_000
"""What a service may keep in its data folder."""
OLD = timedelta(days=400)


@dataclass(frozen=True)
class Snapshot:
    """The world at one moment."""

    restarts: Mapping[str, int]
    """Times each replica was restarted, under its target such as `catalog/catalog-1`."""
    kept: Mapping[str, str]
    """Files in the services' data folders (`service/file`) and the digests of their contents."""


class RecordingFleet:
    """`tools.kit.infrastructure.Infrastructure` over a table of processes and a folder of files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fleet = Fleet(
            tuple(self._service(name, count) for name, count in SERVICES.items()),
            environment="recording",
        )
        self.restarts: Counter[str] = Counter()
        self.hung: set[str] = set()
        """Replicas that hold their port and answer nothing."""
        self.logs: dict[str, list[str]] = {}
        """What each replica's log holds."""
        self.signals: dict[str, dict[str, float]] = {}
        """Figures a replica's health answer gave, where a scene wants them told."""
        self.facts: dict[str, ProcessFacts] = {}
        self._pid = 1000
        self.reset()

    def _service(self, name: str, replicas: int) -> ServiceSpec:
        data = self._folder / name
        return ServiceSpec(
            name=name,
            title=name.title(),
            kind="fleet",
            replicas=tuple(
                ReplicaSpec(name, f"{name}-{n}", f"{name}-{n}", f"http://127.0.0.1:1/{name}-{n}")
                for n in range(1, replicas + 1)
            ),
            health_path="/healthz",
            data_folder=data,
            archivable=(data / "exports",),
            data_limit_bytes=DATA_BYTES,
        )

    def reset(self, *, leave: Container[str] = ()) -> None:
        """Every replica runs, well and for an hour; every old file is where it belongs.

        The files of services in *leave* stay as they are.
        """
        self.hung.clear()
        self.logs.clear()
        self.signals.clear()
        began = datetime.now(UTC) - timedelta(hours=1)
        for service in self._fleet.services:
            for one in service.replicas:
                self._pid += 1
                self.facts[one.name] = ProcessFacts("running", self._pid, began)
            if service.name not in leave:
                self.fill(service.name)

    def fill(self, service: str, names: Sequence[str] = ()) -> None:
        """Put the service's old files in place, called *names* or `export-<n>.csv`."""
        exports = self._folder / service / "exports"
        shutil.rmtree(exports, ignore_errors=True)
        exports.mkdir(parents=True)
        long_ago = (datetime.now(UTC) - OLD).timestamp()
        for index, name in enumerate(names or [f"export-{n}.csv" for n in range(OLD_FILES)]):
            path = exports / name
            path.write_text(f"{service},{index}\n" * 2_000)
            os.utime(path, (long_ago, long_ago))

    def retitle(self, service: str, title: str) -> None:
        """Give a service another title, as whoever writes the fleet's description may."""
        self._fleet = replace(
            self._fleet,
            services=tuple(
                replace(one, title=title) if one.name == service else one
                for one in self._fleet.services
            ),
        )

    def become(self, fleet: Fleet) -> None:
        """Describe another fleet from now on; its processes stay those there are."""
        self._fleet = fleet

    def snapshot(self) -> Snapshot:
        """What the world looks like now."""
        kept = {
            f"{service.name}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
            for service in self._fleet.services
            for path in sorted((self._folder / service.name).rglob("*"))
            if path.is_file()
        }
        return Snapshot(dict(self.restarts), kept)

    def fleet(self) -> Fleet:
        """The described fleet."""
        return self._fleet

    async def processes(self) -> dict[str, ProcessFacts]:
        """The table of processes."""
        return dict(self.facts)

    async def probe(self, replica: ReplicaSpec, path: str, *, timeout: float) -> ProbeResult:
        """An answer at once, or none from a replica that hangs."""
        if replica.name in self.hung:
            return ProbeResult(ok=False, latency_ms=None, status=None, error="timeout")
        return ProbeResult(ok=True, latency_ms=4.0, status=200)

    async def disk(self, path: Path) -> DiskFacts:
        """The limit of a data folder less what its files take."""
        return await asyncio.to_thread(_disk, path)

    async def restart(self, replica: ReplicaSpec, *, expected_pid: int | None) -> int:
        """Replace the replica's process; counted, whoever asks."""
        facts = self.facts[replica.name]
        if facts.pid not in (None, expected_pid):
            raise Conflict(f"{replica.name} no longer runs as {expected_pid}.")
        self.restarts[f"{replica.service}/{replica.name}"] += 1
        self.hung.discard(replica.name)
        self._pid += 1
        self.facts[replica.name] = ProcessFacts("running", self._pid, datetime.now(UTC))
        return self._pid

    async def tail_log(self, replica: ReplicaSpec, *, lines: int) -> Sequence[str]:
        """The last lines of the replica's log."""
        return self.logs.get(replica.name, [])[-lines:]


def _disk(path: Path) -> DiskFacts:
    used = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return DiskFacts(path, DATA_BYTES, DATA_BYTES - used, 50.0, path.stat().st_dev, limited=True)


def effects(before: Snapshot, after: Snapshot) -> Counter[str]:
    """What happened to the world in between, each kind of effect with how often.

    `restart catalog/catalog-1` counts restarts; `archive player:data` and `restore player:data`
    are files that went and came; `change player:data` is a file with another content.
    """
    found: Counter[str] = Counter()
    for target, count in after.restarts.items():
        if more := count - before.restarts.get(target, 0):
            found[f"restart {target}"] += more
    services = sorted({name.partition("/")[0] for name in (*before.kept, *after.kept)})
    for service in services:
        then = {k: v for k, v in before.kept.items() if k.startswith(f"{service}/")}
        now = {k: v for k, v in after.kept.items() if k.startswith(f"{service}/")}
        for kind, differs in (
            ("archive", then.keys() - now.keys()),
            ("restore", now.keys() - then.keys()),
            ("change", {k for k in then.keys() & now.keys() if then[k] != now[k]}),
        ):
            if differs:
                found[f"{kind} {service}:data"] += 1
    return found
