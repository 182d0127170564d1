"""A small client of supervisord's XML-RPC over its unix socket. Every call has a deadline."""

import http.client
import socket
import time
import xmlrpc.client
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast
from xml.parsers.expat import ExpatError

from tools.kit.errors import Conflict, NotFound, Unavailable

CALL_SECONDS = 5.0
"""A supervisord that is alive answers in milliseconds; its loop never blocks on a program."""

STOP_GRACE_SECONDS = 3.0
"""How long a program may take to end by itself before it is killed."""
RESTART_SECONDS = 20.0
"""The whole of a restart: grace, kill, `startsecs`, and a busy machine."""
POLL_SECONDS = 0.05

T = TypeVar("T")

_BAD_EXIT = "Bad exit code"
"""Begins what supervisord says of an end whose exit status it gives as well."""
_BAD_NAME, _NO_FILE, _NOT_EXECUTABLE, _ABNORMAL, _SPAWN_ERROR = 10, 20, 21, 40, 50
_ALREADY_STARTED, _NOT_RUNNING, _SHUTDOWN_STATE = 60, 70, 6
_ENDED = ("STOPPED", "EXITED", "FATAL")


@dataclass(frozen=True)
class ProgramState:
    """What supervisord says of one program."""

    name: str
    state: str
    """`STOPPED STARTING RUNNING BACKOFF STOPPING EXITED FATAL UNKNOWN`."""
    pid: int | None
    started: int
    """Unix seconds of the last start; 0 when it never ran."""
    stopped: int
    """Unix seconds of the last end; 0 when it never ended."""
    exit_status: int
    """Of the last end; negative after a signal."""
    spawn_error: str

    @property
    def ending(self) -> str:
        """How it last ended or why it can't be started; empty where nothing is known of it.

        Never the supervisor's own description: that tells a local time without saying so.
        """
        if self.spawn_error and not self.spawn_error.startswith(_BAD_EXIT):
            return self.spawn_error
        if not self.started:
            return "not started"
        if not self.stopped:
            return ""
        at = datetime.fromtimestamp(self.stopped, UTC)
        how = f"exit status {self.exit_status}" if self.exit_status >= 0 else "by a signal"
        return f"stopped at {at:%Y-%m-%d %H:%M:%S} UTC, {how}"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__()
        self._path = path
        self._timeout = timeout

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return _UnixConnection(self._path, self._timeout)

    def single_request(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().single_request(*args, **kwargs)
        finally:
            self.close()


@dataclass(frozen=True)
class Supervisor:
    """The supervisord listening on *socket*. Methods block: call them in a thread."""

    socket: Path
    timeout: float = CALL_SECONDS

    def processes(self) -> dict[str, ProgramState]:
        """Every program by name.

        Raises:
            Unavailable: supervisord can't be reached.
        """
        answer = self._call(lambda rpc: rpc.supervisor.getAllProcessInfo())
        states = (_state(cast("dict[str, Any]", entry)) for entry in cast("list[Any]", answer))
        return {state.name: state for state in states}

    def process(self, name: str) -> ProgramState:
        """One program.

        Raises:
            NotFound: supervisord doesn't know it.
            Unavailable: supervisord can't be reached.
        """
        answer = self._call(lambda rpc: rpc.supervisor.getProcessInfo(name), name)
        return _state(cast("dict[str, Any]", answer))

    def start(self, name: str) -> bool:
        """Ask for a start without waiting; whether one was needed.

        Raises:
            Conflict: it is still ending; supervisord would say yes and start nothing.
            NotFound: unknown program.
            Unavailable: it can't be started, or supervisord can't be reached.
        """
        if (now := self.process(name)).state == "STOPPING":
            raise Conflict(f"{name} ({_runs_as(now.pid)}) is still ending; start it after that.")
        return self._unless(_ALREADY_STARTED, "startProcess", name)

    def stop(self, name: str) -> bool:
        """Ask for a stop without waiting; whether one was needed (a pending retry counts).

        Raises:
            NotFound: unknown program.
            Unavailable: supervisord can't be reached.
        """
        return self._unless(_NOT_RUNNING, "stopProcess", name)

    def signal(self, name: str, signal: str) -> bool:
        """Send *signal* (such as `KILL`); whether there was a process to send it to.

        Raises:
            NotFound: unknown program.
            Unavailable: supervisord can't be reached.
        """

        def call(rpc: Any) -> object:
            return rpc.supervisor.signalProcess(name, signal)

        try:
            self._call(call, name)
        except _Declined as declined:
            if declined.code == _NOT_RUNNING:
                return False
            raise
        return True

    def restart(
        self,
        name: str,
        *,
        expected_pid: int | None,
        grace: float = STOP_GRACE_SECONDS,
        deadline: float = RESTART_SECONDS,
    ) -> int:
        """Stop and start a program, killing what doesn't end within *grace*; the new pid.

        It blocks in one piece on purpose: a caller that is cancelled half way leaves a thread
        that still starts what it stopped.

        Args:
            name: the program.
            expected_pid: the only process it may stop; None for a program that doesn't run. One
                that is gone already is only replaced.
            grace: seconds before a kill; 0 for a frozen process, which can't end by itself.
            deadline: seconds until the program must run again.

        Raises:
            Conflict: it runs as another process.
            NotFound: unknown program.
            Unavailable: it didn't stop or start in time, or supervisord can't be reached.
        """
        began = time.monotonic()
        before = self.process(name)
        if before.pid not in (None, expected_pid):
            raise Conflict(
                f"{name} {_runs_as(before.pid)}, not as {_pid_words(expected_pid)}: "
                "it has changed since this was planned."
            )
        if before.state not in _ENDED:
            # What has ended isn't stopped again: it might have been started since we looked.
            self.stop(name)
        killed = False
        while (now := self.process(name)).state not in _ENDED:
            waited = time.monotonic() - began
            if waited > deadline:
                raise Unavailable(f"{name} did not stop within {deadline:.0f} s ({now.state}).")
            if not killed and waited >= grace:
                killed = self.signal(name, "KILL")
            time.sleep(POLL_SECONDS)
        self.start(name)
        while (now := self.process(name)).state != "RUNNING":
            if now.state in (*_ENDED, "UNKNOWN"):
                raise Unavailable(f"{name} was started and ended at once: {now.ending}.")
            if time.monotonic() - began > deadline:
                raise Unavailable(
                    f"{name} did not run within {deadline:.0f} s: it is {now.state.lower()}"
                    f"{', ' + now.spawn_error if now.spawn_error else ''}."
                )
            time.sleep(POLL_SECONDS)
        if now.pid is None or now.pid == expected_pid:
            raise Unavailable(f"{name} is said to run, but not as a new process.")
        return now.pid

    def _unless(self, harmless: int, method: str, name: str) -> bool:
        wait = False
        try:
            self._call(lambda rpc: getattr(rpc.supervisor, method)(name, wait), name)
        except _Declined as declined:
            if declined.code == harmless:
                return False
            raise
        return True

    def _call(self, call: Callable[[Any], T], name: str = "") -> T:
        transport = _UnixTransport(self.socket, self.timeout)
        try:
            with xmlrpc.client.ServerProxy("http://localhost", transport=transport) as rpc:
                return call(rpc)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == _BAD_NAME:
                raise NotFound(f"The supervisor knows no program `{name}`.") from fault
            raise _Declined(name, fault.faultCode, fault.faultString) from fault
        except TimeoutError as error:
            raise Unavailable(
                f"The process supervisor did not answer within {self.timeout:.0f} s."
            ) from error
        # ExpatError: it was killed half way through an answer.
        except (OSError, http.client.HTTPException, xmlrpc.client.Error, ExpatError) as error:
            raise Unavailable(
                f"The process supervisor can't be reached at {self.socket}: {error}."
            ) from error


class _Declined(Unavailable):
    """Supervisord answered, and said no."""

    def __init__(self, name: str, code: int, text: str) -> None:
        reasons = {
            _NO_FILE: "its program file does not exist",
            _NOT_EXECUTABLE: "its program file may not be executed",
            _SPAWN_ERROR: "it can't be spawned",
            _ABNORMAL: "it ended at once",
            _SHUTDOWN_STATE: "the supervisor is shutting down",
        }
        super().__init__(f"The supervisor declined for {name}: {reasons.get(code, text)}.")
        self.code = code


def _pid_words(pid: int | None) -> str:
    return f"process {pid}" if pid is not None else "a stopped program"


def _runs_as(pid: int | None) -> str:
    return f"runs as process {pid}" if pid is not None else "does not run"


def _state(entry: dict[str, Any]) -> ProgramState:
    pid = int(entry["pid"])
    return ProgramState(
        name=str(entry["name"]),
        state=str(entry["statename"]),
        pid=pid or None,
        started=int(entry["start"]),
        stopped=int(entry["stop"]),
        exit_status=int(entry["exitstatus"]),
        spawn_error=str(entry["spawnerr"]),
    )
