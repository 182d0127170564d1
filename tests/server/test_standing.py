"""Approvals in advance over the API, on their page and on the command line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from graphs.settings import Settings
from memory.database import Database
from memory.tables.autonomy import AuditEntry
from server.exits import Exit
from tests.fakes.api import Answer
from tests.fakes.clock import FakeClock
from tests.fakes.line import Line, answered_line
from tests.server.conftest import Browser

GRANT: dict[str, Any] = {
    "operation": "healing.restart_replica",
    "target": "catalog/catalog-1",
    "days": 7,
    "reason": "nights",
}
API = "/api/standing-approvals"
PAGE = "/autonomy/standing"


async def post(browser: Browser, path: str, body: dict[str, Any] | None = None) -> httpx2.Response:
    return await browser.client.post(path, json=body or {}, headers={"x-csrf-token": browser.csrf})


async def test_one_is_given_listed_and_revoked_and_all_of_it_is_in_the_audit_log(
    ada: Browser, control_db: Database, settings: Settings
) -> None:
    given = await post(ada, API, GRANT)
    assert given.status_code == 201
    assert given.json()["state"] == "active"
    assert given.json()["given_by"] == "ada"
    again = await post(ada, API, GRANT)
    assert again.status_code == 409

    standing = settings.paths.standing
    standing.mkdir()
    for name in ("per-torn.json", "known.json"):
        (standing / name).write_text("{")
    revoked = await post(ada, f"{API}/{given.json()['id']}/revoke")
    assert revoked.json()["state"] == "revoked"
    assert not list(standing.glob("*.json")), "permits that nobody can read go too"
    assert (await post(ada, f"{API}/{given.json()['id']}/revoke")).status_code == 409
    listed = (await ada.client.get(API)).json()["standing_approvals"]
    assert [(a["id"], a["revoked_by"]) for a in listed] == [(given.json()["id"], "ada")]
    async with control_db.unit_of_work() as session:
        kinds = list(
            await session.scalars(
                select(AuditEntry.kind).where(AuditEntry.subject == given.json()["id"])
            )
        )
    assert kinds == ["standing.given", "standing.revoked"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"operation": "healing.format_disk"}, 404),
        ({"target": "catalog/catalog-77"}, 404),
        ({"target": "postgres"}, 404),
        ({"target": "front/front"}, 404),
        ({"days": 31}, 422),
        ({"days": 0}, 422),
        ({"reason": "   "}, 422),
        ({"tenant_id": "ten-other"}, 422),
    ],
)
async def test_what_cannot_be_approved_in_advance_is_refused(
    ada: Browser, change: dict[str, Any], status: int
) -> None:
    answer = await post(ada, API, GRANT | change)
    assert answer.status_code == status, answer.text
    assert (await ada.client.get(API)).json()["standing_approvals"] == []


async def test_only_people_with_the_fleet_may(
    ada: Browser, lea: Browser, anyone: httpx2.AsyncClient
) -> None:
    given = (await post(ada, API, GRANT)).json()
    assert (await post(lea, API, GRANT)).status_code == 403
    assert (await post(lea, f"{API}/{given['id']}/revoke")).status_code == 403
    assert (await lea.client.get(API)).status_code == 403
    assert (await anyone.get(API)).status_code == 401
    unguarded = await ada.client.post(f"{API}/{given['id']}/revoke", json={})
    assert unguarded.status_code == 403
    [still] = (await ada.client.get(API)).json()["standing_approvals"]
    assert still["state"] == "active"


async def test_the_page_gives_one_shows_it_and_takes_it_back(
    ada: Browser, clock: FakeClock
) -> None:
    choice = f"{GRANT['operation']}|{GRANT['target']}"
    assert "Nothing. While the database is down" in (await ada.client.get(PAGE)).text
    answer = await ada.post(PAGE, choice=choice, days="3", reason="nights <b>only</b>")
    assert (answer.status_code, answer.headers["location"]) == (303, PAGE)
    page = (await ada.client.get(PAGE)).text
    assert "nights &lt;b&gt;only&lt;/b&gt;" in page
    assert "In force" in page
    assert f'value="{choice}"' not in page, "what stands isn't offered again"

    twice = await ada.post(PAGE, choice=choice, days="3", reason="nights")
    assert twice.status_code == 409
    assert "revoke it first" in twice.text
    [given] = (await ada.client.get(API)).json()["standing_approvals"]
    revoked = await ada.post(f"{PAGE}/{given['id']}/revoke", back="https://elsewhere.example/")
    assert revoked.status_code == 303
    assert revoked.headers["location"].startswith("/")
    assert "Revoked" in (await ada.client.get(PAGE)).text


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with answered_line(tmp_path / "a home") as made:
        yield made


SHOWN = GRANT | {
    "id": "sta-1",
    "title": "Restart a replica",
    "state": "active",
    "given_by": "Ada",
    "given_at": "2026-11-23T09:00:00Z",
    "expires_at": "2026-11-30T09:00:00Z",
    "revoked_at": None,
    "revoked_by": None,
}
GIVE = ("autonomy", "standing", "give", GRANT["operation"], GRANT["target"], "--reason", "nights")


def test_the_command_line_gives_lists_and_revokes(line: Line) -> None:
    line.api.lay(f"POST {API}", Answer(SHOWN, 201))
    line.api.lay(f"POST {API}/sta-1/revoke", Answer(SHOWN | {"state": "revoked"}))
    ended = SHOWN | {"id": "sta-0", "state": "expired"}
    line.api.lay(f"GET {API}", Answer({"standing_approvals": [SHOWN, ended]}))

    assert "sta-1 holds until" in line.run(*GIVE, "--yes").out
    assert line.api.asked[-1].body == GRANT
    listed = line.run("autonomy", "standing", "list")
    assert "sta-1" in listed.out
    assert "sta-0" not in listed.out
    assert "sta-0" in line.run("autonomy", "standing", "list", "--all").out
    assert "sta-1 is revoked." in line.run("autonomy", "standing", "revoke", "sta-1").out


def test_the_command_line_asks_first_and_no_means_no(line: Line) -> None:
    ran = line.run(*GIVE, typed="n\n")
    assert ran.code == Exit.CONFLICT
    assert line.api.asked == []


def test_a_person_can_stop_it_all_without_the_academy(line: Line) -> None:
    standing = line.home.standing
    standing.mkdir(exist_ok=True)
    for name in ("per-1.json", "per-2.json", "known.json"):
        (standing / name).write_text("{}")
    assert json.loads(line.run("autonomy", "standing", "stop", "--json").out) == {"removed": 2}
    assert not list(standing.glob("*.json"))
    assert line.api.asked == []
