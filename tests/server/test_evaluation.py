"""Autonomy as people and programs see it: levels, freezes, runs of suites, played worlds."""

import asyncio
import html
import re
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI

from memory.database import Database
from memory.tables.evidence import SuiteRun, TrialRun
from tests.fakes.clock import FakeClock
from tests.server.conftest import Browser
from tools.autonomy import levels
from tools.autonomy.levels import list_operations

RESTART = "healing.restart_replica"


def readable(page: str) -> str:
    """What a person reads on a page, in one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


async def post(browser: Browser, path: str, body: dict[str, Any] | None = None) -> Any:
    return await browser.client.post(path, json=body or {}, headers={"x-csrf-token": browser.csrf})


@pytest.fixture
async def played(control_db: Database, clock: FakeClock) -> str:
    """A world that was played and did not pass; its id."""
    now = clock.now()
    async with control_db.unit_of_work() as session:
        session.add(
            SuiteRun(
                id="evl-1",
                suite="healing",
                digest="d",
                options={"quick": True},
                state="running",
                progress={
                    "done": 2,
                    "of": 36,
                    "passed": 0,
                    "left_s": 300.0,
                    "playing": ["orchard"],
                },
                requested_by="person:ada",
                created_at=now - timedelta(minutes=2),
                started_at=now - timedelta(minutes=1),
                ended_at=None,
                result=None,
                note="",
            )
        )
        await session.flush()
        session.add(
            TrialRun(
                id="trn-1",
                run_id="evl-1",
                suite="healing",
                case="orchard",
                control="",
                seed=4711,
                state="ended",
                passed=False,
                grades=[
                    {"evaluator": "end_state", "passed": False, "harmful": True, "text": "It hurt."}
                ],
                trajectory=[{"at": 0.5, "kind": "fault", "text": "catalog-1 <stops>", "data": {}}],
                played={"end": {"restarts": 2}},
                detected_s=4.0,
                recovered_s=None,
                seconds=9.5,
                began_at=now - timedelta(minutes=1),
                ended_at=now,
                reason="a healthy replica was restarted",
            )
        )
    return "trn-1"


async def test_the_page_says_of_each_operation_where_it_stands(ada: Browser) -> None:
    page = await ada.client.get("/autonomy")
    text = readable(page.text)

    assert page.status_code == 200
    assert "Restart a replica" in text
    assert "Asks a person" in text
    assert "What would change it:" in text
    assert "Run the quick suite" in text


async def test_a_freeze_shows_everywhere_until_it_is_thawed(ada: Browser) -> None:
    assert (
        await post(ada, f"/api/autonomy/{RESTART}/freeze", {"reason": "Exams."})
    ).status_code == 204
    again = await post(ada, f"/api/autonomy/{RESTART}/freeze", {"reason": "Exams."})
    frozen = (await ada.client.get(f"/api/autonomy/{RESTART}")).json()
    page = (await ada.client.get(f"/autonomy/operations/{RESTART}")).text
    thawed = await post(ada, f"/api/autonomy/{RESTART}/thaw")
    after = (await ada.client.get(f"/api/autonomy/{RESTART}")).json()
    nothing = await post(ada, f"/api/autonomy/{RESTART}/thaw")

    assert again.status_code == 409
    assert (frozen["level"], frozen["freezes"]) == ("frozen", ["Exams."])
    assert "Exams." in page
    assert thawed.status_code == 204
    assert after["level"] == "asks"
    assert nothing.status_code == 404


async def test_everything_is_frozen_by_a_star_and_an_unknown_operation_is_named(
    ada: Browser,
) -> None:
    await post(ada, "/api/autonomy/*/freeze", {"reason": "Launch week."})
    levels = (await ada.client.get("/api/autonomy")).json()["operations"]
    unknown = await post(ada, "/api/autonomy/healing.dance/freeze", {"reason": "No."})

    assert {one["level"] for one in levels} == {"frozen"}
    assert "Launch week." in (await ada.client.get("/autonomy")).text
    assert unknown.status_code == 404
    assert RESTART in unknown.json()["detail"]


async def test_a_form_freezes_too_and_says_why_it_could_not(ada: Browser) -> None:
    path = f"/autonomy/operations/{RESTART}/freeze"
    done = await ada.client.post(path, data={"csrf": ada.csrf, "reason": "Exams."})
    empty = await ada.client.post(path, data={"csrf": ada.csrf, "reason": "  "})

    assert done.status_code == 303
    assert empty.status_code == 409
    assert "Say why it is frozen" in empty.text


async def test_a_run_nobody_can_play_has_failed_and_says_why(ada: Browser) -> None:
    answer = await post(ada, "/api/evaluations", {"suite": "healing"})
    runs = (await ada.client.get("/api/evaluations")).json()["runs"]
    unknown = await post(ada, "/api/evaluations", {"suite": "dancing"})

    assert answer.status_code == 503
    assert [run["state"] for run in runs] == ["failed"]
    assert "supervisor" in runs[0]["note"]
    assert unknown.status_code == 404
    assert "healing" in unknown.json()["detail"]


async def test_a_played_world_is_shown_with_seed_grades_and_every_step(
    ada: Browser, played: str
) -> None:
    page = await ada.client.get(f"/autonomy/trials/{played}")
    text = readable(page.text)
    missing = await ada.client.get("/autonomy/trials/trn-none")

    assert page.status_code == 200
    for said in ("4711", "Did harm", "It hurt.", "catalog-1 <stops>", "a healthy replica"):
        assert said in text
    assert 'href="/autonomy/runs/evl-1"' in page.text
    assert missing.status_code == 404


async def test_a_run_says_how_far_it_is_refuses_a_second_and_can_be_stopped(
    ada: Browser, played: str
) -> None:
    page = (await ada.client.get("/autonomy/runs/evl-1/now")).text
    second = await post(ada, "/api/evaluations", {"suite": "healing"})
    stopped = await post(ada, "/api/evaluations/evl-1/stop")
    again = await post(ada, "/api/evaluations/evl-1/stop")

    assert "2 of 36 worlds played" in page
    assert "0 of 1 passed ; a control played 1 more for comparison" in readable(page)
    assert f"/autonomy/trials/{played}" in page
    assert second.status_code == 409
    assert stopped.json()["state"] == "stopped"
    assert again.status_code == 409


async def test_many_open_pages_read_the_levels_once_a_second(
    app: FastAPI, ada: Browser, bert: Browser, played: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = app.state.services
    services.glance.keep = timedelta(seconds=1)
    read: list[str] = []

    async def counted(session: Any, caller: Any, *rest: Any) -> Any:
        read.append(caller.actor)
        return await list_operations(session, caller, *rest)

    monkeypatch.setattr(levels, "list_operations", counted)
    open_pages = [ada, bert, ada, bert, ada, bert]
    pages = await asyncio.gather(*(one.client.get("/autonomy/now") for one in open_pages))
    once = len(read)
    services.clock.advance(seconds=1)
    await ada.client.get("/autonomy/now")
    aged = len(read)
    await freeze_by_form(ada, "exams")
    frozen = readable((await bert.client.get("/autonomy/now")).text)

    assert {page.status_code for page in pages} == {200}
    assert (once, aged) == (1, 2)
    assert "exams" in frozen
    for browser, page in zip(open_pages, pages, strict=True):
        other = bert if browser is ada else ada
        assert browser.csrf in page.text
        assert other.csrf not in page.text


async def test_an_open_page_of_an_operation_sees_a_run_and_a_freeze_without_being_reloaded(
    ada: Browser, bert: Browser, played: str
) -> None:
    now = f"/autonomy/operations/{RESTART}/now"
    running = readable((await bert.client.get(now)).text)
    stopped = await post(ada, "/api/evaluations/evl-1/stop")
    await freeze_by_form(ada, "exams")
    frozen = readable((await bert.client.get(now)).text)
    unknown = await bert.client.get("/autonomy/operations/healing.dance/now")

    assert "A suite is running" in running
    assert "Asks a person" in running
    assert stopped.status_code == 200
    assert "Run the quick suite" in frozen
    assert "Frozen: exams" in frozen
    assert unknown.status_code == 404


async def freeze_by_form(browser: Browser, reason: str) -> None:
    """As the button on the page does."""
    form = {"csrf": browser.csrf, "reason": reason}
    answer = await browser.client.post(f"/autonomy/operations/{RESTART}/freeze", data=form)
    assert answer.status_code == 303
