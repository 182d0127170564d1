"""The fleet of this machine: supervisord's programs, their processes, HTTP doors, disks, logs."""

import asyncio
import errno
import json
import os
import re
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import psutil

from tools.adapters.disk import disk_facts
from tools.adapters.fleet_file import academy_services, read_fleet
from tools.adapters.supervisor import STOP_GRACE_SECONDS, ProgramState, Supervisor
from tools.kit.errors import Forbidden, Invalid, NotFound, Unavailable
from tools.kit.infrastructure import (
    DiskFacts,
    Fleet,
    ProbeResult,
    ProcessFacts,
    ProcessStatus,
    ReplicaSpec,
    ServiceSpec,
)

BODY_CHARACTERS = 2000
LOG_BYTES = 256 * 1024
"""How far back from its end a log is read."""
RESTARTABLE = re.compile(r"web-\d+|agents")
"""The academy's own programs that may be restarted; the rest would cut the branch it sits on."""

_STATUS: dict[str, ProcessStatus] = {
    "RUNNING": "running",
    "STARTING": "starting",
    "BACKOFF": "backoff",
    "STOPPING": "stopped",
    "STOPPED": "stopped",
    "EXITED": "stopped",
    "FATAL": "fatal",
}

_Signature = tuple[tuple[int, int, int] | None, ...]


class LocalInfrastructure:
    """`Infrastructure` over one academy's supervisord. Build one per event loop; `aclose` it.

    Args:
        fleet_file: the `fleet.toml`.
        home: the academy's home.
        ports_file: the launcher's `ports.json`.
        supervisor_socket: supervisord's unix socket.
    """

    def __init__(
        self, fleet_file: Path, home: Path, ports_file: Path, supervisor_socket: Path
    ) -> None:
        self._fleet_file = fleet_file
        self._home = home
        self._ports_file = ports_file
        self._supervisor = Supervisor(supervisor_socket)
        self._fleet: Fleet | None = None
        self._good: Fleet | None = None
        self._signature: _Signature = ()
        self._watched: dict[int, psutil.Process] = {}
        self._client: httpx2.AsyncClient | None = None

    def fleet(self) -> Fleet:
        """The described fleet; a description that became unusable leaves the last good one.

        What is wrong stands in `problems`. Without a good one there are the academy's own
        processes only.
        """
        signature = (_signature(self._fleet_file), _signature(self._ports_file))
        if self._fleet is not None and signature == self._signature:
            return self._fleet
        try:
            fleet = read_fleet(self._fleet_file, self._home, read_ports(self._ports_file))
            self._good = fleet
        except Invalid as error:
            kept = self._good or Fleet(services=academy_services({}))
            used = "the last good one is used" if self._good else "no fleet is watched"
            fleet = Fleet(services=kept.services, problems=(f"{error.message} ({used})",))
        self._fleet, self._signature = fleet, signature
        return fleet

    async def processes(self) -> dict[str, ProcessFacts]:
        """Facts per replica name; a replica the supervisor doesn't know is `unknown`.

        Raises:
            Unavailable: the supervisor can't be reached.
        """
        replicas = [replica for service in self.fleet().services for replica in service.replicas]
        return await asyncio.to_thread(self._processes, replicas)

    async def probe(self, replica: ReplicaSpec, path: str, *, timeout: float) -> ProbeResult:
        """One GET of *path* at the replica on a fresh connection; never raises."""
        if replica.url is None:
            return _unanswered(f"{replica.name} has no HTTP door.")
        if self._client is None:
            # A kept connection would answer for a process that has long been replaced.
            self._client = httpx2.AsyncClient(
                limits=httpx2.Limits(max_keepalive_connections=0),
                trust_env=False,
                # Replicas speak plain HTTP on loopback; loading authorities would take 8 MB.
                verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
                follow_redirects=False,
            )
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(timeout):
                async with self._client.stream(
                    "GET", replica.url + path, timeout=timeout, headers={"connection": "close"}
                ) as answer:
                    head = loop.time()
                    body = await _first_characters(answer)
        except (TimeoutError, httpx2.TimeoutException):
            return _unanswered("timeout")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            return _unanswered(_error_word(error))
        latency = round((head - began) * 1000, 3)
        return ProbeResult(answer.is_success, latency, answer.status_code, "", body)

    async def disk(self, path: Path) -> DiskFacts:
        """Facts of the filesystem that holds *path*, or of its service's data limit.

        The limit is told where it leaves less than the filesystem does.

        Raises:
            Unavailable: the path can't be read.
        """
        limit = next(
            (
                service.data_limit_bytes
                for service in self.fleet().services
                if service.data_folder == path
            ),
            None,
        )
        return await asyncio.to_thread(disk_facts, path, limit)

    async def restart(self, replica: ReplicaSpec, *, expected_pid: int | None) -> int:
        """Stop (killing what won't) and start one replica; answers the new pid.

        *expected_pid* is the only process it may stop; None means that it may stop none. One that
        is gone already, such as after a restart that was cut in half, is only replaced.

        Raises:
            Conflict: the replica runs as another process.
            Forbidden: it is one of the academy's own programs that may not be restarted.
            NotFound: the fleet or the supervisor has no such replica.
            Unavailable: the supervisor can't be reached or the program didn't start.
        """
        service = self._service_of(replica)
        if service.kind == "academy" and not RESTARTABLE.fullmatch(replica.program):
            raise Forbidden(
                f"{replica.program} is one of the academy's own programs: only the web replicas "
                "and the agents worker may be restarted from here."
            )
        frozen = expected_pid is not None and _is_stopped(expected_pid)
        return await asyncio.to_thread(
            self._supervisor.restart,
            replica.program,
            expected_pid=expected_pid,
            grace=0.0 if frozen else STOP_GRACE_SECONDS,
        )

    async def tail_log(self, replica: ReplicaSpec, *, lines: int) -> Sequence[str]:
        """The last *lines* lines of its log: outside content, which taints.

        Raises:
            Unavailable: it has no log, or the log can't be read.
        """
        path = self._home / "logs" / f"{replica.program}.log"
        return await asyncio.to_thread(_tail, path, lines)

    async def aclose(self) -> None:
        """Close what probing holds open."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _service_of(self, replica: ReplicaSpec) -> ServiceSpec:
        for service in self.fleet().services:
            if any(known.program == replica.program for known in service.replicas):
                return service
        raise NotFound(f"The fleet has no replica `{replica.name}`.")

    def _processes(self, replicas: Sequence[ReplicaSpec]) -> dict[str, ProcessFacts]:
        states = self._supervisor.processes()
        found: dict[str, ProcessFacts] = {}
        watched: dict[int, psutil.Process] = {}
        for replica in replicas:
            state = states.get(replica.program)
            if state is None:
                note = "The process supervisor does not know this program."
                found[replica.name] = ProcessFacts("unknown", None, None, exit_note=note)
            else:
                found[replica.name] = self._facts(state, watched)
        self._watched = watched
        return found

    def _facts(self, state: ProgramState, watched: dict[int, psutil.Process]) -> ProcessFacts:
        status = _STATUS.get(state.state, "unknown")
        note = "" if state.state in ("RUNNING", "STARTING", "STOPPING") else state.ending
        if state.pid is None:
            return ProcessFacts(status, None, None, exit_note=note)
        try:
            process = self._watched.get(state.pid)
            first = process is None or not process.is_running()
            if process is None or first:
                process = psutil.Process(state.pid)
            with process.oneshot():
                cpu = process.cpu_percent(None)
                facts = ProcessFacts(
                    status=status,
                    pid=state.pid,
                    started_at=datetime.fromtimestamp(process.create_time(), UTC),
                    rss_bytes=process.memory_info().rss,
                    cpu_percent=None if first else cpu,
                    open_files=_open_files(process),
                    stopped_by_signal=process.status() == psutil.STATUS_STOPPED,
                    exit_note=note,
                )
        except psutil.Error:
            # It ended between the two looks; the supervisor says so at the next one.
            return ProcessFacts(status, state.pid, None, exit_note=note)
        watched[state.pid] = process
        return facts


def read_ports(path: Path) -> dict[str, int]:
    """Loopback ports by program; none where the launcher has not written the file yet.

    Raises:
        Invalid: the file is not an object of names and ports.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Invalid(f"{path} can't be read: {error}.") from error
    if not isinstance(content, dict) or not all(
        type(port) is int and 0 < port < 65536 for port in content.values()
    ):
        raise Invalid(f"{path} must map program names to ports from 1 to 65535.")
    return content


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _open_files(process: psutil.Process) -> int | None:
    try:
        return process.num_fds()
    except psutil.AccessDenied:
        return None


def _is_stopped(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return False


def _tail(path: Path, lines: int) -> list[str]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            begin = max(0, size - LOG_BYTES)
            file.seek(begin)
            content = file.read(LOG_BYTES)
    except FileNotFoundError:
        raise Unavailable(f"There is no log at {path} yet.") from None
    except OSError as error:
        raise Unavailable(f"The log {path} can't be read: {error}.") from error
    if begin:
        content = content.partition(b"\n")[2]
    found = content.decode("utf-8", errors="replace").splitlines()
    return found[-lines:] if lines > 0 else []


def _unanswered(error: str) -> ProbeResult:
    return ProbeResult(ok=False, latency_ms=None, status=None, error=error)


async def _first_characters(answer: httpx2.Response) -> str:
    content = b""
    async for chunk in answer.aiter_bytes():
        content += chunk
        # Four bytes are the longest a character gets.
        if len(content) >= 4 * BODY_CHARACTERS:
            break
    return content.decode("utf-8", errors="replace")[:BODY_CHARACTERS]


def _error_word(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        number = getattr(cause, "errno", None)
        if isinstance(cause, ConnectionRefusedError) or number == errno.ECONNREFUSED:
            return "refused"
        if isinstance(cause, ConnectionResetError) or number == errno.ECONNRESET:
            return "reset"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx2.ConnectError):
        return "refused" if "attempts failed" in str(error) else f"can't connect: {error}"
    if isinstance(error, httpx2.RemoteProtocolError) and "disconnected" in str(error):
        return "reset"
    if isinstance(error, httpx2.RemoteProtocolError | httpx2.DecodingError):
        return "broken answer"  # its words would quote the service, and those are outside text
    return f"{type(error).__name__}: {error}"
