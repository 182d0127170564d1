"""A real supervisord in a temporary home, with whatever programs a test names."""

import ctypes
import json
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.adapters.supervisor import Supervisor
from tools.kit.errors import Unavailable

ANSWERS = "from http.server import *; import sys; \
HTTPServer(('127.0.0.1', int(sys.argv[1])), type('H', (BaseHTTPRequestHandler,), \
{'do_GET': lambda s: (s.send_response(200), s.end_headers(), s.wfile.write(b'fine'))})\
).serve_forever()"
"""A program that answers every GET."""
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
BROKEN = "raise SystemExit('it ends at once')"


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Supervised:
    """One supervisord and its programs; `stop` ends all of them."""

    def __init__(
        self,
        home: Path,
        programs: Mapping[str, Sequence[str]],
        *,
        sockets: Path | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.home = home
        self.sockets = sockets or Path(tempfile.mkdtemp(prefix="academy-test-"))
        self.socket = self.sockets / "supervisor.sock"
        self.ports_file = home / "run" / "ports.json"
        self.supervisor = Supervisor(self.socket)
        for folder in (home / "run", home / "logs", self.sockets):
            folder.mkdir(parents=True, exist_ok=True)
        self._settings = home / "run" / "supervisord.conf"
        self._settings.write_text(self._configuration(programs, options or {}))
        self._process: subprocess.Popen[bytes] | None = None

    def write_ports(self, ports: Mapping[str, int]) -> None:
        self.ports_file.write_text(json.dumps(ports))

    def start(self) -> "Supervised":
        self._process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(self._settings)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_die_with_parent,
        )
        deadline = time.monotonic() + 15
        while True:
            try:
                self.supervisor.processes()
                return self
            except Unavailable:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.05)

    def wait_for(self, name: str, *states: str, seconds: float = 15) -> int | None:
        """Wait until the program is in one of *states*; its pid."""
        deadline = time.monotonic() + seconds
        while (now := self.supervisor.process(name)).state not in states:
            assert time.monotonic() < deadline, f"{name} is {now.state}, not {states}"
            time.sleep(0.05)
        return now.pid

    def kill(self) -> None:
        """Take supervisord away; its programs go on, as after a crash."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(timeout=40)
        shutil.rmtree(self.sockets, ignore_errors=True)

    def _configuration(
        self, programs: Mapping[str, Sequence[str]], options: Mapping[str, str]
    ) -> str:
        logs = self.home / "logs"
        parts = [
            f"[supervisord]\nlogfile={logs}/supervisord.log\npidfile={self.home}/run/s.pid\n"
            f"[unix_http_server]\nfile={self.socket}\n"
            "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = "
            "supervisor.rpcinterface:make_main_rpcinterface\n[supervisorctl]\n"
        ]
        for name, argv in programs.items():
            command = shlex.join(argv).replace("%", "%%")
            parts.append(
                f"[program:{name}]\ncommand={command}\nredirect_stderr=true\n"
                f"stdout_logfile={logs}/{name}.log\nautorestart=true\nstartretries=1\n"
                f"{options.get(name, '')}\n"
            )
        return "".join(parts)


def python(code: str, *arguments: object) -> list[str]:
    """The command line of a program given as code."""
    return [sys.executable, "-c", code, *map(str, arguments)]


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
