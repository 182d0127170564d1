"""The web application on a real database, people to visit it, and a server where one is needed."""

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from openai import AsyncOpenAI
from pydantic import SecretStr

from graphs.settings import Settings
from memory.database import Database, Databases
from memory.tables.identity import Person
from server.app import create_app
from server.auth import COOKIE
from tests.fakes.chat_clients import key_of, working
from tests.fakes.clock import FakeClock
from tests.fakes.embedded import TENANT_ID
from tests.fakes.people import add_person, signed_in
from tests.fakes.serving import serving
from tests.fakes.small_fleet import SmallFleet

BASE = "http://localhost"


@dataclass
class Browser:
    """A signed-in browser: its client, its session's token against forged forms, its person."""

    client: httpx2.AsyncClient
    csrf: str
    person: Person

    async def post(self, path: str, **form: str) -> httpx2.Response:
        """Send a form as our own page would."""
        return await self.client.post(path, data={"csrf": self.csrf, **form})


def client_of(app: FastAPI, *, base: str = BASE, cookie: str | None = None) -> httpx2.AsyncClient:
    """A client of *app* in this process; it buffers, so it isn't for endless streams."""
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    cookies = {COOKIE: cookie} if cookie else None
    return httpx2.AsyncClient(transport=transport, base_url=base, cookies=cookies)


@pytest.fixture
def settings(tmp_path: Path, control_url: str) -> Settings:
    """Settings of an academy in a temporary home with the sample fleet described."""
    home = tmp_path / "home"
    for folder in ("run", "healer", "keys", "audit", "locks", "logs"):
        (home / folder).mkdir(parents=True)
    (home / "run" / "ports.json").write_text(
        json.dumps({"catalog-1": 9101, "catalog-2": 9102, "front": 8400, "web-1": 8401})
    )
    sample = Path(__file__).resolve().parents[2] / "evals" / "worlds" / "campus" / "fleet.toml"
    (home / "fleet.toml").write_text(sample.read_text())
    return Settings(home=home, database_url=SecretStr(control_url))


@pytest.fixture
async def app(
    settings: Settings, databases: Databases, tenant_db: Database, clock: FakeClock
) -> FastAPI:
    """The application over this test's databases; `tenant_db` made the first tenant."""
    made = create_app(settings, replica="web-1", databases=databases, clock=clock)
    made.state.services.glance.keep = timedelta(0)  # the clock stands still: nothing would age
    return made


@pytest.fixture
async def anyone(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """A client that is not signed in."""
    async with client_of(app) as client:
        yield client


@pytest.fixture
async def ada(
    app: FastAPI, control_db: Database, tenant_db: Database, clock: FakeClock
) -> AsyncIterator[Browser]:
    """A signed-in member of the first tenant's staff."""
    person = await add_person(control_db, clock, "ada", **{TENANT_ID: "staff"})
    async with browser_of(app, control_db, clock, person) as browser:
        yield browser


@contextlib.asynccontextmanager
async def browser_of(
    app: FastAPI, control: Database, clock: FakeClock, person: Person
) -> AsyncIterator[Browser]:
    """A browser signed in as *person*."""
    token, csrf = await signed_in(control, clock, person, TENANT_ID)
    async with client_of(app, cookie=token) as client:
        yield Browser(client, csrf, person)


@pytest.fixture
async def bert(
    app: FastAPI, control_db: Database, tenant_db: Database, clock: FakeClock
) -> AsyncIterator[Browser]:
    """A second signed-in member of staff."""
    person = await add_person(control_db, clock, "bert", **{TENANT_ID: "staff"})
    async with browser_of(app, control_db, clock, person) as browser:
        yield browser


@pytest.fixture
async def lea(
    app: FastAPI, control_db: Database, tenant_db: Database, clock: FakeClock
) -> AsyncIterator[Browser]:
    """A signed-in learner."""
    person = await add_person(control_db, clock, "lea", **{TENANT_ID: "learner"})
    async with browser_of(app, control_db, clock, person) as browser:
        yield browser


@pytest.fixture
async def served(app: FastAPI) -> AsyncIterator[str]:
    """The application on a real port: its base URL."""
    async with serving(app) as base:
        yield base


@pytest.fixture
async def fleet(clock: FakeClock, databases: Databases) -> SmallFleet:
    """A small fleet in which all is well, as the healer last saw it."""
    made = SmallFleet(clock)
    await made.seen(databases.control)
    return made


@pytest.fixture
async def worker(
    settings: Settings, databases: Databases, fleet: SmallFleet, clock: FakeClock, ada: Browser
) -> AsyncIterator[None]:
    """An agents worker at work on what Ada says."""
    async with working(settings, databases, fleet, clock):
        yield


@pytest.fixture
async def key(control_db: Database, clock: FakeClock, ada: Browser) -> str:
    """Ada's API key."""
    return await key_of(control_db, clock, ada.person, "staff")


@pytest.fixture
async def client(served: str, key: str) -> AsyncIterator[AsyncOpenAI]:
    """The official client with Ada's key; it sends nothing twice by itself."""
    async with AsyncOpenAI(base_url=f"{served}/v1", api_key=key, timeout=20, max_retries=0) as made:
        yield made
