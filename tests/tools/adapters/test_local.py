"""The local fleet through a real supervisord and real processes."""

import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest

from tests.fakes.supervised import ANSWERS, BROKEN, STUBBORN, Supervised, free_port, python
from tools.adapters.disk import folder_bytes
from tools.adapters.local import LocalInfrastructure, read_ports
from tools.adapters.supervisor import Supervisor
from tools.kit.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable
from tools.kit.infrastructure import ReplicaSpec

FLEET = """
[fleet]
title = "Test"
[[service]]
name = "catalog"
title = "Catalog"
program = "catalog"
replicas = 2
health_path = "/healthz"
data_folder = "data/catalog"
data_limit_mb = 1
archivable = ["exports"]
[[service]]
name = "stubborn"
title = "Ignores SIGTERM"
program = "stubborn"
http = false
[[service]]
name = "broken"
title = "Ends at once"
program = "broken"
http = false
[[service]]
name = "absent"
title = "Described, but never given to the supervisor"
program = "absent"
http = false
"""


@pytest.fixture(scope="module")
def supervised(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervised]:
    home = tmp_path_factory.mktemp("home with space")
    ports = {"catalog-1": free_port(), "catalog-2": free_port(), "web-1": free_port()}
    started = Supervised(
        home,
        {
            "catalog-1": python(ANSWERS, ports["catalog-1"]),
            "catalog-2": python(ANSWERS, ports["catalog-2"]),
            "stubborn-1": python(STUBBORN),
            "broken-1": python(BROKEN),
            "web-1": python(ANSWERS, ports["web-1"]),
            "healer": python(STUBBORN),
        },
        options={"healer": "stopsignal=KILL", "stubborn-1": "stopwaitsecs=4"},
    )
    (home / "fleet.toml").write_text(FLEET)
    (home / "data" / "catalog" / "exports").mkdir(parents=True)
    started.write_ports(ports)
    started.start()
    try:
        for name in ("catalog-1", "catalog-2", "stubborn-1", "web-1"):
            started.wait_for(name, "RUNNING")
        started.wait_for("broken-1", "FATAL")
        yield started
    finally:
        started.stop()


@pytest.fixture
async def local(supervised: Supervised) -> AsyncIterator[LocalInfrastructure]:
    home = supervised.home
    infrastructure = LocalInfrastructure(
        home / "fleet.toml", home, supervised.ports_file, supervised.socket
    )
    yield infrastructure
    await infrastructure.aclose()


def replica(local: LocalInfrastructure, name: str) -> ReplicaSpec:
    found = local.fleet().replica(name)
    assert found is not None
    return found


async def running_pid(local: LocalInfrastructure, name: str) -> int:
    pid = (await local.processes())[name].pid
    assert pid is not None
    return pid


async def answers_within(local: LocalInfrastructure, name: str, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (await local.probe(replica(local, name), "/healthz", timeout=1)).ok:
            return True
    return False


async def test_facts_of_a_running_replica(local: LocalInfrastructure) -> None:
    await local.processes()

    facts = (await local.processes())["catalog-1"]

    assert facts.status == "running"
    assert facts.pid is not None
    assert facts.started_at is not None
    assert facts.started_at.timestamp() == pytest.approx(psutil.Process(facts.pid).create_time())
    assert (facts.rss_bytes or 0) > 1_000_000
    assert facts.cpu_percent is not None
    assert (facts.open_files or 0) > 2
    assert not facts.stopped_by_signal


async def test_a_program_given_up_and_one_unknown_are_told_apart(
    local: LocalInfrastructure,
) -> None:
    facts = await local.processes()

    assert (facts["broken-1"].status, facts["broken-1"].pid) == ("fatal", None)
    assert "Exited too quickly" in facts["broken-1"].exit_note
    assert facts["absent-1"].status == "unknown"
    assert "does not know" in facts["absent-1"].exit_note


async def test_a_healthy_replica_answers_the_probe(local: LocalInfrastructure) -> None:
    assert await answers_within(local, "catalog-1")
    result = await local.probe(replica(local, "catalog-1"), "/healthz", timeout=1)

    assert (result.ok, result.status, result.error, result.body) == (True, 200, "", "fine")
    assert result.latency_ms is not None
    assert 0 < result.latency_ms < 1000


async def test_a_frozen_replica_times_out_is_seen_stopped_and_is_restarted(
    local: LocalInfrastructure,
) -> None:
    pid = await running_pid(local, "catalog-2")
    assert await answers_within(local, "catalog-2")
    os.kill(pid, signal.SIGSTOP)

    result = await local.probe(replica(local, "catalog-2"), "/healthz", timeout=0.3)
    facts = (await local.processes())["catalog-2"]
    began = time.monotonic()
    new_pid = await local.restart(replica(local, "catalog-2"), expected_pid=pid)

    assert (result.ok, result.error) == (False, "timeout")
    assert (facts.status, facts.stopped_by_signal) == ("running", True)
    assert new_pid != pid
    assert not psutil.pid_exists(pid)
    assert time.monotonic() - began < 4
    assert await answers_within(local, "catalog-2")


async def test_a_program_that_ignores_the_stop_signal_is_killed(
    local: LocalInfrastructure,
) -> None:
    pid = await running_pid(local, "stubborn-1")

    new_pid = await local.restart(replica(local, "stubborn-1"), expected_pid=pid)

    assert new_pid != pid
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("expected", [1, None])
async def test_a_restart_planned_on_another_process_is_refused(
    local: LocalInfrastructure, expected: int | None
) -> None:
    pid = await running_pid(local, "catalog-1")

    with pytest.raises(Conflict, match=f"runs as process {pid}, not as"):
        await local.restart(replica(local, "catalog-1"), expected_pid=expected)

    assert await running_pid(local, "catalog-1") == pid


async def test_a_stopped_replica_is_started(
    local: LocalInfrastructure, supervised: Supervised
) -> None:
    supervised.supervisor.stop("catalog-1")
    supervised.wait_for("catalog-1", "STOPPED")
    refused = await local.probe(replica(local, "catalog-1"), "/healthz", timeout=1)

    await local.restart(replica(local, "catalog-1"), expected_pid=None)

    assert refused.error == "refused"
    assert await answers_within(local, "catalog-1")


async def test_a_program_that_still_ends_at_once_is_reported(local: LocalInfrastructure) -> None:
    with pytest.raises(Unavailable, match="broken-1 was started and ended at once"):
        await local.restart(replica(local, "broken-1"), expected_pid=None)


async def test_of_the_academys_own_only_web_and_agents_may_be_restarted(
    local: LocalInfrastructure,
) -> None:
    with pytest.raises(Forbidden, match="only the web replicas and the agents worker"):
        await local.restart(replica(local, "healer"), expected_pid=None)
    pid = await running_pid(local, "web-1")
    assert await local.restart(replica(local, "web-1"), expected_pid=pid) != pid


async def test_a_replica_outside_the_fleet_is_not_restarted(local: LocalInfrastructure) -> None:
    stranger = ReplicaSpec(service="catalog", name="x", program="cat-9", url=None)
    with pytest.raises(NotFound, match="no replica `x`"):
        await local.restart(stranger, expected_pid=None)
    with pytest.raises(NotFound, match="knows no program `absent-1`"):
        await local.restart(replica(local, "absent-1"), expected_pid=None)


async def test_a_supervisor_that_is_gone_is_said_in_a_sentence(
    supervised: Supervised, tmp_path: Path
) -> None:
    home = supervised.home
    local = LocalInfrastructure(
        home / "fleet.toml", home, supervised.ports_file, tmp_path / "none.sock"
    )
    with pytest.raises(Unavailable, match="process supervisor can't be reached"):
        await local.processes()
    with pytest.raises(Unavailable, match="process supervisor can't be reached"):
        await local.restart(replica(local, "catalog-1"), expected_pid=None)


async def test_a_supervisor_that_never_answers_is_given_up_on(
    supervised: Supervised, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.sock"
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind("s.sock")
        deaf.listen()
        with pytest.raises(Unavailable, match="did not answer within"):
            Supervisor(Path("s.sock"), timeout=0.2).processes()
    assert path.exists()


def _serve_once(listener: socket.socket, answer: bytes, *, reset: bool) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(4096)
        if reset:
            connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
            )
        elif answer:
            connection.sendall(answer)


@pytest.mark.parametrize(
    ("answer", "reset", "expected"),
    [
        (b"", True, (False, None, "reset")),
        (b"", False, (False, None, "reset")),
        (b"HTTP/1.1 503 Down\r\ncontent-length: 4\r\n\r\ndown", False, (False, 503, "")),
        (b"HTTP/1.1 302 Go\r\nlocation: http://127.0.0.1:1/\r\n\r\n", False, (False, 302, "")),
        (b"nonsense\r\n\r\n", False, (False, None, "broken answer")),
    ],
)
async def test_what_a_probe_meets_is_named(
    local: LocalInfrastructure,
    answer: bytes,
    expected: tuple[bool, int | None, str],
    *,
    reset: bool,
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        thread = threading.Thread(
            target=_serve_once, args=(listener, answer), kwargs={"reset": reset}
        )
        thread.start()
        spec = ReplicaSpec("x", "x-1", "x-1", f"http://127.0.0.1:{listener.getsockname()[1]}")
        result = await local.probe(spec, "/", timeout=2)
        thread.join()

    ok, status, error = expected
    assert (result.ok, result.status) == (ok, status)
    assert result.error.startswith(error)
    assert bool(result.error) == bool(error)


async def test_a_probe_reads_only_the_beginning_of_an_endless_answer(
    local: LocalInfrastructure,
) -> None:
    body = b"HTTP/1.1 200 OK\r\ncontent-length: 10000000\r\n\r\n" + b"\xc3\xa9" * 50_000
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        thread = threading.Thread(target=_ignore_hang_up, args=(listener, body))
        thread.start()
        spec = ReplicaSpec("x", "x-1", "x-1", f"http://127.0.0.1:{listener.getsockname()[1]}")
        result = await local.probe(spec, "/", timeout=2)
        thread.join()

    assert result.ok
    assert result.body == "é" * 2000


def _ignore_hang_up(listener: socket.socket, answer: bytes) -> None:
    try:
        _serve_once(listener, answer, reset=False)
    except OSError:
        return


async def test_a_probe_of_nowhere_never_raises(local: LocalInfrastructure) -> None:
    for url in (None, "http://127.0.0.1:1", "http://[", "http://nowhere.invalid"):
        result = await local.probe(ReplicaSpec("x", "x-1", "x-1", url), "/", timeout=2)
        assert not result.ok
        assert result.error


async def test_the_disk_is_told_against_the_declared_limit(
    local: LocalInfrastructure, supervised: Supervised
) -> None:
    folder = supervised.home / "data" / "catalog"
    empty = await local.disk(folder)
    (folder / "exports" / "x").write_bytes(bytes(600_000))
    (folder / "exports" / "link").symlink_to("/etc")

    half = await local.disk(folder)
    elsewhere = await local.disk(supervised.home)

    assert (empty.limited, empty.total_bytes, empty.free_bytes) == (True, 2**20, 2**20)
    assert half.free_bytes == 2**20 - folder_bytes(folder)
    assert 400_000 < half.free_bytes < 460_000
    assert not elsewhere.limited
    assert elsewhere.total_bytes > 2**20
    with pytest.raises(Unavailable, match="can't be read"):
        await local.disk(supervised.home / "none")


async def test_the_end_of_a_log_is_read_without_the_rest(
    local: LocalInfrastructure, supervised: Supervised
) -> None:
    log = supervised.home / "logs" / "web-9.log"
    spec = ReplicaSpec("web", "web-9", "web-9", None)
    with pytest.raises(Unavailable, match="no log at"):
        await local.tail_log(spec, lines=3)
    log.write_bytes(b"x" * 1_000_000 + b"\none\ntwo \xff\nthree\n")

    assert list(await local.tail_log(spec, lines=2)) == ["two \ufffd", "three"]
    assert list(await local.tail_log(spec, lines=50)) == ["one", "two \ufffd", "three"]
    assert list(await local.tail_log(spec, lines=0)) == []


async def test_a_corrupt_edit_keeps_the_last_good_fleet_and_says_so(tmp_path: Path) -> None:
    path, ports = tmp_path / "fleet.toml", tmp_path / "ports.json"
    local = LocalInfrastructure(path, tmp_path, ports, tmp_path / "s.sock")
    first = local.fleet()
    assert "does not exist" in first.problems[0]
    assert "no fleet is watched" in first.problems[0]
    assert first.replica("healer") is not None

    path.write_text(FLEET)
    good = local.fleet()
    assert good.problems == ()
    assert good.replica("catalog-2") is not None
    assert local.fleet() is good

    path.write_text(FLEET + "[[service]]\n")
    kept = local.fleet()
    assert kept.services == good.services
    assert "the last good one is used" in kept.problems[0]

    path.write_text(FLEET)
    ports.write_text('{"catalog-1": 1234}')
    updated = local.fleet()
    assert updated.problems == ()
    assert replica(local, "catalog-1").url == "http://127.0.0.1:1234"

    ports.write_text('{"catalog-1": "1234"}')
    assert "ports from 1 to 65535" in local.fleet().problems[0]
    ports.unlink()
    assert local.fleet().problems == ()


def test_reading_ports_refuses_what_is_not_a_mapping(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text("[")
    with pytest.raises(Invalid, match="can't be read"):
        read_ports(tmp_path / "ports.json")
