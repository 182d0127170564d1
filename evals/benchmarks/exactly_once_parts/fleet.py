"""A small fleet under a real supervisord whose programs write down every start of theirs.

Its infrastructure is the product's own, with boundaries between the supervisor's stop and start.
"""

import ctypes
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

from evals.benchmarks.exactly_once_parts.fate import AFTER, BEFORE, Fate
from evals.worlds.book import Book
from memory.errors import StoreError
from tools.adapters.local import LocalInfrastructure
from tools.adapters.supervisor import Supervisor
from tools.kit.errors import Unavailable

SERVICE = "clerk"
START_SECONDS = 30.0
PR_SET_PDEATHSIG = 1
SOCKET_FILE = "supervisor.socket"
"""File of a world that says where its supervisord listens (a socket's path has to be short)."""

CLERK = """
import os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
with open(sys.argv[2], "a") as book:
    book.write(f"+ {os.getpid()}\\n")
class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"fine")
    def log_message(self, *given):
        pass
HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""
"""The program of a replica: it enters its start in its book, then answers every GET."""


class MortalSupervisor(Supervisor):
    """The supervisor's client with a boundary around each order it gives."""

    fate: Fate

    def start(self, name: str) -> bool:
        """As the product's, between two boundaries."""
        self.fate.reach(f"{BEFORE} start")
        started = super().start(name)
        self.fate.reach(f"{AFTER} start")
        return started

    def stop(self, name: str) -> bool:
        """As the product's, between two boundaries."""
        self.fate.reach(f"{BEFORE} stop")
        stopped = super().stop(name)
        self.fate.reach(f"{AFTER} stop")
        return stopped


class MortalInfrastructure(LocalInfrastructure):
    """The product's infrastructure over a mortal supervisor client."""

    def __init__(self, folder: Path, fate: Fate) -> None:
        at = Path((folder / SOCKET_FILE).read_text())
        super().__init__(folder / "fleet.toml", folder, folder / "ports.json", at)
        mortal = MortalSupervisor(at)
        object.__setattr__(mortal, "fate", fate)
        self._supervisor = mortal


def infrastructure_of(folder: Path, fate: Fate) -> LocalInfrastructure:
    """The fleet of the world in *folder*, as the processes that act on it see it."""
    return MortalInfrastructure(folder, fate)


class ClerkFleet:
    """The fleet of one world: *replicas* clerks, each with a book of its starts."""

    def __init__(self, folder: Path, replicas: int) -> None:
        self.folder = folder
        self.names = [f"{SERVICE}-{number}" for number in range(1, replicas + 1)]
        self.ports = {name: _free_port() for name in self.names}
        self._sockets = tempfile.TemporaryDirectory(prefix="academy-clerk-")
        at = Path(self._sockets.name) / "supervisor.sock"
        self.supervisor = Supervisor(at)
        (folder / SOCKET_FILE).write_text(str(at))
        (folder / "ports.json").write_text(json.dumps(self.ports))
        (folder / "fleet.toml").write_text(
            f'[fleet]\ntitle = "Clerks"\n[[service]]\nname = "{SERVICE}"\ntitle = "Clerks"\n'
            f'program = "clerk"\nreplicas = {replicas}\nhealth_path = "/"\n'
        )
        self._settings = folder / "supervisord.conf"
        self._settings.write_text(self._configuration(at))

    def book(self, name: str) -> Book:
        """Where a replica enters its starts."""
        return Book(self.folder, name)

    @contextmanager
    def running(self) -> Iterator["ClerkFleet"]:
        """Run supervisord and every clerk for the block.

        Raises:
            StoreError: they don't come up; the message says which.
        """
        log = self.folder / "supervisord.out"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(self._settings)],
                stdout=output,
                stderr=output,
                preexec_fn=_die_with_parent,
            )
        try:
            for name in self.names:
                self.make_ready(name)
            yield self
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(40)
            self._sockets.cleanup()

    def make_ready(self, name: str) -> int:
        """See that a clerk runs and answers, starting it where needed; its starts so far.

        Raises:
            StoreError: it doesn't answer in time.
        """
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                if self.supervisor.process(name).state in ("STOPPED", "EXITED", "FATAL"):
                    self.supervisor.start(name)
                url = f"http://127.0.0.1:{self.ports[name]}/"
                with urllib.request.urlopen(url, timeout=2):
                    return self.book(name).counts()[0]
            except (Unavailable, URLError, OSError):
                time.sleep(0.02)
        raise StoreError(f"{name} does not answer within {START_SECONDS:.0f} s.")

    def _configuration(self, at: Path) -> str:
        parts = [
            f"[supervisord]\nlogfile={self.folder}/supervisord.log\n"
            f"pidfile={self.folder}/supervisord.pid\n[unix_http_server]\nfile={at}\n"
            "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = "
            "supervisor.rpcinterface:make_main_rpcinterface\n"
        ]
        for name in self.names:
            self.book(name).open(helps=True)
            program = self.folder / "clerk.py"
            program.write_text(CLERK)
            argv = [sys.executable, "-E", "-S", str(program), str(self.ports[name])]
            command = shlex.join([*argv, str(self.book(name).path)]).replace("%", "%%")
            parts.append(
                f"[program:{name}]\ncommand={command}\nautorestart=false\nstartsecs=0\n"
                f"redirect_stderr=true\nstdout_logfile={self.folder}/{name}.log\n"
            )
        return "".join(parts)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    os.setpgid(0, 0)
