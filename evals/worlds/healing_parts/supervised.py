"""The fleet of one world: a real supervisord whose programs a trial picks and starts afresh.

supervisord knows every program a world may have from the start; a trial's fleet is a subset, named
in `fleet.toml`. Settings of the programs are those the academy gives its sample fleet.
"""

import contextlib
import ctypes
import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from evals.worlds.healing_parts.drawing import MOST_REPLICAS, NAMES, Drawn
from graphs.settings import Home
from tools.adapters.supervisor import Supervisor
from tools.kit.errors import CapabilityError, Unavailable

UP_SECONDS = 20.0
POLL = 0.03
PORTS = range(18_000, 31_000)
TURNED_OFF = ("STOPPED", "EXITED", "FATAL")
_LINE = re.compile(
    r"^(?P<at>[\d-]+ [\d:]+,\d+) \w+ (?:(?P<spawned>spawned): '(?P<a>[^']+)' with pid (?P<pid>\d+)"
    r"|(?P<ended>exited|stopped): (?P<b>\S+) \((?P<how>.*)\)"
    r"|(?P<gave>gave up): (?P<c>\S+) .*)$"
)


@dataclass(frozen=True)
class Event:
    """One thing supervisord's own log says of a program."""

    at: datetime
    program: str
    kind: str
    """`spawned`, `exited` (by itself), `stopped` (somebody told supervisord to), `gave up`."""
    text: str


class SupervisedFleet:
    """One world's supervisord and programs. Methods that wait block: call them in a thread."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.supervisor = Supervisor(home.supervisor_socket)
        self.programs = tuple(f"{n}-{i}" for n in NAMES for i in range(1, MOST_REPLICAS + 1))
        self.ports: dict[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def _log(self) -> Path:
        return self.home.logs / "supervisord.log"

    def start(self) -> None:
        """Start supervisord without waiting; `wait_until_up` waits.

        Call it in a thread that lives as long as the world: supervisord ends with that thread.
        """
        home = self.home
        for folder in (home.run / "traits", home.run / "orders", home.logs, home.sockets):
            folder.mkdir(parents=True, exist_ok=True)
        home.sockets.chmod(0o700)
        self.ports = dict(zip(self.programs, _free_ports(len(self.programs)), strict=True))
        settings = home.run / "supervisord.conf"
        settings.write_text(self._configuration(), encoding="utf-8")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(settings)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_die_with_parent,
        )

    def wait_until_up(self) -> None:
        """Wait until supervisord answers; nothing runs under it yet.

        Raises:
            Unavailable: it does not answer in time.
        """
        self._wait(self._answers, "supervisord to answer")

    def stop(self) -> None:
        """End supervisord and everything under it; safe to call twice."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(CapabilityError):
                self._end_all()
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(timeout=5)
        shutil.rmtree(self.home.sockets, ignore_errors=True)

    def end_all(self) -> None:
        """End every program, frozen ones too, and forget what was said of them."""
        self._end_all()
        for folder in (self.home.run / "traits", self.home.run / "orders"):
            for path in folder.iterdir():
                path.unlink()
        for path in self.home.logs.iterdir():
            os.truncate(path, 0)

    def begin(self, drawn: Drawn) -> None:
        """Describe the drawn fleet and start it; returns when supervisord says it all runs.

        Raises:
            Unavailable: a program doesn't come up.
        """
        ports = {name: self.ports[name] for name in drawn.replicas}
        self.home.ports_file.write_text(json.dumps(ports), encoding="utf-8")
        self.home.fleet_file.write_text(describe(drawn), encoding="utf-8")
        for name in drawn.replicas:
            self.supervisor.start(name)
        self._wait(lambda: self._all(drawn.replicas, ("RUNNING",)), "the fleet to run")

    def pid(self, program: str) -> int | None:
        """The process a program runs as now."""
        return self.supervisor.process(program).pid

    def missing(self, program: str) -> Path:
        """While this file is there, *program* lacks what it needs and ends at once."""
        return self.home.run / "traits" / f"{program}.missing"

    def events(self) -> list[Event]:
        """What supervisord has logged of programs since the last `end_all`, oldest first."""
        found = []
        for line in self._log.read_text(encoding="utf-8", errors="replace").splitlines():
            if match := _LINE.match(line.lstrip("\0")):
                parts = match.groupdict()
                moment = datetime.strptime(parts["at"], "%Y-%m-%d %H:%M:%S,%f")  # noqa: DTZ007
                found.append(
                    Event(
                        at=moment.astimezone(UTC),
                        program=parts["a"] or parts["b"] or parts["c"],
                        kind=parts["spawned"] or parts["ended"] or parts["gave"],
                        text=f"pid {parts['pid']}" if parts["pid"] else parts["how"] or "",
                    )
                )
        return found

    def _end_all(self) -> None:
        states = self.supervisor.processes()
        active = [s for s in states.values() if s.state not in TURNED_OFF]
        for state in active:
            self.supervisor.stop(state.name)
        deadline = time.monotonic() + UP_SECONDS
        while active:
            for state in active:
                if state.pid is not None:
                    # SIGKILL also ends what is stopped or computes; the fleet has nothing to save.
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(state.pid, signal.SIGKILL)
            states = self.supervisor.processes()
            active = [s for s in states.values() if s.state not in TURNED_OFF]
            if time.monotonic() > deadline:
                raise Unavailable(f"{active[0].name} would not end.")
            time.sleep(POLL if active else 0)

    def _all(self, names: Sequence[str], states: Sequence[str]) -> bool:
        now = self.supervisor.processes()
        return all(now[name].state in states for name in names)

    def _answers(self) -> bool:
        with contextlib.suppress(Unavailable):
            self.supervisor.processes()
            return True
        return False

    def _wait(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + UP_SECONDS
        while not holds():
            if time.monotonic() > deadline:
                raise Unavailable(f"Waited {UP_SECONDS:g} s in vain for {what}.")
            time.sleep(POLL)

    def _configuration(self) -> str:
        home = self.home
        own = "user = root\n" if os.geteuid() == 0 else ""
        parts = [
            f"[unix_http_server]\nfile = {self.supervisor.socket}\nchmod = 0700\n"
            f"[supervisord]\nnodaemon = true\nsilent = true\n{own}"
            f"pidfile = {home.run / 'supervisord.pid'}\nlogfile = {self._log}\n"
            f"logfile_maxbytes = 0\nchildlogdir = {home.logs}\ndirectory = {home.path}\n"
            "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = "
            "supervisor.rpcinterface:make_main_rpcinterface\n"
        ]
        for name in self.programs:
            service = name.rsplit("-", 1)[0]
            program = (
                *(sys.executable, "-P", "-m", "evals.worlds.healing_parts.replica"),
                *("--home", str(home.path), "--replica", name, "--port", str(self.ports[name])),
                *("--data", str(data_folder(home, service))),
            )
            # The shell looks first: it ends within milliseconds on a busy machine too.
            needed = shlex.quote(str(self.missing(name)))
            script = f"test ! -e {needed} || exit 1; exec {shlex.join(program)}"
            command = shlex.join(("/bin/sh", "-c", script)).replace("%", "%%")
            parts.append(
                f"[program:{name}]\ncommand = {command}\nautostart = false\nautorestart = true\n"
                "startsecs = 1\nstartretries = 3\nstopsignal = TERM\nstopwaitsecs = 3\n"
                "stopasgroup = false\nkillasgroup = true\nredirect_stderr = true\n"
                f"stdout_logfile = {home.logs / f'{name}.log'}\nstdout_logfile_maxbytes = 0\n"
            )
        return "".join(parts)


def data_folder(home: Home, service: str) -> Path:
    """Where a service of the world keeps its files."""
    return home.path / "data" / service


def describe(drawn: Drawn) -> str:
    """The drawn fleet as `fleet.toml` says it."""
    lines = ['[fleet]\ntitle = "Campus"\n']
    for service in drawn.services:
        lines.append(
            f'[[service]]\nname = "{service.name}"\ntitle = "{service.title}"\n'
            'program = "evals.worlds.healing_parts.replica"\n'
            f"replicas = {service.replicas}\n"
            'health_path = "/healthz"\n'
            f"depends_on = {json.dumps(list(service.depends_on))}\n"
            + ("minimum_healthy = 1\n" if service.replicas > 1 else "")
        )
        if service.limit_mb is not None:
            lines.append(
                f'data_folder = "data/{service.name}"\ndata_limit_mb = {service.limit_mb}\n'
                'archivable = ["exports"]\n'
            )
    return "\n".join(lines)


def _free_ports(count: int) -> list[int]:
    """Loopback ports nobody listens on now, below those given to outgoing connections."""
    with ExitStack() as stack:
        found: list[int] = []
        for port in random.sample(PORTS, len(PORTS)):
            probe = stack.enter_context(socket.socket())
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
            if len(found) == count:
                return found
    raise Unavailable(f"There are no {count} free ports between {PORTS[0]} and {PORTS[-1]}.")


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
