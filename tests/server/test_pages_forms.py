"""Forms of the pages that count once, and what they say before they are sent."""

import asyncio
import re
from pathlib import Path

import pytest

from graphs import threads
from memory.database import Database
from server.web import words
from tests.fakes.clock import FakeClock
from tests.fakes.embedded import TENANT_ID
from tests.fakes.gatekeeping import Desk
from tests.server.conftest import Browser
from tools.autonomy.service import MOST_REASON
from tools.kit.deps import Caller


@pytest.fixture
def caller(ada: Browser) -> Caller:
    return Caller(
        tenant_id=TENANT_ID, tenant_slug="dynasty", person_id=ada.person.id, name="ada",
        roles=frozenset({"staff"}), fleet=True,
    )  # fmt: skip


@pytest.fixture
async def desk(control_db: Database, clock: FakeClock, tmp_path: Path, caller: Caller) -> Desk:
    return Desk(control_db, clock, tmp_path / "locks", caller)


async def test_a_stuck_action_says_what_to_do_and_is_released_by_a_plain_form(
    ada: Browser, desk: Desk
) -> None:
    proposed = await desk.propose()
    assert proposed.approval_id is not None
    await desk.decide(proposed.approval_id, "approve")
    action = proposed.actions[0].id
    desk.world.apply_raises, desk.world.observes = "after", "unknown"
    assert (await desk.gatekeeper.drive(action)).state == "stuck"
    path = f"/approvals/{proposed.approval_id}"

    before = await ada.client.get(path)
    form = {"found": "not-done", "note": "It is where it was.", "back": path}
    answer = await ada.post(f"/actions/{action}/release", **form)
    after = await ada.client.get(path)

    assert "Nobody can tell whether this happened" in before.text
    assert "It was not done" in before.text
    assert (answer.status_code, answer.headers["location"]) == (303, path)
    assert "Nobody can tell" not in after.text
    again = await ada.post(f"/actions/{action}/release", **form)
    assert again.status_code == 409
    assert words.NOTE == MOST_REASON


async def test_a_conversation_sent_twice_at_once_is_begun_once(
    ada: Browser, tenant_db: Database, caller: Caller
) -> None:
    page = await ada.client.get("/threads/new")
    key = re.search(r'name="key" value="(thr-[a-z0-9]{12})"', page.text)
    assert key is not None
    form = {"text": "what is wrong?", "key": key[1]}

    answers = await asyncio.gather(*(ada.post("/threads", **form) for _ in range(3)))

    assert {a.headers["location"] for a in answers} == {f"/threads/{key[1]}"}
    async with tenant_db.unit_of_work() as session:
        assert len(await threads.list_threads(session, caller)) == 1
        assert len((await threads.get_thread(session, caller, key[1])).messages) == 1


async def test_nobody_speaks_in_somebody_elses_conversation_by_choosing_its_key(
    ada: Browser, bert: Browser
) -> None:
    form = {"text": "what is wrong?", "key": "thr-222222222222"}

    assert (await ada.post("/threads", **form)).status_code == 303
    assert (await bert.post("/threads", **form)).status_code == 404


async def test_the_reference_names_every_operation_and_asks_no_other_site(ada: Browser) -> None:
    page = await ada.client.get("/docs")
    document = (await ada.client.get("/openapi.json")).json()

    assert page.status_code == 200
    assert all(path in page.text for path in document["paths"])
    assert "<script" not in page.text.split("</head>")[1]
    assert 'src="http' not in page.text


def test_a_question_is_named_by_what_would_be_done() -> None:
    assert words.named("Restart catalog-1 of catalog") == "Restart catalog-1"
    assert words.named("Archive 12 old files of catalog") == "Archive 12 old files of catalog"


def test_figures_name_processes_and_moments_as_people_do() -> None:
    assert words.figure(14726, "pid") == "14726"
    assert words.figure("2026-11-23T16:06:02.92+00:00", "started_at") == "23 Nov 2026, 16:06:02"
    assert words.label("cpu_percent") == "CPU (%)"
