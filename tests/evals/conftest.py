"""An academy reduced to its database and campus, under a real supervisord, for a whole session."""

import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from graphs.settings import Settings
from memory.upgrade import upgrade
from tests.fakes.embedded import wait_until_up
from tests.fakes.supervised import Supervised, free_port
from tools.adapters.fleet_file import programs, replica_names

CAMPUS = Path(__file__).parents[2] / "evals" / "worlds" / "campus" / "fleet.toml"


@dataclass(frozen=True)
class Campus:
    """A running campus and where its replicas answer."""

    settings: Settings
    supervised: Supervised
    ports: dict[str, int]

    def get(self, replica: str, path: str, *, seconds: float = 5) -> httpx2.Response:
        return httpx2.get(
            f"http://127.0.0.1:{self.ports[replica]}{path}", timeout=seconds, trust_env=False
        )

    def post(self, replica: str, path: str, data: dict[str, str]) -> httpx2.Response:
        url = f"http://127.0.0.1:{self.ports[replica]}{path}"
        return httpx2.post(url, data=data, timeout=5, trust_env=False)

    def wait_until(self, replica: str, path: str, status: int, *, seconds: float = 20) -> None:
        """Poll until *path* answers with *status*."""
        deadline = time.monotonic() + seconds
        seen: object = None
        while seen != status:
            assert time.monotonic() < deadline, f"{replica}{path} answers {seen}, not {status}"
            try:
                seen = self.get(replica, path).status_code
            except httpx2.HTTPError as error:
                seen = error
            time.sleep(0.05)


@pytest.fixture(scope="session")
def campus() -> Iterator[Campus]:
    home = Path(tempfile.mkdtemp(prefix="academy campus "))
    if os.geteuid() == 0:
        home.chmod(0o711)
    settings = Settings(home=home)
    paths = settings.paths
    database = settings.embedded_postgres
    database.prepare()
    with (database.data / "postgresql.conf").open("a") as file:
        file.write("\nfsync = off\nsynchronous_commit = off\nfull_page_writes = off\n")
    paths.fleet_file.write_text(CAMPUS.read_text())
    ports = {name: free_port() for name in replica_names(CAMPUS, with_port=True)}
    described = programs(paths.fleet_file, paths.path, ports, database_url=database.url("postgres"))
    postgres = [
        *(sys.executable, "-m", "memory.embedded_postgres"),
        *("--data", str(paths.postgres), "--sockets", str(paths.sockets)),
        *("--password-file", str(paths.keys / "postgres.password")),
    ]
    supervised = Supervised(
        paths.path,
        {"postgres": postgres, **{program.name: program.argv for program in described}},
        sockets=paths.sockets,
        options={"postgres": "stopsignal=INT\npriority=1"},
    )
    supervised.write_ports(ports)
    data = database.data.resolve()
    try:
        supervised.start()
        asyncio.run(wait_until_up(database))
        asyncio.run(upgrade(settings.control_url))
        started = Campus(settings, supervised, ports)
        for name in ("catalog-1", "catalog-2"):
            started.wait_until(name, "/courses", 200)
        for name in ("player-1", "player-2"):
            started.wait_until(name, "/", 200)
        yield started
    finally:
        supervised.stop()
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(data, ignore_errors=True)
