"""The commands that read the database themselves: schemas, and the audit chain."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from memory import audit
from memory.audit_heads import new_key_pair
from memory.database import Database
from server import cli
from server.exits import Exit, Refusal
from tests.fakes.clock import FakeClock

Run = Callable[..., "asyncio.Future[Result]"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a pair of audit keys."""
    private, public = new_key_pair()
    (tmp_path / "keys").mkdir()
    (tmp_path / "audit").mkdir()
    (tmp_path / "keys" / "audit.key").write_bytes(private)
    (tmp_path / "keys" / "audit.pub").write_bytes(public)
    return tmp_path


@pytest.fixture
def run(home: Path, control_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command of `academy` on that home and a database of this test's own."""
    monkeypatch.setenv("ACADEMY_DATABASE_URL", control_url)

    async def command(*words: str) -> Result:
        return await asyncio.to_thread(
            CliRunner().invoke, cli.app, [*words, "--home", str(home)], prog_name="academy"
        )

    return command  # type: ignore[return-value]


async def write_rows(control_db: Database, home: Path, clock: FakeClock) -> Path:
    """Three audit rows and a signed head over them."""
    heads = home / "audit" / f"{control_db.name}.heads.jsonl"
    async with control_db.unit_of_work() as session:
        for number in range(3):
            await audit.append(
                session, at=clock.now(), actor="engine:test", kind="t", subject=str(number), body={}
            )
    async with control_db.unit_of_work() as session:
        key = (home / "keys" / "audit.key").read_bytes()
        assert await audit.sign_head(session, key, heads, clock.now())
    return heads


async def test_an_untouched_log_verifies(
    run: Run, control_db: Database, home: Path, clock: FakeClock
) -> None:
    await write_rows(control_db, home, clock)
    person, program = await run("audit", "verify"), await run("audit", "verify", "--json")

    assert person.exit_code == Exit.OK
    assert "1 signed heads" in person.stdout
    assert json.loads(program.stdout)["ok"] is True


async def test_a_changed_row_is_named_and_the_exit_code_says_broken(
    run: Run, control_db: Database, home: Path, clock: FakeClock
) -> None:
    await write_rows(control_db, home, clock)
    async with control_db.unit_of_work() as session:
        rows = (await session.execute(text("SELECT max(seq) FROM audit_entry"))).scalar_one()
        await session.execute(
            text("UPDATE audit_entry SET subject = 'else' WHERE seq = :seq"), {"seq": rows - 1}
        )
    person, program = await run("audit", "verify"), await run("audit", "verify", "--json")

    assert isinstance(person.exception, Refusal)
    assert person.exception.code is Exit.BROKEN
    assert str(rows - 1) in person.exception.message
    assert program.exit_code == Exit.BROKEN
    assert json.loads(program.stdout)["broken_seq"] == rows - 1


async def test_a_missing_public_key_is_named(run: Run, home: Path) -> None:
    (home / "keys" / "audit.pub").unlink()
    ran = await run("audit", "verify")

    assert isinstance(ran.exception, Refusal)
    assert ran.exception.code is Exit.NOT_FOUND
    assert "audit.pub" in ran.exception.message


async def test_a_database_without_a_schema_is_shown_until_it_is_upgraded(run: Run) -> None:
    before = await run("db", "status")
    await run("db", "upgrade")
    person, program = await run("db", "status"), await run("db", "status", "--json")

    assert before.exit_code == Exit.BROKEN
    assert "DOES NOT FIT" in before.stdout
    assert person.exit_code == Exit.OK
    assert all(each["ok"] for each in json.loads(program.stdout)["databases"])


async def test_an_upgrade_of_what_is_current_changes_nothing(run: Run) -> None:
    await run("db", "upgrade")
    ran = await run("db", "upgrade", "--json")

    assert json.loads(ran.stdout) == {"changes": []}


async def test_a_database_newer_than_the_release_has_its_own_exit_code(
    run: Run, control_db: Database
) -> None:
    async with control_db.unit_of_work() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '1000'"))
    upgrade, status = await run("db", "upgrade"), await run("db", "status")

    assert isinstance(upgrade.exception, Refusal)
    assert upgrade.exception.code is Exit.DATABASE_NEWER
    assert "1000" in upgrade.exception.message
    assert status.exit_code == Exit.BROKEN


async def test_a_server_that_is_gone_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACADEMY_DATABASE_URL", "postgresql://u:secret@127.0.0.1:1/d")
    for words in (("db", "status"), ("db", "upgrade"), ("audit", "verify")):
        ran = await run(*words)
        assert isinstance(ran.exception, Refusal)
        assert ran.exception.code is Exit.UNAVAILABLE
        assert "secret" not in ran.exception.message
