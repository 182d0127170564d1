"""`academy autonomy freeze` where no academy or no database answers."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from memory.audit_heads import new_key_pair
from server import cli
from server.exits import Exit

RESTART = "healing.restart_replica"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose academy isn't running."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "standing.key").write_bytes(new_key_pair()[0])
    (tmp_path / "standing").mkdir()
    (tmp_path / "standing" / "per-torn.json").write_text("{")
    return tmp_path


def test_it_freezes_on_this_machine_and_says_what_it_did(home: Path) -> None:
    words = ["autonomy", "freeze", RESTART, "--reason", "exams", "--home", str(home)]
    told = CliRunner().invoke(cli.app, words)
    assert "is frozen on this machine: 1 standing permits are removed" in told.stdout
    assert sorted(path.name for path in (home / "standing").glob("*.json")) == [
        f"freeze-{RESTART}.json"
    ]
    again = json.loads(CliRunner().invoke(cli.app, [*words, "--json"]).stdout)
    assert again == {"operation": RESTART, "state": "frozen here", "removed": 0, "new": False}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["freeze", "healing.dance", "--reason", "exams"], Exit.NOT_FOUND),
        (["freeze", "*", "--reason", " "], Exit.INVALID),
        (["thaw", "*"], Exit.NOT_RUNNING),
    ],
)
def test_what_it_refuses_changes_nothing(home: Path, words: list[str], code: Exit) -> None:
    result = CliRunner().invoke(cli.app, ["autonomy", *words, "--home", str(home)])
    assert getattr(result.exception, "code", result.exit_code) == code
    assert [path.name for path in (home / "standing").iterdir()] == ["per-torn.json"]
