"""Which running processes belong to one academy, told by identity and never by name.

A process is the academy's when its environment carries `ACADEMY_INSTANCE` with the digest of the
home, when the launcher recorded its pid together with its start time, or when it is a PostgreSQL
server on the home's data (the server drops its environment).
"""

import contextlib
import hashlib
import json
import os
import select
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.kit.process_stat import PROC, read_stat

MARKER = "ACADEMY_INSTANCE"


@dataclass(frozen=True)
class Identity:
    """One process; a pid alone may be another process by the time it is looked at again."""

    pid: int
    started: int
    """Clock ticks after boot."""

    def lives(self) -> bool:
        """Whether exactly this process still runs (a zombie doesn't)."""
        now = read_stat(self.pid)
        return now is not None and now.started == self.started and not now.ended

    def send(self, number: signal.Signals) -> None:
        """Send a signal to exactly this process; nothing happens when it is gone."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            descriptor = os.pidfd_open(self.pid)
            try:
                if self.lives():
                    signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)

    def wait(self, seconds: float) -> bool:
        """Wait until it is gone; whether that came within *seconds*."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            if not self.lives():
                return True
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            return bool(poll.poll(max(0.0, seconds) * 1000)) or not self.lives()
        finally:
            os.close(descriptor)


def instance(home: Path) -> str:
    """The digest that marks the processes of the academy at *home*."""
    return hashlib.sha256(os.fsencode(home)).hexdigest()[:16]


def identify(pid: int) -> Identity | None:
    """The process that has *pid* now, unless there is none or it is a zombie."""
    found = read_stat(pid)
    return None if found is None or found.ended else Identity(pid, found.started)


def leftovers(home: Path, record: Path) -> list[Identity]:
    """All living processes of the academy at *home*, this one and its ancestors left out.

    *record* is the file that `write_record` wrote while the academy ran.
    """
    mark = f"{MARKER}={instance(home)}".encode()
    data = os.fsencode((home / "postgres").resolve())
    recorded = set(_read_record(record))
    spared = _ancestors()
    found: list[Identity] = []
    for entry in PROC.iterdir():
        if not entry.name.isdigit() or int(entry.name) in spared:
            continue
        process = identify(int(entry.name))
        if process is None:
            continue
        arguments = _words(entry / "cmdline")
        if (
            process in recorded
            or mark in _words(entry / "environ")
            or (
                (arguments and Path(os.fsdecode(arguments[0])).name == "postgres")
                and data in arguments
            )
        ):
            found.append(process)
    return found


def end(processes: Sequence[Identity], *, grace: float) -> None:
    """End *processes*: supervisord and programs by TERM, PostgreSQL by INT, what stays by KILL.

    A stopped process (state T) is continued first, because it would not see the signal.
    """
    deadline = time.monotonic() + grace
    for process in processes:
        name = Path(os.fsdecode((_words(PROC / str(process.pid) / "cmdline") or [b""])[0])).name
        process.send(signal.SIGINT if name == "postgres" else signal.SIGTERM)
        process.send(signal.SIGCONT)
    for process in processes:
        process.wait(deadline - time.monotonic())
    late = [process for process in processes if process.lives()]
    for process in late:
        process.send(signal.SIGKILL)
    for process in late:
        process.wait(5)


def write_record(record: Path, pids: Iterable[int]) -> None:
    """Keep the identities of *pids* in *record*, so that a later launcher can tell them."""
    found = [identify(pid) for pid in sorted(pids)]
    body = {"boot": _boot(), "processes": [[p.pid, p.started] for p in found if p]}
    beside = record.with_suffix(".new")
    beside.write_text(json.dumps(body))
    beside.replace(record)


def _read_record(record: Path) -> list[Identity]:
    try:
        body = json.loads(record.read_text())
        if body["boot"] != _boot():
            return []
        return [Identity(int(pid), int(started)) for pid, started in body["processes"]]
    except (OSError, ValueError, KeyError, TypeError):
        # An unreadable record only loses the second of three ways to tell a process.
        return []


def _boot() -> str:
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def _words(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().split(b"\0")
    except OSError:
        return []


def _ancestors() -> set[int]:
    found: set[int] = set()
    pid = os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        own = read_stat(pid)
        if own is None:
            break
        pid = own.parent
    return found
