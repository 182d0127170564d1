"""Whole academies on real processes: started, refused, killed at every joint, none left over."""

import json
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.exits import Exit
from tests.fakes.academy import StartedAcademy

pytestmark = pytest.mark.timeout(400)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def academy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartedAcademy]:
    """One home, with a space in its path, that the tests of this file start and break in turn."""
    found = StartedAcademy(tmp_path_factory.mktemp("launcher") / "a home", free_port())
    yield found
    found.clear()
    shutil.rmtree((found.home.path / "postgres").resolve(), ignore_errors=True)


@pytest.fixture
def serving(academy: StartedAcademy) -> StartedAcademy:
    """The academy of this file, running."""
    if academy.launcher is None or academy.launcher.poll() is not None:
        academy.up()
        academy.serving()
    return academy


def test_a_start_ends_with_an_answering_page_and_a_link_that_signs_in_once(
    serving: StartedAcademy,
) -> None:
    said = serving.said

    assert serving.page == 200
    assert f"http://127.0.0.1:{serving.port}/signin/" in said
    assert "Ctrl-C" in said
    assert serving.launcher is not None
    assert serving.announced_pid() == serving.launcher.pid


def test_a_second_start_on_the_same_home_is_refused_and_harms_nothing(
    serving: StartedAcademy,
) -> None:
    before = serving.programs["web-1"].pid
    second = serving.run("up", "--bare")

    assert second.returncode == Exit.ALREADY_RUNNING
    assert f"127.0.0.1:{serving.port}" in second.stderr
    assert serving.programs["web-1"].pid == before


def test_another_home_on_the_same_port_is_refused_with_a_free_one_named(
    serving: StartedAcademy, tmp_path: Path
) -> None:
    other = StartedAcademy(tmp_path / "other", serving.port)
    other.up()

    assert other.exit_code() == Exit.PORT_TAKEN
    assert "is free" in other.said
    assert other.processes == []


def test_a_killed_supervisord_takes_its_programs_along_and_all_come_back(
    serving: StartedAcademy,
) -> None:
    serving.until("all runs", lambda: all(state.pid for state in serving.programs.values()))
    before = {name: state.pid for name, state in serving.programs.items()}
    os.kill(serving.supervisor_pid, signal.SIGKILL)
    serving.until(
        "every program runs anew",
        lambda: (
            (now := serving.programs).keys() == before.keys()
            and all(now[name].pid not in (None, pid) for name, pid in before.items())
        ),
    )
    serving.until("the page is back", lambda: serving.page == 200)

    assert "starting everything anew" in serving.said


def test_nothing_outlives_a_killed_launcher(serving: StartedAcademy) -> None:
    serving.kill_launcher()
    serving.until("everything is gone", lambda: not serving.processes)


def test_a_start_ends_what_a_dead_launcher_left(serving: StartedAcademy) -> None:
    # A frozen supervisord can't follow its launcher: it and its programs are left.
    os.kill(serving.supervisor_pid, signal.SIGSTOP)
    serving.kill_launcher()
    assert serving.processes
    serving.up()
    serving.serving()

    assert "Ended" in serving.said
    assert serving.page == 200


def test_down_stops_a_running_academy_completely(serving: StartedAcademy) -> None:
    down = serving.run("down")

    assert down.returncode == Exit.OK
    assert "is stopped" in down.stdout
    assert serving.exit_code() == 0
    assert serving.processes == []


def test_down_ends_what_a_dead_launcher_left(serving: StartedAcademy) -> None:
    os.kill(serving.supervisor_pid, signal.SIGSTOP)
    serving.kill_launcher()
    down = serving.run("down", "--json")

    assert down.returncode == Exit.OK
    assert '"was_running": false' in down.stdout
    assert serving.processes == []


def test_ctrl_c_stops_everything_a_frozen_program_included(serving: StartedAcademy) -> None:
    serving.until("web-2 runs", lambda: serving.programs["web-2"].pid)
    os.kill(serving.programs["web-2"].pid or 0, signal.SIGSTOP)

    assert serving.ask_to_stop() == 0
    assert "Everything stopped" in serving.said
    assert serving.processes == []
    assert not (serving.home.run / "academy.json").exists()


def test_a_supervisord_killed_during_the_start_only_delays_it_and_programs_can_follow_along(
    academy: StartedAcademy,
) -> None:
    academy.up("--json")
    academy.until(
        "the database starts",
        lambda: (found := academy.programs.get("postgres")) is not None and found.pid,
    )
    killed = academy.supervisor_pid
    os.kill(killed, signal.SIGKILL)
    academy.until("it serves", lambda: '"event": "serving"' in academy.said)
    academy.until("all runs", lambda: all(one.pid for one in academy.programs.values()))

    # Standard error, in the same file here, may hold warnings of Python's own.
    events = [json.loads(line) for line in academy.said.splitlines() if line.startswith("{")]
    serving = next(one for one in events if one["event"] == "serving")
    assert serving["url"] == f"http://127.0.0.1:{academy.port}"
    assert serving["link"].startswith(f"{serving['url']}/signin/")
    assert {"phase", "note"} <= {one["event"] for one in events}
    assert academy.page == 200
    assert academy.supervisor_pid != killed
    assert academy.ask_to_stop() == 0
    assert academy.processes == []


def test_ctrl_c_while_it_starts_leaves_nothing(academy: StartedAcademy) -> None:
    academy.up()
    academy.until("supervisord runs", lambda: academy.programs)

    assert academy.ask_to_stop() == 0
    assert academy.processes == []


def test_a_killed_launcher_leaves_nothing_while_it_starts_either(academy: StartedAcademy) -> None:
    academy.up()
    academy.until("supervisord runs", lambda: academy.programs)
    academy.kill_launcher()
    academy.until("everything is gone", lambda: not academy.processes)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://u@h/d", "only PostgreSQL"),
        ("nonsense", "postgresql://user:password@host:port/database"),
        ("postgresql://u:p@127.0.0.1:1/d", "127.0.0.1"),
    ],
)
def test_a_wrong_database_url_is_refused_with_the_right_form(
    tmp_path: Path, url: str, says: str
) -> None:
    academy = StartedAcademy(tmp_path / "home", free_port())
    academy.up(environment={"ACADEMY_DATABASE_URL": url})

    assert academy.exit_code() == Exit.DATABASE_UNREACHABLE
    assert says in academy.said
    assert "ACADEMY_DATABASE_URL" in academy.said
    assert ":p@" not in academy.said
    assert academy.processes == []


def test_a_setting_out_of_range_is_named(tmp_path: Path) -> None:
    academy = StartedAcademy(tmp_path / "home", free_port())
    academy.up(environment={"ACADEMY_PROBE_SECONDS": "99"})

    assert academy.exit_code() == Exit.SETTING_INVALID
    assert "ACADEMY_PROBE_SECONDS" in academy.said
