"""The application's frame: probes, headers, limits, hosts and errors."""

import httpx2

from tests.server.conftest import Browser


async def test_a_living_replica_says_so(anyone: httpx2.AsyncClient) -> None:
    answer = await anyone.get("/healthz")

    assert answer.status_code == 200
    assert answer.json() == {"replica": "web-1"}


async def test_a_ready_replica_says_that_its_store_is_up(anyone: httpx2.AsyncClient) -> None:
    answer = await anyone.get("/readyz")

    assert answer.status_code == 200
    assert answer.json() == {"replica": "web-1", "ready": True, "store": "up"}


async def test_the_fleet_page_answers_staff(ada: Browser) -> None:
    answer = await ada.client.get("/fleet")

    assert answer.status_code == 200, answer.text
    assert "Autonomy is earned" in answer.text
