"""`academy approvals release`: what a person found at a stuck action's target."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from graphs.settings import Home
from server import cli
from server.exits import Exit, Refusal
from server.processes import preflight
from server.processes.hold import Hold
from tests.fakes.api import Answer, FakeApi

RELEASED = {"id": "act-1", "state": "escalated", "target": "catalog/catalog-1"}
PATH = "POST /api/actions/act-1/release"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home whose academy is announced by `api`."""
    made = Home(tmp_path / "home")
    preflight.make_folders(made)
    (made.keys / "cli.key").write_text("dak_test")
    return made


@pytest.fixture
def api(home: Home) -> Iterator[FakeApi]:
    """The academy of `home`."""
    started = FakeApi().start()
    hold = Hold(home)
    hold.announce(started.url, 1, bare=True, model="embedded")
    yield started
    hold.release()
    started.stop()


def run(home: Home, *words: str) -> Result:
    command = ["approvals", "release", *words, "--home", str(home.path)]
    return CliRunner().invoke(cli.app, command, prog_name="academy")


def test_a_stuck_action_is_released_with_what_was_found(api: FakeApi, home: Home) -> None:
    api.lay(PATH, Answer(RELEASED))
    ran = run(home, "act-1", "--found", "not-done", "--note", "The old process runs.")

    assert ran.exit_code == Exit.OK
    assert "act-1 is escalated; catalog/catalog-1 is free again." in ran.stdout
    assert api.asked[-1].body == {"found": "not-done", "note": "The old process runs."}


def test_what_is_not_stuck_is_a_conflict_told_in_words(api: FakeApi, home: Home) -> None:
    api.lay(PATH, Answer({"detail": "act-1 is verified, not stuck."}, 409))
    ran = run(home, "act-1", "--found", "done")

    assert isinstance(ran.exception, Refusal)
    assert ran.exception.code == Exit.CONFLICT
    assert "act-1 is verified, not stuck." in ran.exception.message


@pytest.mark.parametrize("words", [("act-1",), ("act-1", "--found", "perhaps")])
def test_it_is_never_guessed_what_was_found(
    api: FakeApi, home: Home, words: tuple[str, ...]
) -> None:
    assert run(home, *words).exit_code == Exit.USAGE
    assert api.asked == []
