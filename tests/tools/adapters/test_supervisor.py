"""What is said of a program from what supervisord answers."""

from typing import Any

import pytest

from tools.adapters.supervisor import ProgramState


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
