"""What is made of what supervisord answers, and of half an answer."""

import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.supervised import STUBBORN, Supervised, python
from tools.adapters.supervisor import ProgramState, Supervisor
from tools.kit.errors import Conflict, Unavailable


@pytest.mark.parametrize(
    ("ended", "says"),
    [
        ({"stopped": 0, "started": 0}, "not started"),
        ({"stopped": 0}, ""),
        ({"stopped": 1763910840}, "stopped at 2025-11-23 15:14:00 UTC, exit status 0"),
        (
            {"stopped": 1763910840, "exit_status": -1, "spawn_error": "Bad exit code -1"},
            "stopped at 2025-11-23 15:14:00 UTC, by a signal",
        ),
        ({"stopped": 5, "spawn_error": "Exited too quickly"}, "Exited too quickly"),
    ],
)
def test_how_a_program_ended_is_told_with_its_time_in_utc(ended: dict[str, Any], says: str) -> None:
    known: dict[str, Any] = {"started": 1763910000, "exit_status": 0, "spawn_error": "", **ended}
    assert ProgramState(name="a", state="STOPPED", pid=None, **known).ending == says


@pytest.mark.parametrize("answer", ["", "<?xml version='1.0'?><methodResponse><params>", "[]"])
def test_half_an_answer_of_a_dying_supervisord_counts_as_unreachable(
    tmp_path: Path, answer: str
) -> None:
    path = tmp_path / "supervisor.sock"
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
        door.listen()

        def serve() -> None:
            caller, _ = door.accept()
            with caller:
                asked = b""
                while b"</methodCall>" not in asked:
                    asked += caller.recv(65536)
                caller.sendall(f"HTTP/1.0 200 OK\r\n\r\n{answer}".encode())

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(Unavailable, match="can't be reached"):
            Supervisor(path).processes()
        thread.join()


def test_a_program_that_is_still_ending_is_not_said_to_be_started(tmp_path: Path) -> None:
    supervised = Supervised(
        tmp_path,
        {
            "stubborn": python(
                f"{STUBBORN.replace('time.sleep', 'print(1, flush=True); time.sleep')}"
            )
        },
        options={"stubborn": "stopwaitsecs=3"},
    ).start()
    try:
        log = tmp_path / "logs" / "stubborn.log"
        while not log.exists() or not log.read_text():
            time.sleep(0.05)
        supervised.supervisor.stop("stubborn")
        with pytest.raises(Conflict, match="still ending"):
            supervised.supervisor.start("stubborn")
        supervised.wait_for("stubborn", "STOPPED")
        assert supervised.supervisor.start("stubborn")
    finally:
        supervised.stop()
