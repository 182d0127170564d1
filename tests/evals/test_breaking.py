"""`academy break` breaks campus and its database on purpose, tells the audit log, and no more."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import select

from evals.breaking import break_it
from evals.worlds.campus.filling import LARGEST, clear, fill, measure
from graphs.settings import Settings
from memory.database import Database
from memory.tables.autonomy import AuditEntry
from tests.evals.conftest import Campus
from tests.fakes.embedded import wait_until_up
from tools.adapters.local import LocalInfrastructure
from tools.healing.policy import HealingPolicy
from tools.kit.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable
from tools.kit.infrastructure import ServiceSpec

pytestmark = pytest.mark.timeout(180)
"""The first test starts a database and six services, which on a busy machine takes a while."""


@pytest.fixture
def whole(campus: Campus) -> Iterator[Campus]:
    """Campus, whole again after the test."""
    yield campus
    for name in ("catalog-1", "catalog-2", "player-1", "player-2", "worker-1"):
        campus.wait_until(name, "/healthz", 200)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int | None
    text: str

    @property
    def said(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.text)
        return content


async def academy(*arguments: str) -> Ended:
    """`academy break` as a person runs it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server.cli", "break", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await process.communicate()
    return Ended(process.returncode, (out or error).decode())


async def last_audit(campus: Campus) -> AuditEntry:
    return (await audited(campus))[-1]


async def audited(campus: Campus) -> list[AuditEntry]:
    store = Database(campus.settings.control_url, pool_size=1)
    try:
        async with store.unit_of_work() as session:
            rows = await session.execute(select(AuditEntry).order_by(AuditEntry.seq))
            return list(rows.scalars())
    finally:
        await store.dispose()


async def state_of(campus: Campus, service: str) -> dict[str, Any]:
    paths = campus.settings.paths
    local = LocalInfrastructure(
        paths.fleet_file, paths.path, campus.supervised.ports_file, campus.supervised.socket
    )
    spec = local.fleet().service(service)
    assert spec is not None
    assert spec.data_folder is not None
    return {"spec": spec, "disk": await local.disk(spec.data_folder), **await local.processes()}


async def test_hang_freezes_one_healthy_replica_and_heal_takes_it_back(whole: Campus) -> None:
    done = await break_it(whole.settings, "catalog", "hang")

    replica = done.facts["replica"]
    assert replica == "catalog-1"
    assert done.facts["audited"] is True
    assert (await state_of(whole, "catalog"))[replica].stopped_by_signal
    entry = await last_audit(whole)
    assert (entry.kind, entry.subject) == ("break.hang", "catalog-1")
    assert entry.actor.startswith("shell:")

    second = await break_it(whole.settings, "catalog", "hang")
    assert second.facts["replica"] == "catalog-2"
    with pytest.raises(Conflict, match="no healthy replica to break: catalog-1 is frozen; cat"):
        await break_it(whole.settings, "catalog", "hang")

    healed = await break_it(whole.settings, "catalog", "heal")
    assert healed.facts["continued"] == ["catalog-1", "catalog-2"]


async def test_kill_ends_the_named_replica_and_the_supervisor_starts_it_again(
    whole: Campus,
) -> None:
    done = await break_it(whole.settings, "player", "kill", "player-2")

    assert done.facts["replica"] == "player-2"
    pid = done.facts["pid"]
    deadline = time.monotonic() + 10
    while (await state_of(whole, "player"))["player-2"].pid in (pid, None):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert not psutil.pid_exists(pid)


async def test_stop_keeps_a_replica_down_until_healed(whole: Campus) -> None:
    await break_it(whole.settings, "worker", "stop")
    whole.supervised.wait_for("worker-1", "STOPPED")
    with pytest.raises(Conflict, match="worker-1 is stopped"):
        await break_it(whole.settings, "worker", "kill")

    healed = await break_it(whole.settings, "worker", "heal")
    assert healed.facts["started"] == ["worker-1"]
    again = await break_it(whole.settings, "worker", "heal")
    assert "there was nothing to take back" in again.text


def youngest(folder: Path) -> float:
    """Age in seconds of the newest file that a break wrote."""
    return time.time() - max(path.stat().st_mtime for path in folder.glob("traffic-sample-*"))


async def test_disk_fills_the_data_limit_past_the_alarm_and_no_further(whole: Campus) -> None:
    alarm = HealingPolicy().disk_free_percent
    try:
        done = await break_it(whole.settings, "catalog", "disk")

        disk = (await state_of(whole, "catalog"))["disk"]
        assert disk.limited
        assert alarm - 4 < 100 * disk.free_bytes / disk.total_bytes < alarm
        assert done.facts["bytes"] < 64 * 2**20
        assert youngest(Path(done.facts["folder"])) > HealingPolicy().archive_age_days * 86_400
        with pytest.raises(Conflict, match="that full already"):
            await break_it(whole.settings, "catalog", "disk")
    finally:
        healed = await break_it(whole.settings, "catalog", "heal")
    assert healed.facts["removed"] == done.facts["files"]
    assert (await state_of(whole, "catalog"))["disk"].free_bytes > 60 * 2**20


async def test_the_database_is_stopped_and_started_and_the_log_file_has_both(
    whole: Campus,
) -> None:
    stopped = await break_it(whole.settings, "postgres", "stop")
    assert stopped.facts["audited"] is True
    whole.supervised.wait_for("postgres", "STOPPED")
    with pytest.raises(Conflict, match="PostgreSQL is stopped already"):
        await break_it(whole.settings, "postgres", "stop")
    while_down = await break_it(whole.settings, "player", "kill")
    assert while_down.facts["audited"] is False
    assert "the audit log gets this when it is back" in while_down.text

    started = await break_it(whole.settings, "postgres", "start")

    assert started.facts["audited"] is True
    assert [entry.kind for entry in await audited(whole)][-3:] == [
        "break.postgres_stop",
        "break.kill",
        "break.postgres_start",
    ]
    late = (await audited(whole))[-2]
    assert datetime.fromisoformat(late.body["happened_at"]) < late.at
    with pytest.raises(Conflict, match="already"):
        await break_it(whole.settings, "postgres", "start")
    lines = (whole.settings.paths.logs / "breaks.log").read_text().splitlines()
    kinds = [(json.loads(line)["kind"], json.loads(line)["audited"]) for line in lines[-3:]]
    assert kinds == [
        ("break.postgres_stop", True),
        ("break.kill", False),
        ("break.postgres_start", True),
    ]
    await wait_until_up(whole.settings.embedded_postgres)


@pytest.mark.parametrize(
    ("service", "way", "replica", "kind", "message"),
    [
        ("web", "kill", None, Forbidden, "`web` may not be broken; what may: catalog, .*postgres"),
        ("healer", "kill", None, Forbidden, "what may"),
        ("nonsense", "kill", None, Forbidden, "what may"),
        ("catalog", "explode", None, Invalid, "there are kill, hang, stop, disk, heal"),
        ("postgres", "kill", None, Invalid, "there are stop, start"),
        ("catalog", "kill", "player-1", NotFound, "it has catalog-1, catalog-2"),
        ("visitors", "disk", None, Forbidden, "no archivable folder"),
    ],
)
async def test_anything_else_is_refused_with_what_can_be_broken(
    campus: Campus,
    service: str,
    way: str,
    replica: str | None,
    kind: type[Exception],
    message: str,
) -> None:
    before = await last_audit(campus)
    with pytest.raises(kind, match=message):
        await break_it(campus.settings, service, way, replica)
    assert (await last_audit(campus)).seq == before.seq


async def test_an_academy_that_is_bare_or_does_not_run_has_nothing_to_break(
    campus: Campus, tmp_path: Path
) -> None:
    stranger = Settings(home=tmp_path)
    with pytest.raises(Unavailable, match="No academy runs on"):
        await break_it(stranger, "catalog", "kill")

    fleet = campus.settings.paths.fleet_file
    text = fleet.read_text()
    try:
        fleet.write_text('[fleet]\ntitle = "Bare"\n')
        with pytest.raises(Forbidden, match="without campus"):
            await break_it(campus.settings, "postgres", "stop")
    finally:
        fleet.write_text(text)


async def test_the_command_prints_json_and_has_exit_codes(whole: Campus, tmp_path: Path) -> None:
    home = str(whole.settings.paths.path)
    done, refused, nowhere = await asyncio.gather(
        academy("catalog", "hang", "--replica", "catalog-2", "--home", home, "--json"),
        academy("front", "kill", "--home", home, "--json"),
        academy("catalog", "kill", "--home", str(tmp_path)),
    )
    await break_it(whole.settings, "catalog", "heal")

    assert (done.code, done.said["replica"]) == (0, "catalog-2")
    assert (refused.code, refused.said["code"]) == (5, 5)
    assert "may not be broken" in refused.said["error"]
    assert nowhere.code == 3
    assert nowhere.text.startswith("academy: No academy runs on")
    assert "Traceback" not in nowhere.text


def unlimited(folder: Path) -> ServiceSpec:
    return ServiceSpec(
        name="catalog",
        title="Catalog",
        kind="fleet",
        replicas=(),
        health_path=None,
        data_folder=folder,
        archivable=(folder / "exports",),
    )


def test_a_large_shared_disk_is_never_filled(tmp_path: Path) -> None:
    with pytest.raises(Forbidden, match=r"data_limit_mb.*mount -t tmpfs") as refused:
        measure(unlimited(tmp_path), tmp_path, free_percent=10)
    assert str(LARGEST // 2**20) in str(refused.value) or "shares" in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_small_filesystem_of_its_own_is_filled_past_the_alarm(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    folder = tmp_path / "data"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "academy-test", str(folder)]
    mounted = subprocess.run(mount, check=False, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"mounting is not allowed here: {mounted.stderr.strip()}")
    try:
        spec = unlimited(folder)
        filling = measure(spec, tmp_path, free_percent=10)
        filled = fill(filling, age=timedelta(days=7), stamp="t")
        assert not filled.after.limited
        assert filled.after.free_bytes < 0.1 * filled.after.total_bytes
        assert clear(spec) == filled.files
    finally:
        subprocess.run(["umount", str(folder)], check=True)
