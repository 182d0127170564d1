"""A whole academy of its own, started in a throw-away home, for benchmarks that break it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import psutil

from graphs.settings import Home
from tools.adapters.supervisor import Supervisor
from tools.kit.errors import CapabilityError

T = TypeVar("T")
READY_WITHIN = 90.0
STOPPED_WITHIN = 45.0


class NeverHappened(AssertionError):
    """Something awaited did not happen in its time."""


def wait_for(what: str, look: Callable[[], T | None], *, within: float, every: float = 0.1) -> T:
    """The first truthy answer of *look*, asked every *every* seconds for at most *within* seconds.

    Raises:
        NeverHappened: it stayed falsy; the message names *what*.
    """
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(every)
    raise NeverHappened(f"{what} did not happen within {within:.0f} s")


def free_port() -> int:
    """A loopback port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class AcademyUnderTest:
    """`academy up` in *home*, driven over its API with the command line's own key."""

    def __init__(self, home: Path, *, port: int | None = None, bare: bool = False) -> None:
        self.home = home
        self.port = port or free_port()
        self.bare = bare
        self.launcher: subprocess.Popen[bytes] | None = None
        self.output = home.parent / f"{home.name}.out"

    @property
    def url(self) -> str:
        """Base URL of its public door."""
        return f"http://127.0.0.1:{self.port}"

    def command(self, *words: str) -> list[str]:
        """The `academy` command line for this home."""
        return [sys.executable, "-m", "server.cli", *words, "--home", str(self.home)]

    def up(self) -> float:
        """Start it; answers the seconds until the fleet answered."""
        words = ["up", "--port", str(self.port), *(["--bare"] if self.bare else [])]
        began = time.monotonic()
        with self.output.open("ab") as out:
            self.launcher = subprocess.Popen(
                self.command(*words), stdout=out, stderr=out, stdin=subprocess.DEVNULL
            )
        wait_for("the fleet answering", self.answers, within=READY_WITHIN)
        return time.monotonic() - began

    def answers(self) -> bool:
        """Whether the public door serves the fleet from the database."""
        if self.launcher is not None and self.launcher.poll() is not None:
            raise NeverHappened(
                f"the launcher ended with {self.launcher.returncode}: {self.tail()}"
            )
        with contextlib.suppress(httpx2.HTTPError, FileNotFoundError):
            self.call("GET", "/api/fleet")
            return True
        return False

    def tail(self) -> str:
        """The end of what the launcher printed."""
        return self.output.read_text(errors="replace")[-2000:] if self.output.exists() else ""

    def down(self) -> float:
        """Stop it as Ctrl-C would; answers the seconds it took."""
        assert self.launcher is not None
        began = time.monotonic()
        self.launcher.send_signal(signal.SIGINT)
        self.launcher.wait(STOPPED_WITHIN)
        return time.monotonic() - began

    def kill_launcher(self) -> None:
        """`kill -9` of the launcher, reaped so that nothing but its children could linger."""
        assert self.launcher is not None
        self.launcher.kill()
        self.launcher.wait(10)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one `academy` command against it."""
        return subprocess.run(
            self.command(*words), capture_output=True, text=True, timeout=60, check=False
        )

    def call(self, method: str, path: str, **body: Any) -> Any:
        """One API call; answers the decoded JSON.

        Raises:
            httpx2.HTTPStatusError: the API declined.
        """
        key = (self.home / "keys" / "cli.key").read_text().strip()
        answer = httpx2.request(
            method,
            f"{self.url}{path}",
            headers={"Authorization": f"Bearer {key}"},
            json=body or None,
            timeout=10.0,
        )
        answer.raise_for_status()
        return answer.json()

    def processes(self) -> Iterator[psutil.Process]:
        """Every living process that names this home in its command line or environment."""
        home = str(self.home)
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                    continue
                if any(home in word for word in process.cmdline()) or (
                    process.environ().get("ACADEMY_HOME") == home
                ):
                    yield process

    def supervisor(self) -> Supervisor:
        """The supervisord of this academy."""
        return Supervisor(Home(self.home.resolve()).supervisor_socket)

    def pid_of(self, program: str) -> int | None:
        """Pid of one supervised program; none while it doesn't run."""
        with contextlib.suppress(CapabilityError):
            state = self.supervisor().processes().get(program)
            return state.pid if state else None
        return None

    def memory_mb(self) -> dict[str, float]:
        """Proportional set size in MiB of the launcher and all that descends from it."""
        assert self.launcher is not None
        root = psutil.Process(self.launcher.pid)
        found: dict[str, float] = {}
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                name = " ".join(process.cmdline()[-6:])[:70]
                found[f"{process.pid} {name}"] = process.memory_full_info().pss / 2**20
        return found

    def saved(self, name: str) -> Any:
        """One of the files the running academy keeps about itself."""
        return json.loads((self.home / "run" / name).read_text())
