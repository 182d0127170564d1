"""The command line of one home, before an academy that answers what a test lays down."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from graphs.settings import Home
from server import cli
from server.exits import Refusal
from server.processes import preflight
from server.processes.hold import Hold
from tests.fakes.api import FakeApi


@dataclass
class Ran:
    """What one command came to."""

    code: int
    out: str
    error: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Line:
    """The command line of one home, and the academy that answers it."""

    api: FakeApi
    home: Home

    def run(self, *words: str, typed: str = "") -> Ran:
        group = words[0]
        result = CliRunner().invoke(
            cli.app, [*words, "--home", str(self.home.path)], input=typed, prog_name="academy"
        )
        assert group in cli.COMMANDS
        if isinstance(result.exception, Refusal):
            return Ran(result.exception.code, result.stdout, result.exception.message)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)


@contextmanager
def answered_line(home: Path) -> Iterator[Line]:
    """The command line of *home*, whose academy is a fake API."""
    place = Home(home)
    preflight.make_folders(place)
    (place.keys / "cli.key").write_text("dak_test")
    api = FakeApi().start()
    hold = Hold(place)
    hold.announce(api.url, 1, bare=True, model="embedded")
    yield Line(api, place)
    hold.release()
    api.stop()
