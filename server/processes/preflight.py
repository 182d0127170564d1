"""What must hold before an academy starts; each refusal says what would be right."""

import contextlib
import os
import shutil
import stat
import sys
import textwrap
from pathlib import Path

import psutil

from graphs.settings import Home, Settings
from server.exits import Exit, Refusal
from server.processes.ports import is_free, next_free
from tools.adapters.fleet_file import read_text
from tools.kit.errors import Invalid

LEAST_FREE_BYTES = 500 * 1024 * 1024
"""PostgreSQL's data, its write-ahead log (up to 1 GB under load, 64 MB idle), logs and vectors;
below this a first start can fill the disk half-way."""

SAMPLE = Path(__file__).resolve().parent.parent.parent / "evals/worlds/campus/fleet.toml"
EMPTY = '[fleet]\ntitle = "No services yet"\n'


def check_platform() -> None:
    """Refuse where parent-death signals and `/proc` are missing.

    Raises:
        Refusal: this is not Linux.
    """
    if sys.platform != "linux":
        raise Refusal(
            Exit.PLATFORM,
            f"The academy runs on Linux; this is {sys.platform}. Without Linux's parent-death"
            " signal its processes could outlive it. A Linux container or machine works.",
        )


def make_folders(home: Home) -> None:
    """Make the home's folders, those with secrets for the owner only, and the socket folder.

    Raises:
        Refusal: the home can't be written, or the socket folder belongs to somebody else.
    """
    try:
        # As root the database runs as a user of its own, which must pass through to its data;
        # every folder in here but that one is closed.
        home.path.mkdir(parents=True, exist_ok=True, mode=0o711 if os.geteuid() == 0 else 0o700)
        for folder in (home.run, home.logs, home.healer, home.audit, home.locks, home.campus):
            folder.mkdir(exist_ok=True, mode=0o700)
        home.keys.mkdir(exist_ok=True, mode=0o700)
        home.keys.chmod(0o700)
        attempt = home.run / ".writable"
        attempt.write_bytes(b"")
        attempt.unlink()
    except OSError as error:
        raise Refusal(
            Exit.HOME_UNUSABLE,
            f"The academy's home {home.path} can't be written: {error.strerror}"
            f" ({error.filename}). Name a folder of yours: `academy up --home FOLDER`, or set"
            " ACADEMY_HOME.",
        ) from None
    _make_sockets(home.sockets)


def check_disk(home: Home) -> None:
    """Refuse to start on a disk that is nearly full.

    Raises:
        Refusal: less than 500 MB is free where the home is.
    """
    free = shutil.disk_usage(home.path).free
    if free < LEAST_FREE_BYTES:
        raise Refusal(
            Exit.DISK_FULL,
            f"Only {free // 1024**2} MB are free on the disk of {home.path}; at least"
            f" {LEAST_FREE_BYTES // 1024**2} MB are needed to start safely. Free some space, or"
            " use a home on another disk: `academy up --home FOLDER`.",
        )


def place_fleet(home: Home, *, bare: bool) -> str:
    """Put `fleet.toml` in place where there is none, and check it; a note for the person, or "".

    A file that nobody changed follows *bare*; one changed by hand stays as it is.

    Raises:
        Refusal: the file can't be read or says something wrong.
    """
    wanted = EMPTY if bare else SAMPLE.read_text(encoding="utf-8")
    unchanged = (EMPTY, SAMPLE.read_text(encoding="utf-8"))
    present: str | None = None
    with contextlib.suppress(OSError, UnicodeDecodeError):
        present = home.fleet_file.read_text(encoding="utf-8")
    note = ""
    if not home.fleet_file.exists() or (present in unchanged and present != wanted):
        home.fleet_file.write_text(wanted, encoding="utf-8")
    elif bare and present not in unchanged:
        note = f"--bare has no effect: {home.fleet_file} was changed by hand and is used as it is."
    try:
        read_text(home.fleet_file)
    except Invalid as error:
        raise Refusal(
            Exit.FLEET_INVALID,
            f"{error.message} Correct the file, or move it away and the sample fleet is put back.",
        ) from None
    return note


def check_port(settings: Settings) -> None:
    """Refuse a public port that somebody else listens on.

    Raises:
        Refusal: it is taken; names who has it, where that can be seen, and a port that is free.
    """
    if not is_free(settings.host, settings.port):
        free = next_free(settings.host, settings.port + 1)
        raise Refusal(
            Exit.PORT_TAKEN,
            f"Port {settings.port} is taken{_holder(settings.port)}. {free} is free:"
            f" `academy up --port {free}`, or set ACADEMY_PORT.",
        )


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status != psutil.CONN_LISTEN or not connection.laddr:
                continue
            if connection.laddr.port == port:
                if connection.pid is None:
                    return " by a process of another user"
                words = " ".join(psutil.Process(connection.pid).cmdline())
                return f" by process {connection.pid} ({textwrap.shorten(words, 80)})"
    except psutil.Error:
        return ""
    return ""


def _make_sockets(folder: Path) -> None:
    """The socket folder lies in the shared temp folder: somebody else's must not be used."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise Refusal(
            Exit.HOME_UNUSABLE,
            f"The folder for sockets {folder} can't be made: {error.strerror}. Set TMPDIR to a"
            " folder of yours.",
        ) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise Refusal(
            Exit.HOME_UNUSABLE,
            f"{folder} belongs to another user or is no folder. Remove it, or set TMPDIR to a"
            " folder of yours.",
        )
