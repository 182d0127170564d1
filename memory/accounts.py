"""The system user that PostgreSQL runs as when the academy runs as root."""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from memory.errors import StoreError

SYSTEM_USER = "academy-postgres"
SYSTEM_FOLDER = Path("/var/lib/academy-postgres")
"""Where that user keeps what it can't reach elsewhere: a copy of the programs, and data."""


@dataclass(frozen=True)
class Account:
    """The system user the server runs as."""

    name: str
    uid: int
    gid: int


def system_account() -> Account:
    """The user `academy-postgres`, made when missing (initdb needs a passwd entry)."""
    try:
        entry = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        useradd, adduser = shutil.which("useradd"), shutil.which("adduser")
        if useradd:
            command = [useradd, "--system", "--user-group", "--no-create-home"]
            command += ["--home-dir", str(SYSTEM_FOLDER), "--shell", "/bin/false", SYSTEM_USER]
        elif adduser:
            command = [adduser, "-S", "-D", "-H", "-h", str(SYSTEM_FOLDER), SYSTEM_USER]
        else:
            raise StoreError(
                "PostgreSQL refuses to run as root and neither useradd nor adduser is here to"
                f" make a user for it; create a system user named {SYSTEM_USER}."
            ) from None
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        try:
            entry = pwd.getpwnam(SYSTEM_USER)
        except KeyError:
            raise StoreError(
                f"The system user {SYSTEM_USER} can't be made: {done.stderr.strip()}"
            ) from None
    return Account(SYSTEM_USER, entry.pw_uid, entry.pw_gid)


def user_name(uid: int) -> str:
    """The name of a user id.

    Raises:
        StoreError: this machine doesn't know it.
    """
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        raise StoreError(
            f"The database's data belongs to user id {uid}, which this machine doesn't know;"
            f" give it to {SYSTEM_USER} with chown -R."
        ) from None


def bare_environment() -> dict[str, str]:
    """A small environment: the server needs none of the academy's settings or secrets."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "HOME": "/"}


def run_as(
    command: list[str], account: Account, *, seconds: float
) -> subprocess.CompletedProcess[str]:
    """Run *command* as *account*, with its own small environment."""
    as_other = os.geteuid() == 0
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
        cwd="/",
        env=bare_environment(),
        user=account.uid if as_other else None,
        group=account.gid if as_other else None,
        extra_groups=[] if as_other else None,
    )


def may_enter(folder: Path, account: Account) -> bool:
    """Whether *account* can pass through *folder* and all its parents."""
    return run_as(["test", "-x", str(folder)], account, seconds=10).returncode == 0
