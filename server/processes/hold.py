"""One launcher per home: who holds it, and where the running academy is to be found."""

import contextlib
import fcntl
import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from graphs.settings import Home
from server.exits import Exit, Refusal
from server.processes.belonging import Identity, identify


@dataclass(frozen=True)
class Announcement:
    """`run/academy.json`: what others need to know of the running academy."""

    url: str
    port: int
    pid: int
    started_at: str
    bare: bool
    model: str
    """`embedded`, or the name of the configured model."""


class Hold:
    """The launcher's claim on a home: a file lock, which the kernel drops when the launcher dies.

    The file names the launcher by pid and start time, so that `academy down` finds it.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._file = os.open(lock_file(home), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise Refusal(Exit.ALREADY_RUNNING, _running(home)) from None
        own = identify(os.getpid())
        assert own is not None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps([own.pid, own.started]).encode(), 0)

    def announce(self, url: str, port: int, *, bare: bool, model: str) -> None:
        """Write `run/academy.json`."""
        body = Announcement(
            url=url,
            port=port,
            pid=os.getpid(),
            started_at=datetime.now(UTC).isoformat(),
            bare=bare,
            model=model,
        )
        beside = self._home.run / "academy.new"
        beside.write_text(json.dumps(asdict(body)))
        beside.replace(self._home.run / "academy.json")

    def release(self) -> None:
        """Withdraw the announcement and let the home go."""
        (self._home.run / "academy.json").unlink(missing_ok=True)
        os.ftruncate(self._file, 0)
        os.close(self._file)


def lock_file(home: Home) -> Path:
    """The file whose lock the launcher holds."""
    return home.run / "launcher.lock"


def holder(home: Home) -> Identity | None:
    """The launcher that runs on *home*, if one does."""
    try:
        file = os.open(lock_file(home), os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        with contextlib.suppress(ValueError, TypeError):
            pid, started = json.loads(os.pread(file, 200, 0))
            return Identity(pid, started)
        return None
    finally:
        os.close(file)
    return None


def announcement(home: Home) -> Announcement | None:
    """What the running academy announced; None when none runs or it hasn't got that far."""
    if holder(home) is None:
        return None
    try:
        return Announcement(**json.loads((home.run / "academy.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _running(home: Home) -> str:
    found = announcement(home)
    where = f"at {found.url} (launcher {found.pid}, since {found.started_at[:19]})" if found else ""
    return (
        f"An academy already runs on {home.path} {where}".rstrip()
        + ". `academy signin` prints a sign-in link, `academy down` stops it; for a second one"
        " beside it: `academy up --home FOLDER --port PORT`."
    )
