"""Who gets in, who stays out, and what a forged request meets."""

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from memory.database import Database
from memory.tables.identity import ApiKey, Person
from server.app import ROUTERS
from server.auth import COOKIE, Allowed
from server.openapi import access_of
from tests.fakes.clock import FakeClock
from tests.fakes.embedded import TENANT_ID
from tests.fakes.people import PASSWORD, add_person, add_tenant, signed_in
from tests.server.conftest import Browser, client_of
from tools.identity import service as identity
from tools.kit.deps import Caller


async def link_for(control: Database, clock: FakeClock, person: Person) -> str:
    async with control.unit_of_work() as session:
        return await identity.issue_link(session, person.id, clock=clock)


@pytest.fixture
async def link(control_db: Database, tenant_db: Database, clock: FakeClock) -> str:
    person = await add_person(control_db, clock, "grace", **{TENANT_ID: "staff"})
    return await link_for(control_db, clock, person)


def routes_of() -> list[APIRoute]:
    return [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]


def test_every_route_declares_who_may_pass() -> None:
    """A route without a declaration would be open to everybody without anybody deciding so."""
    undeclared = [route.path for route in routes_of() if access_of(route) is None]

    assert len(routes_of()) > 40
    assert undeclared == []


def test_no_route_escapes_the_routers(app: FastAPI) -> None:
    """What is added to the application itself would not be looked at by the test above."""
    direct = {path for route in app.routes if (path := getattr(route, "path", None))}

    assert direct == {"/openapi.json"}


def test_only_sign_in_and_probes_are_open() -> None:
    opened = {route.path for route in routes_of() if not isinstance(access_of(route), Allowed)}

    assert opened == {
        "/healthz", "/readyz", "/metrics", "/static/{path:path}", "/theme.css", "/favicon.ico",
        "/signin", "/signin/{token}",
    }  # fmt: skip


async def test_every_page_leads_an_anonymous_person_to_sign_in(
    anyone: httpx2.AsyncClient, tenant_db: Database
) -> None:
    pages = [
        route.path.replace("{", "").replace("}", "")
        for route in routes_of()
        if "GET" in route.methods
        and not route.path.startswith(("/api", "/v1"))
        and isinstance(access_of(route), Allowed)
    ]
    assert len(pages) > 10
    for page in pages:
        answer = await anyone.get(page)
        assert answer.status_code == 303, page
        assert answer.headers["location"].startswith("/signin"), page


async def test_every_api_route_answers_an_anonymous_program_401(
    anyone: httpx2.AsyncClient, tenant_db: Database
) -> None:
    for route in routes_of():
        if route.path.startswith("/api/"):
            method = next(iter(route.methods))
            path = route.path.replace("{", "").replace("}", "")
            answer = await anyone.request(method, path, json={})
            assert answer.status_code == 401, (method, path, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"


async def test_a_link_preview_does_not_use_the_link_up(
    anyone: httpx2.AsyncClient, link: str
) -> None:
    for _ in range(3):
        preview = await anyone.get(f"/signin/{link}")
        assert preview.status_code == 200
        assert COOKIE not in preview.cookies

    answer = await anyone.post(f"/signin/{link}")

    assert answer.status_code == 303
    assert answer.cookies[COOKIE]


async def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(
    anyone: httpx2.AsyncClient, link: str
) -> None:
    answer = await anyone.post(f"/signin/{link}")

    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "secure" not in cookie


async def test_the_session_cookie_is_secure_where_the_connection_is(
    anyone: httpx2.AsyncClient, link: str
) -> None:
    answer = await anyone.post(f"/signin/{link}", headers={"x-forwarded-proto": "https"})

    assert "secure" in answer.headers["set-cookie"].lower()


async def test_a_link_works_once(anyone: httpx2.AsyncClient, app: FastAPI, link: str) -> None:
    await anyone.post(f"/signin/{link}")
    async with client_of(app) as somebody:
        again = await somebody.post(f"/signin/{link}")

    assert again.status_code == 403
    assert "has been used" in again.text
    assert COOKIE not in again.cookies


async def test_a_sign_in_from_another_site_is_refused(
    anyone: httpx2.AsyncClient, link: str
) -> None:
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        answer = await anyone.post(f"/signin/{link}", headers=headers)
        assert answer.status_code == 403
        assert COOKIE not in answer.cookies


async def test_a_password_set_on_the_account_page_signs_in(
    app: FastAPI, ada: Browser, anyone: httpx2.AsyncClient
) -> None:
    saved = await ada.post("/account/password", email="ada@example.org", password=PASSWORD)
    assert saved.status_code == 303

    answer = await anyone.post(
        "/signin", data={"email": "ada@example.org", "password": PASSWORD, "next": "/fleet"}
    )

    assert answer.status_code == 303
    assert answer.headers["location"] == "/fleet"
    assert (await anyone.get("/fleet")).status_code == 200


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "/\\evil.example"])
async def test_signing_in_never_leads_to_another_site(
    ada: Browser, anyone: httpx2.AsyncClient, target: str
) -> None:
    await ada.post("/account/password", email="ada@example.org", password=PASSWORD)

    answer = await anyone.post(
        "/signin", data={"email": "ada@example.org", "password": PASSWORD, "next": target}
    )

    assert answer.headers["location"] == "/"


async def test_a_short_password_is_refused_with_the_rule(ada: Browser) -> None:
    answer = await ada.post("/account/password", email="ada@example.org", password="short")

    assert answer.status_code == 422
    assert "at least 12 characters" in answer.text


async def test_guessing_passwords_is_answered_429_with_a_time(anyone: httpx2.AsyncClient) -> None:
    form = {"email": "ada@example.org", "password": "wrong password"}
    for _ in range(5):
        assert (await anyone.post("/signin", data=form)).status_code == 403

    answer = await anyone.post("/signin", data=form)

    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 900
    assert "Too many failed sign-ins" in answer.text


async def test_signing_out_ends_the_session(ada: Browser) -> None:
    token = ada.client.cookies[COOKIE]
    await ada.post("/signout")
    ada.client.cookies.set(COOKIE, token)

    assert (await ada.client.get("/fleet")).status_code == 303


async def test_a_form_without_its_token_changes_nothing(ada: Browser, control_db: Database) -> None:
    answer = await ada.client.post("/account/keys", data={"name": "stolen"})

    assert answer.status_code == 403
    assert "protection token" in answer.text
    async with control_db.unit_of_work() as session:
        assert await identity.list_keys(session, caller_of(ada)) == []


async def test_a_form_with_another_sessions_token_changes_nothing(
    ada: Browser, bert: Browser, control_db: Database
) -> None:
    answer = await ada.client.post("/account/keys", data={"name": "x", "csrf": bert.csrf})

    assert answer.status_code == 403


async def test_the_token_may_come_in_a_header(ada: Browser) -> None:
    answer = await ada.client.post(
        "/api/keys", json={"name": "report"}, headers={"x-csrf-token": ada.csrf}
    )

    assert answer.status_code == 201


async def test_a_request_another_site_sent_is_refused_even_with_the_token(ada: Browser) -> None:
    answer = await ada.client.post(
        "/api/keys",
        json={"name": "report"},
        headers={"x-csrf-token": ada.csrf, "origin": "http://evil.localhost"},
    )

    assert answer.status_code == 403


async def test_an_unknown_host_is_answered_421(app: FastAPI, tenant_db: Database) -> None:
    async with client_of(app, base="http://other.example") as client:
        page = await client.get("/signin")
        api = await client.get("/api/fleet")

    assert (page.status_code, api.status_code) == (421, 421)
    assert api.json()["kind"] == "unknown_host"


async def test_a_session_of_another_tenant_opens_nothing_here(
    app: FastAPI, control_db: Database, tenant_db: Database, clock: FakeClock
) -> None:
    await add_tenant(control_db, clock, "other")
    person = await add_person(control_db, clock, "eve", ten_other="staff")
    token, _ = await signed_in(control_db, clock, person, "ten_other")

    async with client_of(app, cookie=token) as client:
        answer = await client.get("/fleet")

    assert answer.status_code == 303


async def test_a_key_works_until_it_is_revoked(ada: Browser, anyone: httpx2.AsyncClient) -> None:
    made = await ada.client.post(
        "/api/keys", json={"name": "report"}, headers={"x-csrf-token": ada.csrf}
    )
    bearer = {"authorization": f"Bearer {made.json()['token']}"}
    assert (await anyone.get("/api/session", headers=bearer)).json()["via"] == "key"

    key_id = (await ada.client.get("/api/keys")).json()["keys"][0]["id"]
    await ada.post(f"/account/keys/{key_id}/revoke")
    answer = await anyone.get("/api/session", headers=bearer)

    assert answer.status_code == 401
    assert "was revoked" in answer.json()["detail"]
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_new_key_is_shown_once_and_never_cached(ada: Browser, control_db: Database) -> None:
    made = await ada.post("/account/keys", name="report")
    again = await ada.client.get("/account")

    assert "dak_" in made.text
    assert made.headers["cache-control"] == "no-store"
    assert "dak_" not in again.text
    async with control_db.unit_of_work() as session:
        key = await session.get(ApiKey, (await identity.list_keys(session, caller_of(ada)))[0].id)
    assert key is not None
    assert key.token_hash not in made.text


async def test_a_learner_may_not_see_the_fleet(lea: Browser) -> None:
    page = await lea.client.get("/fleet")
    api = await lea.client.get("/api/fleet")

    assert (page.status_code, api.status_code) == (403, 403)
    assert api.json()["kind"] == "forbidden"


async def test_only_an_operator_makes_sign_in_links(ada: Browser) -> None:
    answer = await ada.client.post("/api/signin-links", json={}, headers={"x-csrf-token": ada.csrf})

    assert answer.status_code == 403


async def test_an_operators_key_makes_a_link_that_signs_in(
    app: FastAPI, anyone: httpx2.AsyncClient, control_db: Database, clock: FakeClock
) -> None:
    bearer = {"authorization": f"Bearer {await operator_key(control_db, clock)}"}

    made = await anyone.post("/api/signin-links", json={"minutes": 5}, headers=bearer)
    path = made.json()["url"].removeprefix("http://localhost")
    answer = await anyone.post(path)

    assert made.status_code == 201
    assert answer.status_code == 303
    assert answer.cookies[COOKIE]


async def operator_key(control: Database, clock: FakeClock) -> str:
    person = Person(
        id="per-op", email=None, name="Olga", password_hash=None, operator=True,
        created_at=clock.now(),
    )  # fmt: skip
    async with control.unit_of_work() as session:
        session.add(person)
        await session.flush()
        caller = Caller(
            tenant_id=TENANT_ID,
            tenant_slug="dynasty",
            person_id=person.id,
            name=person.name,
            roles=frozenset({"operator"}),
            fleet=True,
        )
        return await identity.issue_key(session, caller, "cli", clock=clock)


def caller_of(browser: Browser) -> Caller:
    return Caller(
        tenant_id=TENANT_ID,
        tenant_slug="dynasty",
        person_id=browser.person.id,
        name=browser.person.name,
        roles=frozenset({"staff"}),
        fleet=True,
    )
