"""Pages as a person meets them: what they say, what they weigh, and forms without a script."""

import re
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from memory.audit import sign_head
from memory.audit_heads import new_key_pair
from memory.database import Database
from memory.tables.identity import TenantRecord
from server.auth import COOKIE
from server.visitor import DEFAULT_ACCENT
from server.web.theme import stylesheet
from tests.fakes.clock import FakeClock
from tests.fakes.embedded import TENANT_ID
from tests.fakes.gatekeeping import Desk
from tests.fakes.turns import StandInWorker, say
from tests.server.conftest import Browser, client_of
from tools.kit.deps import Caller

PAGES = ("/", "/threads/new", "/fleet", "/incidents", "/audit", "/account", "/docs")
MOST_BYTES = 100 * 1024
MOST_REQUESTS = 8
HTMX = {"hx-request": "true"}


@pytest.fixture
def caller(ada: Browser) -> Caller:
    return Caller(
        tenant_id=TENANT_ID, tenant_slug="dynasty", person_id=ada.person.id, name="ada",
        roles=frozenset({"staff"}), fleet=True,
    )  # fmt: skip


@pytest.fixture
async def desk(control_db: Database, clock: FakeClock, tmp_path: Path, caller: Caller) -> Desk:
    return Desk(control_db, clock, tmp_path / "locks", caller)


@pytest.fixture
def worker(tenant_db: Database, clock: FakeClock) -> StandInWorker:
    return StandInWorker(tenant_db, clock)


async def first_load(client: httpx2.AsyncClient, path: str) -> tuple[int, int]:
    """Bytes (as a browser without a cache would transfer them) and requests of one page."""
    page = await client.get(path)
    assert page.status_code == 200, page.text
    links = re.findall(r'(?:href|src)="(/static/[^"]+|/theme\.css[^"]*)"', page.text)
    total = len(page.content)
    for link in links:
        async with client.stream("GET", link, headers={"accept-encoding": "gzip"}) as answer:
            assert answer.status_code == 200, link
            total += sum([len(chunk) async for chunk in answer.aiter_raw()])
    streams = page.text.count("hx-sse:connect")
    return total, 1 + len(links) + streams


@pytest.mark.parametrize("path", PAGES)
async def test_a_first_load_fits_its_budget(ada: Browser, path: str) -> None:
    size, requests = await first_load(ada.client, path)

    assert size <= MOST_BYTES
    assert requests <= MOST_REQUESTS


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_is_built_to_be_walked_without_seeing(ada: Browser, path: str) -> None:
    html = (await ada.client.get(path)).text

    assert '<html lang="en">' in html
    assert 'class="skip" href="#main"' in html
    assert html.count("<h1") == 1
    assert html.count("<main") == 1
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert re.search(r"\sstyle=|\son[a-z]+=\"|<style|javascript:", html) is None


async def test_static_files_are_kept_for_good_and_another_releases_address_is_not(
    anyone: httpx2.AsyncClient,
) -> None:
    link = re.search(r'src="(/static/[^"]+)"', (await anyone.get("/signin")).text)
    assert link is not None

    now = await anyone.get(link[1])
    other = await anyone.get("/static/000000000000/academy.js")

    assert "immutable" in now.headers["cache-control"]
    assert other.headers["cache-control"] == "no-cache"
    assert other.content == now.content
    assert "htmx" in now.text


async def test_pages_are_never_kept(ada: Browser) -> None:
    assert (await ada.client.get("/fleet")).headers["cache-control"] == "no-store"


async def test_the_theme_is_the_tenants_and_what_is_no_colour_is_ignored(
    app: FastAPI, anyone: httpx2.AsyncClient, control_db: Database
) -> None:
    shown = (await anyone.get("/theme.css")).text
    async with control_db.unit_of_work() as session:
        tenant = await session.get(TenantRecord, TENANT_ID)
        assert tenant is not None
        tenant.theme = {"accent": "red;}body{display:none"}
    app.state.services._tenants.clear()
    after = (await anyone.get("/theme.css")).text

    assert shown == stylesheet("#2f5bea")
    assert after == stylesheet(DEFAULT_ACCENT) != shown


async def test_an_empty_conversation_suggests_what_to_ask(ada: Browser) -> None:
    html = (await ada.client.get("/")).text

    assert "Talk to the academy" in html
    assert 'data-ask="What is wrong?"' in html
    assert "Agent starting" in html


async def test_a_conversation_is_shown_with_tools_and_text(
    ada: Browser, worker: StandInWorker, tenant_db: Database, caller: Caller, clock: FakeClock
) -> None:
    thread = await say(tenant_db, caller, clock, "How is the <b>catalog</b>?")
    await worker.use_tool("fleet_status", "Look at the fleet", '{"ok": true}')

    html = (await ada.client.get(f"/threads/{thread}")).text

    assert "How is the &lt;b&gt;catalog&lt;/b&gt;?" in html
    assert "Look at the fleet" in html
    assert "fleet_status" in html
    assert "<p>It is well.</p>" in html
    assert f"/threads/{thread}/stream?after=" in html


async def test_a_message_sent_without_a_script_leads_back_to_its_conversation(
    ada: Browser,
) -> None:
    begun = await ada.post("/threads", text="What is wrong?")
    thread = begun.headers["location"]
    said = await ada.post(f"{thread}/messages", text="And the player?")
    html = (await ada.client.get(thread)).text

    assert (begun.status_code, said.status_code) == (303, 303)
    assert html.index("What is wrong?") < html.index("And the player?")
    assert "Waiting for the agent" in html
    assert '<noscript><meta http-equiv="refresh"' in html


async def test_a_message_sent_by_the_script_comes_back_as_one_new_line(ada: Browser) -> None:
    thread = (await ada.post("/threads", text="Hello")).headers["location"]
    answer = await ada.client.post(
        f"{thread}/messages", data={"csrf": ada.csrf, "text": "a\nb"}, headers=HTMX
    )

    assert answer.status_code == 200
    assert answer.text.count("<article") == 1
    assert 'hx-target=".chat:not(:has(#user-run-' in answer.text


async def test_an_empty_message_is_refused_on_the_page_it_was_sent_from(ada: Browser) -> None:
    thread = (await ada.post("/threads", text="Hello")).headers["location"]
    answer = await ada.client.post(
        f"{thread}/messages", data={"csrf": ada.csrf, "text": "  "}, headers=HTMX
    )

    assert answer.status_code == 422
    assert answer.headers["hx-retarget"] == "#notices"
    assert "message is empty" in answer.text


async def test_a_question_stands_in_its_conversation_with_the_plans_change(
    ada: Browser,
    desk: Desk,
    worker: StandInWorker,
    tenant_db: Database,
    caller: Caller,
    clock: FakeClock,
) -> None:
    thread = await say(tenant_db, caller, clock, "turn dial a")
    proposed = await desk.propose(thread_id=thread)
    assert proposed.approval_id
    await worker.ask(proposed.approval_id)

    html = (await ada.client.get(f"/threads/{thread}")).text

    card = f'id="approval-{proposed.approval_id}"'
    assert html.count(card) == 1
    assert f"side-approval-{proposed.approval_id}" not in html
    assert 'value="approve"' in html
    assert '<span class="hidden-text">comes: </span>' in html
    assert "Expires" in html


async def test_a_question_is_answered_by_a_plain_form(ada: Browser, desk: Desk) -> None:
    proposed = await desk.propose()
    page = await ada.client.get(f"/approvals/{proposed.approval_id}")
    digest = re.search(r'name="digest" value="([0-9a-f]{64})"', page.text)
    assert digest is not None

    answer = await ada.post(
        f"/approvals/{proposed.approval_id}/decision",
        decision="approve",
        digest=digest[1],
        back=f"/approvals/{proposed.approval_id}",
    )
    after = await ada.client.get(answer.headers["location"])

    assert answer.status_code == 303
    assert "Approved" in after.text
    assert 'value="approve"' not in after.text
    assert len(await desk.gatekeeper.ready("agents")) == 1


async def test_answering_twice_shows_why_not_and_permits_nothing_more(
    ada: Browser, bert: Browser, desk: Desk
) -> None:
    proposed = await desk.propose()
    approval = (await ada.client.get(f"/api/approvals/{proposed.approval_id}")).json()
    path = f"/approvals/{proposed.approval_id}/decision"
    form = {"decision": "approve", "digest": approval["digest"], "place": "page"}

    first = await ada.client.post(path, data={**form, "csrf": ada.csrf}, headers=HTMX)
    second = await bert.client.post(path, data={**form, "csrf": bert.csrf}, headers=HTMX)

    assert first.status_code == 200
    assert "Approved" in first.text
    assert second.status_code == 409
    assert "approved already" in second.text


async def test_a_settled_card_stops_asking_for_itself(ada: Browser, desk: Desk) -> None:
    proposed = await desk.propose()
    path = f"/approvals/{proposed.approval_id}/card?place=page"
    before = await ada.client.get(path)
    await desk.decide(proposed.approval_id, "deny")

    after = await ada.client.get(path)

    assert "hx-reswap" not in before.headers
    assert after.headers["hx-reswap"] == "outerHTML"
    assert "every 2s" not in after.text


async def test_what_waits_for_a_decision_is_counted_on_every_page(ada: Browser, desk: Desk) -> None:
    await desk.propose()

    html = (await ada.client.get("/audit")).text
    pulse = (await ada.client.get("/pulse", headers=HTMX)).text

    assert "1<span" in html
    assert "waiting for a decision" in html
    assert "waiting for a decision" in pulse


async def test_the_fleet_page_shows_services_before_the_healer_looked(ada: Browser) -> None:
    html = (await ada.client.get("/fleet")).text

    assert "Autonomy is earned" in html
    assert "Course catalog" in html
    assert "The academy itself" in html
    assert "Unknown" in html


async def test_no_incidents_say_how_to_see_one(ada: Browser) -> None:
    html = (await ada.client.get("/incidents")).text

    assert "Nothing is wrong" in html
    assert "academy break catalog hang" in html


async def test_the_audit_page_checks_the_signed_head(
    app: FastAPI, ada: Browser, desk: Desk, control_db: Database, clock: FakeClock
) -> None:
    paths = app.state.services.settings.paths
    private, public = new_key_pair()
    (paths.keys / "audit.pub").write_bytes(public)
    heads = paths.audit / f"{control_db.name}.heads.jsonl"
    unsigned = (await ada.client.get("/audit")).text
    await desk.propose()
    async with control_db.unit_of_work() as session:
        await sign_head(session, private, heads, clock.now())
    signed = (await ada.client.get("/audit")).text
    other_private, _ = new_key_pair()
    heads.unlink()
    async with control_db.unit_of_work() as session:
        await sign_head(session, other_private, heads, clock.now())
    forged = (await ada.client.get("/audit")).text

    assert "No head has been signed yet" in unsigned
    assert "The last signed head matches row" in signed
    assert "was not signed with this academy" in forged


async def test_an_audit_row_opens_to_its_whole_content(ada: Browser, desk: Desk) -> None:
    await desk.propose()

    html = (await ada.client.get("/audit?kind=approval.")).text

    assert "<details>" in html
    assert '"digest": "' in html
    assert "Approval asked" in html
    assert "Session opened" not in html


async def test_a_learner_sees_the_chat_and_nothing_of_the_fleet(lea: Browser, desk: Desk) -> None:
    await desk.propose()

    html = (await lea.client.get("/")).text

    assert "Talk to the academy" in html
    assert "Waiting for you" not in html


async def test_an_error_page_says_what_to_do_and_keeps_the_frame(ada: Browser) -> None:
    answer = await ada.client.get("/incidents/inc-none")

    assert answer.status_code == 404
    assert "There is no incident inc-none" in answer.text
    assert "Go to the start page" in answer.text
    assert "Database down" not in answer.text


async def test_a_page_asked_for_by_a_signed_out_script_leads_to_sign_in(
    app: FastAPI, tenant_db: Database
) -> None:
    async with client_of(app, cookie="stale") as client:
        answer = await client.get("/fleet/now", headers=HTMX)

    assert answer.status_code == 401
    assert answer.headers["hx-redirect"] == "/signin"
    assert COOKIE not in answer.cookies
