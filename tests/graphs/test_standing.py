"""The healer's own program, real replicas, a real database that goes away: done and replayed."""

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from graphs.fleet import local_fleet
from memory import audit
from memory.audit_heads import new_key_pair
from memory.database import Database
from memory.embedded_postgres import EmbeddedPostgres
from memory.tables.autonomy import Action, AuditEntry, Permit
from tests.fakes.supervised import Supervised
from tests.graphs.test_healer import (
    Academy,
    academy_looked,
    admit,
    eventually,
    start_healer,
    supervised,
)
from tools.autonomy import standing_approvals
from tools.catalogue import build_operations

__all__ = ["supervised"]
"""A fixture, used by its name."""

TARGET = "catalog/catalog-1"


@pytest.fixture
async def academy(tmp_path: Path, control_url: str, control_db: Database) -> Academy:
    """With the key that standing permits are signed with."""
    made = await Academy(tmp_path / "a home", control_url, control_db).found()
    (made.settings.paths.keys / "standing.key").write_bytes(new_key_pair()[0])
    return made


async def give(academy: Academy) -> str:
    """A person approves restarting catalog-1 in advance."""
    home = academy.settings.paths
    fleet = local_fleet(home).fleet()
    async with academy.database.unit_of_work() as session:
        given = await standing_approvals.give(
            session,
            academy.staff,
            "healing.restart_replica",
            TARGET,
            days=1,
            reason="nights",
            operations=build_operations(archive_folder=home.archive),
            fleet=fleet,
            clock=academy.clock,
        )
    return given.id


def lines(academy: Academy) -> list[dict[str, Any]]:
    """The journal as it is on disk, whole lines only."""
    path = academy.settings.paths.standing / "journal.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.split("\n")[:-1]]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("killed", [False, True], ids=["", "killed in the middle"])
async def test_with_the_database_gone_a_permitted_repair_is_done_once_and_replayed(
    academy: Academy, supervised: Supervised, postgres: EmbeddedPostgres, *, killed: bool
) -> None:
    standing = academy.settings.paths.standing
    given = await give(academy)
    healer = start_healer(academy)
    try:

        async def permitted() -> bool:
            return bool(list(standing.glob("per-*.json")))

        await eventually(permitted, seconds=60, why="no permit was issued")
        await eventually(academy_looked(academy), seconds=60)
        pid = supervised.wait_for("catalog-1", "RUNNING")
        assert pid is not None
        admit(postgres, academy.database.name, admitted=False)
        os.kill(pid, signal.SIGSTOP)

        async def begun() -> bool:
            return bool(lines(academy))

        await eventually(begun, seconds=60, why="nothing was done")
        if killed:
            healer.kill()
            healer.wait()
            healer = start_healer(academy)

        async def ended() -> bool:
            return lines(academy)[-1]["body"].get("state") in ("verified", "failed")

        await eventually(ended, seconds=60, why="the action was not settled")
        told = lines(academy)
        assert told[-1]["body"]["state"] == "verified" or killed
        assert not list(standing.glob("per-*.json")), "the permit is used up"
        admit(postgres, academy.database.name, admitted=True)

        async def replayed() -> bool:
            return bool(list(standing.glob("journal.*Z.jsonl")))

        await eventually(replayed, seconds=60, why="the journal was not replayed")
        now = supervised.supervisor.process("catalog-1").pid
        # Killed between stop and start, the restart is not done, and nobody finishes it.
        assert (now not in (pid, None)) == (told[-1]["body"]["state"] == "verified")
        async with academy.database.unit_of_work() as session:
            action = (await session.scalars(select(Action))).one()
            permit = (await session.scalars(select(Permit))).one()
            kinds = list(
                await session.scalars(
                    select(AuditEntry.kind)
                    .where(AuditEntry.subject == action.id)
                    .order_by(AuditEntry.seq)
                )
            )
            report = await audit.verify(session, standing / "no heads", new_key_pair()[1])
        assert action.state == told[-1]["body"]["state"]
        assert given in action.reason
        assert permit.granted_by == academy.staff.person_id
        assert kinds[:3] == ["action.planned", "action.permitted", "action.intended"]
        assert len(kinds) == len(set(kinds)), "each step once"
        assert report.ok
        if not killed:
            await academy.in_state(TARGET, "closed", seconds=60)
    finally:
        admit(postgres, academy.database.name, admitted=True)
        await asyncio.to_thread(stop, healer, supervised)


def stop(healer: subprocess.Popen[bytes], supervised: Supervised) -> None:
    """End the healer, and let a replica that still is frozen run, so that it can be ended."""
    healer.terminate()
    healer.wait(40)
    pid = supervised.supervisor.process("catalog-1").pid
    if pid:
        os.kill(pid, signal.SIGCONT)
