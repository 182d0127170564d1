"""Whose a process is, how it is ended, and that none outlives its parent."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from graphs.settings import Home
from server.processes import preflight
from server.processes.belonging import (
    MARKER,
    Identity,
    end,
    identify,
    instance,
    leftovers,
    write_record,
)
from server.processes.programs import guarded

SLEEP = "import time; time.sleep(60)"


def until(what: str, look: object, seconds: float = 20.0) -> None:
    """Poll *look* until it answers something true."""
    assert callable(look)
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@contextlib.contextmanager
def running(*words: str, **environment_: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process with some variables in its environment, ended afterwards."""
    process = subprocess.Popen(
        [sys.executable, *words], env={**os.environ, **environment_}, stdout=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with the folders the launcher makes; its path has a space."""
    found = Home(tmp_path / "a home")
    preflight.make_folders(found)
    return found


class TestBelonging:
    def test_a_marked_process_belongs_to_its_home_and_to_no_other(self, home: Home) -> None:
        with running("-c", SLEEP, **{MARKER: instance(home.path)}) as process:
            until("it carries its mark", lambda: leftovers(home.path, home.run / "none.json"))
            found = leftovers(home.path, home.run / "none.json")
            other = leftovers(home.path.parent / "other", home.run / "none.json")

        assert [each.pid for each in found] == [process.pid]
        assert other == []

    def test_a_recorded_process_is_told_by_pid_and_start_time(self, home: Home) -> None:
        record = home.run / "processes.json"
        with running("-c", SLEEP) as process:
            write_record(record, [process.pid])
            found = leftovers(home.path, record)
            body = json.loads(record.read_text())
            body["processes"][0][1] -= 1
            record.write_text(json.dumps(body))
            reused = leftovers(home.path, record)

        assert [each.pid for each in found] == [process.pid]
        assert reused == []

    def test_a_record_of_another_boot_or_half_a_record_names_nobody(self, home: Home) -> None:
        record = home.run / "processes.json"
        with running("-c", SLEEP) as process:
            write_record(record, [process.pid])
            record.write_text(record.read_text().replace('"boot": "', '"boot": "not-'))
            assert leftovers(home.path, record) == []
            record.write_text('{"boot": ')
            assert leftovers(home.path, record) == []

    def test_the_asking_process_and_its_ancestors_are_spared(self, home: Home) -> None:
        code = (
            "from pathlib import Path; from server.processes.belonging import leftovers;"
            f"print(leftovers(Path({str(home.path)!r}), Path('none')))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, MARKER: instance(home.path)},
            capture_output=True,
            text=True,
            check=True,
        )

        assert done.stdout.strip() == "[]"

    def test_a_process_that_ignores_the_signal_is_killed_after_the_grace(self, home: Home) -> None:
        deaf = "import signal,time; signal.signal(15, signal.SIG_IGN); print('up', flush=True);"
        with running("-c", deaf + "time.sleep(60)") as process:
            assert process.stdout is not None
            process.stdout.readline()
            found = identify(process.pid)
            assert found is not None
            end([found], grace=0.2)
            assert process.wait(5) == -signal.SIGKILL

    def test_a_frozen_process_is_continued_so_that_it_sees_the_signal(self) -> None:
        with running("-c", SLEEP) as process:
            found = identify(process.pid)
            assert found is not None
            process.send_signal(signal.SIGSTOP)
            end([found], grace=10)
            assert process.wait(5) == -signal.SIGTERM

    def test_a_signal_never_reaches_a_process_that_took_over_the_pid(self) -> None:
        with running("-c", SLEEP) as process:
            found = identify(process.pid)
            assert found is not None
            Identity(found.pid, found.started - 1).send(signal.SIGKILL)
            assert Identity(found.pid, found.started - 1).wait(0) is True
            assert found.lives()


class TestGuard:
    def test_a_guarded_program_gets_its_signal_when_its_parent_is_killed(self) -> None:
        child = guarded("KILL", [sys.executable, "-c", "print('up', flush=True);" + SLEEP])
        parent = (
            f"import subprocess; p = subprocess.Popen({child!r});"
            " print(p.pid, flush=True); p.wait()"
        )
        with running("-c", parent) as process:
            assert process.stdout is not None
            lines = sorted(process.stdout.readline() for _ in range(2))
            found = identify(int(lines[0]))
            assert found is not None
            process.kill()
            assert found.wait(10)

    def test_a_guard_whose_parent_is_gone_already_starts_nothing(self) -> None:
        done = subprocess.run(
            guarded("KILL", ["/bin/echo", "started"]),
            env={"ACADEMY_PARENT_PID": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.returncode == 75
        assert done.stdout == ""

    def test_a_program_that_is_missing_is_named(self) -> None:
        done = subprocess.run(
            guarded("KILL", ["/no/such/program"]), capture_output=True, text=True, check=False
        )

        assert done.returncode == 127
        assert "/no/such/program" in done.stderr
