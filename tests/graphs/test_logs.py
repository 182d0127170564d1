"""What a process writes on its standard output."""

import json
import subprocess
import sys

PROGRAM = """
import logging, structlog
from graphs.logs import configure_logging
configure_logging()
def work():
    password = "hunter2-" + "in-a-frame"
    raise ValueError("it broke")
try:
    work()
except ValueError:
    structlog.get_logger("academy").exception("turn.broke", run="run-1")
    logging.getLogger("library").warning("pool is %s", "full", exc_info=True)
logging.getLogger("library").info("chatter")
"""


def test_every_line_is_json_and_no_traceback_shows_a_frames_variables() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )

    ours, theirs = [json.loads(line) for line in done.stdout.splitlines()]
    assert (ours["event"], ours["run"], ours["level"]) == ("turn.broke", "run-1", "error")
    assert "ValueError: it broke" in ours["exception"]
    assert (theirs["event"], theirs["level"]) == ("pool is full", "warning")
    assert "hunter2-in" not in done.stdout
