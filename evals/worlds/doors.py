"""An academy's doors and nothing behind them: web replicas over a database of their own.

    async with open_doors() as doors:
        ada = await doors.session("ada")
        answer = await client.get(doors.urls[0] + "/incidents", headers=ada.headers)

No healer and no agents worker run, and what the supervisor starts does nothing, so whatever changes
in the database was changed by a request, or by whoever uses these doors. The replicas are real:
processes of `server.app` (or of a module that starts a weakened one), two of them sharing one
PostgreSQL.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx2

from evals.worlds import children
from evals.worlds.postgres import throwaway_postgres
from evals.worlds.standby import standby
from graphs.settings import Settings
from memory import provision
from memory.database import Database, Databases
from memory.provision import FIRST_SLUG
from memory.tables.identity import Membership, Person, TenantRecord
from memory.upgrade import upgrade
from tools.identity import service as identity
from tools.kit.clock import SystemClock
from tools.kit.deps import Caller, Role

START_SECONDS = 180.0
"""A replica loads in two seconds; a machine that does much else takes far longer."""
COOKIE = "academy_session"
CSRF_HEADER = "x-csrf-token"
CONTROL = "academy_control"
OTHER_SLUG = "other"
FLEET = Path(__file__).parent / "campus" / "fleet.toml"
REAL = ("server.app",)
FOLDERS = ("run", "keys", "locks", "healer", "audit", "logs")

PEOPLE: Mapping[str, tuple[str, Role, bool]] = {
    "ada": (FIRST_SLUG, "staff", False),
    "bert": (FIRST_SLUG, "staff", False),
    "lea": (FIRST_SLUG, "learner", False),
    "olga": (FIRST_SLUG, "staff", True),
    "eve": (OTHER_SLUG, "staff", False),
}
"""Who there is: tenant, role there, whether an operator. Both tenants were granted the fleet."""


class DoorsNotOpen(RuntimeError):
    """A replica did not start; the message holds what it printed."""


@dataclass(frozen=True)
class Session:
    """A signed-in browser: its cookie and the token its forms carry."""

    person: str
    cookie: str
    csrf: str

    @property
    def headers(self) -> dict[str, str]:
        """What our own pages send with a request that changes something."""
        return {"cookie": f"{COOKIE}={self.cookie}", CSRF_HEADER: self.csrf}


@dataclass
class Doors:
    """Running replicas, their databases, and the people who may pass."""

    databases: Databases
    home: Path
    urls: Sequence[str]
    environment: Mapping[str, str]
    """What a further program of this academy is started with."""
    people: Mapping[str, Person]
    tenants: Mapping[str, str]
    """Tenant id by slug."""

    @property
    def control(self) -> Database:
        """The control database."""
        return self.databases.control

    async def session(self, person: str) -> Session:
        """A fresh session of *person* at their own tenant."""
        async with self.control.unit_of_work() as session:
            token, csrf = await identity.open_session(
                session, self.people[person], self.tenants[PEOPLE[person][0]], SystemClock()
            )
        return Session(person, token, csrf)

    async def api_key(self, person: str, name: str = "attack") -> str:
        """A fresh API key of *person*."""
        async with self.control.unit_of_work() as session:
            return await identity.issue_key(session, self.caller(person), name, clock=SystemClock())

    def caller(self, person: str) -> Caller:
        """*person* as the doors would establish them from a session."""
        slug, role, operator = PEOPLE[person]
        roles: set[Role] = {role, "operator"} if operator else {role}
        return Caller(
            tenant_id=self.tenants[slug],
            tenant_slug=slug,
            person_id=self.people[person].id,
            name=person,
            roles=frozenset(roles),
            fleet=True,
        )

    def host(self, person: str, replica: int = 0) -> str:
        """The `Host` header that names the tenant of *person* at one replica."""
        port = self.urls[replica].rpartition(":")[2]
        slug = PEOPLE[person][0]
        return f"localhost:{port}" if slug == FIRST_SLUG else f"{slug}.localhost:{port}"


@contextlib.asynccontextmanager
async def open_doors(
    *, replicas: int = 2, module: Sequence[str] = REAL, control_url: str | None = None
) -> AsyncIterator[Doors]:
    """Start a database and *replicas* web processes of *module* over it; stop all of it after.

    Args:
        replicas: how many processes share the database.
        module: what `python -m` starts, with its first arguments; `--replica` and `--port` follow.
        control_url: of an empty control database on a running server; a server of its own without.

    Raises:
        DoorsNotOpen: a replica ended or never became ready.
        StoreError: the database did not start.
    """
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="academy-doors-"))
        if control_url is None:
            server = await stack.enter_async_context(throwaway_postgres())
            control_url = server.url(CONTROL)
        await upgrade(control_url)
        databases = Databases(control_url, pool_size=5)
        stack.push_async_callback(databases.dispose)
        people, tenants = await _people(databases.control, control_url)
        home = Path(folder) / "home"
        urls, environment = await stack.enter_async_context(
            web_replicas(home, control_url, replicas=replicas, module=module)
        )
        yield Doors(databases, home, urls, environment, people, tenants)


@contextlib.asynccontextmanager
async def web_replicas(
    home: Path, control_url: str, *, replicas: int = 1, module: Sequence[str] = REAL
) -> AsyncIterator[tuple[list[str], dict[str, str]]]:
    """Web processes over a database that is there: their URLs, and the environment they have.

    Args:
        home: a folder that isn't there yet.
        control_url: of the upgraded control database.
        replicas: how many.
        module: what `python -m` starts, with its first arguments.

    Raises:
        DoorsNotOpen: a replica ended or never became ready.
    """
    ports = await asyncio.to_thread(_furnish, home, replicas)
    environment = children.environment() | {
        "ACADEMY_HOME": str(home),
        "ACADEMY_DATABASE_URL": control_url,
    }
    urls = [f"http://127.0.0.1:{port}" for port in ports.values()]
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(standby(Settings(home=home).paths, environment))
        processes = []
        for name, port in ports.items():
            words = ["-m", *module, "--replica", name, "--port", str(port)]
            with (home / "logs" / f"{name}.log").open("ab") as log:
                processes.append(children.start(words, env=environment, output=log))
            stack.push_async_callback(asyncio.to_thread, children.stop, processes[-1])
        await _ready(home, urls, processes)
        yield urls, environment


def _furnish(home: Path, replicas: int) -> dict[str, int]:
    """Make the home's folders and files; the port of each replica."""
    for name in FOLDERS:
        (home / name).mkdir(parents=True)
    (home / "fleet.toml").write_text(FLEET.read_text())
    ports = {f"web-{n}": port for n, port in enumerate(_free_ports(replicas), start=1)}
    (home / "run" / "ports.json").write_text(json.dumps(ports))
    return ports


@contextlib.contextmanager
def announced(doors: Doors, key: str) -> Iterator[None]:
    """Let the command line find these doors, as the launcher's announcement would, with *key*."""
    (doors.home / "keys" / "cli.key").write_text(key)
    run = doors.home / "run"
    with (run / "launcher.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock.write(json.dumps([os.getpid(), 0.0]))
        lock.flush()
        body = {
            "url": doors.urls[0],
            "port": int(doors.urls[0].rpartition(":")[2]),
            "pid": os.getpid(),
            "started_at": datetime.now(UTC).isoformat(),
            "bare": True,
            "model": "embedded",
        }
        (run / "academy.json").write_text(json.dumps(body))
        yield


def _free_ports(count: int) -> list[int]:
    """Loopback ports nobody listens on now, all different."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


async def _people(control: Database, control_url: str) -> tuple[dict[str, Person], dict[str, str]]:
    """Everybody of `PEOPLE` by name, and the ids of their two tenants by slug."""
    database = provision.tenant_database_name(control.name, OTHER_SLUG)
    await provision.create_tenant_database(control_url, database)
    clock = SystemClock()
    people = {
        name: Person(
            id=f"per-{name}",
            email=None,
            name=name,
            password_hash=None,
            operator=operator,
            created_at=clock.now(),
        )
        for name, (_, _, operator) in PEOPLE.items()
    }
    async with control.unit_of_work() as session:
        first, _ = await identity.ensure_first_academy(session, clock)
        other = TenantRecord(
            id="ten-other",
            slug=OTHER_SLUG,
            name="Other Academy",
            database=database,
            server_url=None,
            theme=first.theme,
            fleet=True,
            created_at=clock.now(),
        )
        tenants = {FIRST_SLUG: first.id, OTHER_SLUG: other.id}
        session.add_all([other, *people.values()])
        await session.flush()
        session.add_all(
            Membership(person_id=f"per-{name}", tenant_id=tenants[slug], role=role)
            for name, (slug, role, _) in PEOPLE.items()
        )
    return people, tenants


async def _ready(
    home: Path, urls: Sequence[str], processes: Sequence[subprocess.Popen[bytes]]
) -> None:
    """Wait until every replica takes requests."""
    async with httpx2.AsyncClient(trust_env=False, timeout=2.0) as client:
        for url in urls:
            async with asyncio.timeout(START_SECONDS):
                while not await _answers(client, url):
                    if any(process.poll() is not None for process in processes):
                        logs = sorted((home / "logs").glob("web-*.log"))
                        said = " ".join(log.read_text(errors="replace")[-1000:] for log in logs)
                        raise DoorsNotOpen(f"A web replica did not start: {said}")
                    await asyncio.sleep(0.05)


async def _answers(client: httpx2.AsyncClient, url: str) -> bool:
    with contextlib.suppress(httpx2.TransportError):
        return (await client.get(f"{url}/readyz")).status_code == 200
    return False
