"""The application's frame: probes, headers, limits, hosts and failures."""

import httpx2
import pytest
from fastapi import FastAPI

from memory.database import Databases
from server.lifespan import REMEMBERED, Services
from tests.fakes.clock import FakeClock
from tests.server.conftest import Browser
from tools.healing.local_store import LocalStore
from tools.healing.schemas import FleetView, IncidentView, ReplicaView, ServiceView

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


@pytest.fixture
def services(app: FastAPI) -> Services:
    held: Services = app.state.services
    return held


async def test_a_living_replica_says_so(anyone: httpx2.AsyncClient) -> None:
    answer = await anyone.get("/healthz")

    assert answer.status_code == 200
    assert answer.json() == {"replica": "web-1"}


async def test_a_ready_replica_says_that_its_store_is_up(anyone: httpx2.AsyncClient) -> None:
    answer = await anyone.get("/readyz")

    assert answer.status_code == 200
    assert answer.json() == {"replica": "web-1", "ready": True, "store": "up"}


async def test_a_replica_without_its_store_stays_ready_and_says_so(
    anyone: httpx2.AsyncClient, services: Services
) -> None:
    services.databases = Databases(NOWHERE)

    answer = await anyone.get("/readyz")

    assert answer.status_code == 200
    assert answer.json()["store"] == "down"


@pytest.mark.parametrize(
    "path", ["/signin", "/fleet", "/nowhere", "/api/fleet", "/api/nowhere", "/healthz"]
)
async def test_every_answer_carries_the_security_headers(
    anyone: httpx2.AsyncClient, path: str
) -> None:
    headers = (await anyone.get(path)).headers

    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert len(headers["x-request-id"]) >= 8


async def test_a_request_id_from_the_proxy_is_kept_and_a_strange_one_is_not(
    anyone: httpx2.AsyncClient,
) -> None:
    kept = await anyone.get("/healthz", headers={"x-request-id": "abc-12345"})
    strange = await anyone.get("/healthz", headers={"x-request-id": "<script>alert(1)"})

    assert kept.headers["x-request-id"] == "abc-12345"
    assert strange.headers["x-request-id"] != "<script>alert(1)"


async def test_a_body_over_the_limit_is_refused(ada: Browser) -> None:
    answer = await ada.client.post("/threads", content=b"x" * 300_000)

    assert answer.status_code == 413
    assert answer.json()["kind"] == "invalid"
    assert "256 KiB" in answer.json()["detail"]


async def test_a_fault_of_ours_shows_an_id_and_no_stack_trace(
    ada: Browser, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(services.fleet, "read", broken)
    for path in ("/fleet", "/api/fleet"):
        answer = await ada.client.get(path)
        assert answer.status_code == 500
        assert "secret detail" not in answer.text
        assert "Traceback" not in answer.text
        assert answer.headers["x-request-id"] in answer.text
        assert "content-security-policy" in answer.headers


async def test_metrics_count_requests_by_route(ada: Browser) -> None:
    await ada.client.get("/incidents")

    text = (await ada.client.get("/metrics")).text

    assert 'route="/incidents",status="200"' in text
    assert "academy_http_streams_open 0.0" in text


async def test_metrics_through_the_proxy_are_for_operators(
    ada: Browser, anyone: httpx2.AsyncClient
) -> None:
    through = {"x-forwarded-for": "192.0.2.7"}

    assert (await anyone.get("/metrics", headers=through)).status_code == 401
    assert (await ada.client.get("/metrics", headers=through)).status_code == 403


async def test_with_the_store_down_the_api_says_so(ada: Browser, services: Services) -> None:
    await ada.client.get("/fleet")
    services.databases = Databases(NOWHERE)

    answer = await ada.client.get("/api/fleet")

    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "3"
    assert "database can't be reached" in answer.json()["detail"]


async def test_with_the_store_down_somebody_seen_lately_sees_what_the_healer_found(
    ada: Browser, services: Services, clock: FakeClock
) -> None:
    leave_local_view(services, clock)
    await ada.client.get("/fleet")
    services.databases = Databases(NOWHERE)

    answer = await ada.client.get("/")

    assert answer.status_code == 503
    assert "The database is down" in answer.text
    assert "catalog-1 does not answer" in answer.text
    assert "Course catalog" in answer.text


async def test_with_the_store_down_a_session_seen_long_ago_sees_a_sentence_only(
    ada: Browser, services: Services, clock: FakeClock
) -> None:
    leave_local_view(services, clock)
    await ada.client.get("/fleet")
    services.databases = Databases(NOWHERE)
    clock.set(clock.now() + REMEMBERED * 1.1)

    answer = await ada.client.get("/")

    assert answer.status_code == 503
    assert "database is down" in answer.text
    assert "catalog-1" not in answer.text


async def test_with_the_store_down_a_strangers_cookie_sees_a_sentence_only(
    anyone: httpx2.AsyncClient, ada: Browser, services: Services, clock: FakeClock
) -> None:
    leave_local_view(services, clock)
    await ada.client.get("/fleet")
    services.databases = Databases(NOWHERE)

    answer = await anyone.get("/", headers={"cookie": "academy_session=guessed"})

    assert answer.status_code == 503
    assert "catalog-1" not in answer.text


def leave_local_view(services: Services, clock: FakeClock) -> None:
    """What a healer would have left in its files."""
    now = clock.now()
    replica = ReplicaView(
        name="catalog-1", status="hung", note="no answer", pid=1, started_at=now, restarts=0,
        since=now, signals={},
    )  # fmt: skip
    service = ServiceView(
        name="catalog", title="Course catalog", kind="fleet", status="hung", depends_on=[],
        replicas=[replica], open_incidents=["inc-1"],
    )  # fmt: skip
    incident = IncidentView(
        id="inc-1", service="catalog", replica="catalog-1", target="catalog/catalog-1",
        kind="hung", state="waiting", title="catalog-1 does not answer", cause="It is frozen.",
        explanation="", evidence=[], before={}, after={}, resolution="", opened_at=now,
        updated_at=now, closed_at=None,
    )  # fmt: skip
    store = LocalStore(services.settings.paths.healer, services.settings.paths.logs / "alerts.log")
    store.write_fleet(FleetView(services=[service], looked_at=now, problems=[]))
    store.write_incidents([incident])
