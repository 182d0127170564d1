"""Settings of the whole academy: the one place that reads the environment.

Every layer below takes frozen values made from these; `ACADEMY_HOME` holds everything on disk.
"""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from memory.embedded_postgres import EmbeddedPostgres

DEFAULT_PORT = 8400
CONTROL_DATABASE = "academy_control"
"""Name of the control database on the embedded server."""


def default_home() -> Path:
    """Where an academy lives by default: the data directory of the user, or the system for root."""
    if os.geteuid() == 0:
        return Path("/var/lib/dynasty-academy")
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "dynasty-academy"


@dataclass(frozen=True)
class Home:
    """The folders and files of one academy. Nothing here creates them; the launcher does."""

    path: Path

    @property
    def keys(self) -> Path:
        """Secrets, mode 0700: `postgres.password`, `cli.key`, `audit.key`."""
        return self.path / "keys"

    @property
    def run(self) -> Path:
        """State of the running academy: `academy.json`, `ports.json`, supervisord's files."""
        return self.path / "run"

    @property
    def logs(self) -> Path:
        """One log file per program, and `alerts.log` that the launcher shows."""
        return self.path / "logs"

    @property
    def postgres(self) -> Path:
        """The embedded PostgreSQL's data."""
        return self.path / "postgres"

    @property
    def chroma(self) -> Path:
        """The vector store, opened by the agents worker only."""
        return self.path / "chroma"

    @property
    def healer(self) -> Path:
        """The healer's own files, which work without PostgreSQL."""
        return self.path / "healer"

    @property
    def audit(self) -> Path:
        """Signed heads of the audit chains, one file per database."""
        return self.path / "audit"

    @property
    def unsent_audit(self) -> Path:
        """Audit rows that wait for the control database to be back."""
        return self.audit / "unsent.jsonl"

    @property
    def evidence(self) -> Path:
        """The signed heads of the evidence."""
        return self.path / "evidence"

    @property
    def standing(self) -> Path:
        """Standing permits, and the journal of what was done while the database was away."""
        return self.path / "standing"

    @property
    def archive(self) -> Path:
        """Where archived files go unless `ACADEMY_ARCHIVE` names another filesystem."""
        return self.path / "archive"

    @property
    def campus(self) -> Path:
        """Data of the sample fleet."""
        return self.path / "campus"

    @property
    def fleet_file(self) -> Path:
        """The description of the fleet."""
        return self.path / "fleet.toml"

    @property
    def ports_file(self) -> Path:
        """The port of each process, written by the launcher."""
        return self.run / "ports.json"

    @property
    def supervisor_socket(self) -> Path:
        """Where supervisord listens."""
        return self.sockets / "supervisor.sock"

    @property
    def sockets(self) -> Path:
        """Unix sockets, outside the home because a socket path may not pass 107 bytes."""
        digest = hashlib.sha256(str(self.path).encode()).hexdigest()[:8]
        return Path(tempfile.gettempdir()) / f"academy-{os.geteuid()}-{digest}"

    @property
    def locks(self) -> Path:
        """File locks, one per target under repair."""
        return self.path / "locks"


class Settings(BaseSettings):
    """What a person may set, by environment variable (prefix `ACADEMY_`)."""

    model_config = SettingsConfigDict(env_prefix="ACADEMY_", frozen=True, extra="ignore")

    home: Path = Field(default_factory=default_home)
    port: int = Field(default=DEFAULT_PORT, ge=1, le=65535)
    host: str = "127.0.0.1"
    """Address the front listens on; the default keeps the academy to this machine."""
    database_url: SecretStr | None = None
    """`postgresql://user:password@host:port/database`; without it the embedded PostgreSQL."""
    model_url: str | None = None
    """Base URL of an OpenAI-compatible endpoint, such as `https://models.example/v1`."""
    model_name: str | None = None
    model_key: SecretStr | None = None
    archive: Path | None = None
    """Archive folder; best on another filesystem than the data."""
    probe_seconds: float = Field(default=2.0, gt=0, le=30)
    """How often the healer probes."""
    approval_minutes: int = Field(default=30, ge=1, le=1440)
    """How long a question to a person stays open."""

    @cached_property
    def paths(self) -> Home:
        """The folders of this academy, absolute."""
        return Home(self.home.expanduser().resolve())

    @property
    def embedded_postgres(self) -> EmbeddedPostgres:
        """The academy's own PostgreSQL, used when no `database_url` is set."""
        home = self.paths
        return EmbeddedPostgres(home.postgres, home.sockets, home.keys / "postgres.password")

    @property
    def control_url(self) -> str:
        """URL of the control database, password included: the one given, or the embedded server's.

        Raises:
            memory.errors.StoreError: the embedded server has no password yet (`academy up` makes
                it), or can't be read by this user.
        """
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return self.embedded_postgres.url(CONTROL_DATABASE)

    @property
    def archive_folder(self) -> Path:
        """Where archives go."""
        return (self.archive or self.paths.archive).expanduser().resolve()


def read_settings() -> Settings:
    """Settings from the environment.

    Raises:
        pydantic.ValidationError: a variable has a value out of range.
    """
    return Settings()
