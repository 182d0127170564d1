"""A whole academy started by the command line, as a person starts it, for tests that break it."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from graphs.settings import Home
from server.processes.belonging import Identity, leftovers
from server.processes.programs import EVALUATIONS
from tools.adapters.supervisor import ProgramState, Supervisor
from tools.kit.errors import CapabilityError

WITHIN = 120.0


class StartedAcademy:
    """`academy up --bare` on *home*; every wait has a deadline."""

    def __init__(self, home: Path, port: int) -> None:
        self.home = Home(home)
        self.port = port
        self.output = home.parent / f"{home.name}.out"
        self.launcher: subprocess.Popen[bytes] | None = None

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-P", "-m", "server.cli", *words, "--home", str(self.home.path)]

    def up(self, *words: str, environment: dict[str, str] | None = None) -> None:
        """Start it in the background, without waiting."""
        with self.output.open("wb") as output:
            self.launcher = subprocess.Popen(
                self.command("up", "--bare", "--port", str(self.port), *words),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    def serving(self) -> None:
        """Wait until it says that it is up."""
        self.until("it is up", lambda: "  Stop " in self.said)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One command of `academy` on this home."""
        return subprocess.run(
            self.command(*words), capture_output=True, text=True, check=False, timeout=WITHIN
        )

    @property
    def said(self) -> str:
        return self.output.read_text(errors="replace")

    @property
    def processes(self) -> list[Identity]:
        return leftovers(self.home.path, self.home.run / "processes.json")

    @property
    def programs(self) -> dict[str, ProgramState]:
        """Those that run as long as the academy does."""
        try:
            found = Supervisor(self.home.supervisor_socket).processes()
        except CapabilityError:
            return {}
        return {name: state for name, state in found.items() if name != EVALUATIONS}

    @property
    def supervisor_pid(self) -> int:
        return int((self.home.run / "supervisord.pid").read_text())

    @property
    def page(self) -> int | None:
        """Status of the public port's `/readyz`."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=3) as found:
                return int(found.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def exit_code(self) -> int:
        """Wait for the launcher's end."""
        assert self.launcher is not None
        return self.launcher.wait(WITHIN)

    def ask_to_stop(self, number: signal.Signals = signal.SIGINT) -> int:
        assert self.launcher is not None
        self.launcher.send_signal(number)
        return self.exit_code()

    def kill_launcher(self) -> None:
        assert self.launcher is not None
        self.launcher.kill()
        self.launcher.wait(WITHIN)

    def announced_pid(self) -> int:
        return int(json.loads((self.home.run / "academy.json").read_text())["pid"])

    def until(self, what: str, look: object) -> None:
        """Poll *look* until it answers something true, or the launcher ends unexpectedly."""
        assert callable(look)
        deadline = time.monotonic() + WITHIN
        while not look():
            assert time.monotonic() < deadline, f"{what} did not happen; it said: {self.said}"
            time.sleep(0.05)

    def clear(self) -> None:
        """End whatever is left, whatever happened."""
        if self.launcher is not None and self.launcher.poll() is None:
            self.launcher.kill()
            self.launcher.wait(WITHIN)
        for process in self.processes:
            process.send(signal.SIGKILL)
