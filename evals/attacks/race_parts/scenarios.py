"""One scenario for every route that changes something; a route without one fails the attack.

A scenario says how a good request comes about, what sending it again may do, and which requests are
too late for it. How a request is left without its guards, or with foreign ids, needs no saying.
"""

from typing import Any

from evals.attacks.race_parts.gate_scenarios import (
    deciding,
    freezing,
    releasing,
    running_a_suite,
    stopping_a_run,
    thawing,
    undoing,
)
from evals.attacks.race_parts.place import PASSWORD, Place
from evals.attacks.race_parts.requests import Shot
from evals.attacks.race_parts.scenario import PREAPPROVED, RESTART, Scenario, body
from memory.ids import new_id


def ending_a_session(route: str) -> Scenario:
    """Signing out."""
    method, _, path = route.partition(" ")

    async def prepare(place: Place) -> Shot:
        return Shot(method, path, await place.own_session("ada"))

    return Scenario(
        route=route, prepare=prepare, repeats="once", again=frozenset({401, 303, 204, 422})
    )


def setting_a_password(route: str) -> Scenario:
    """E-mail and password; sent again it is the same password, set again and recorded again."""
    method, _, path = route.partition(" ")

    async def prepare(place: Place) -> Shot:
        fields = {"email": "bert@example.org", "password": PASSWORD}
        return Shot(method, path, await place.own_session("bert"), **body(path, fields))

    async def taken(place: Place) -> tuple[Shot, int]:
        fields = {"email": await place.password("lea"), "password": PASSWORD}
        expected = 409 if path.startswith("/api/") else 422
        return Shot(method, path, place.sessions["ada"], **body(path, fields)), expected

    return Scenario(
        route=route, prepare=prepare, repeats="each", late={"somebody else's e-mail": taken}
    )


def making_a_key(path: str) -> Scenario:
    """A key each time, up to what one person may hold."""

    async def prepare(place: Place) -> Shot:
        return Shot("POST", path, place.sessions["ada"], **body(path, {"name": "attack"}))

    return Scenario(
        route=f"POST {path}", prepare=prepare, repeats="each", again=frozenset({403, 409, 422})
    )


def ending_a_key(method: str, template: str) -> Scenario:
    """Revoking a key; revoked again it stays so."""

    async def prepare(place: Place) -> Shot:
        path = template.replace("{key_id}", await place.key("bert"))
        return Shot(method, path, await place.own_session("bert"))

    return Scenario(
        route=f"{method} {template}",
        prepare=prepare,
        repeats="same",
        foreign=lambda place: place.key("eve"),
    )


async def new_link(place: Place) -> Shot:
    """An operator makes a link for themselves."""
    return Shot("POST", "/api/signin-links", place.sessions["olga"], json={"minutes": 5})


async def signing_in(place: Place) -> Shot:
    """E-mail and password on the form."""
    fields = {"email": await place.password("olga"), "password": PASSWORD}
    return Shot("POST", "/signin", form=fields)


async def wrong_password(place: Place) -> tuple[Shot, int]:
    """Somebody guesses."""
    fields = {"email": f"{new_id('who')}@example.org", "password": "not the password"}
    return Shot("POST", "/signin", form=fields), 403


async def using_a_link(place: Place) -> Shot:
    """The button behind a one-time link."""
    return Shot("POST", f"/signin/{await place.link('bert')}")


async def used_link(place: Place) -> tuple[Shot, int]:
    """A link somebody used."""
    shot = await using_a_link(place)
    await place.sender.send(shot)
    return shot, 403


async def api_thread(place: Place) -> Shot:
    """An empty conversation."""
    return Shot("POST", "/api/threads", place.sessions["ada"])


async def page_thread(place: Place) -> Shot:
    """A conversation with its first message, under the id its form chose."""
    fields = {"text": "What is wrong?", "key": new_id("thr")}
    return Shot("POST", "/threads", place.sessions["ada"], form=fields)


async def api_message(place: Place) -> Shot:
    """A message with an idempotency key."""
    path = f"/api/threads/{await place.thread('ada')}/messages"
    key = {"idempotency-key": new_id("msg")}
    return Shot("POST", path, place.sessions["ada"], json={"text": "What is wrong?"}, headers=key)


async def chat(place: Place) -> Shot:
    """A message of a chat client, sent again by its library under the same key."""
    fields = {
        "model": "academy",
        "stream": True,
        "messages": [{"role": "user", "content": f"What is wrong? {new_id('ask')}"}],
    }
    key = {"idempotency-key": new_id("msg")}
    return Shot("POST", "/v1/chat/completions", place.sessions["ada"], json=fields, headers=key)


async def page_message(place: Place) -> Shot:
    """A message with the key its form chose."""
    path = f"/threads/{await place.thread('ada')}/messages"
    fields = {"text": "What is wrong?", "key": new_id("msg")}
    return Shot("POST", path, place.sessions["ada"], form=fields)


def giving_in_advance(path: str) -> Scenario:
    """Approving a restart in advance, at the API or on the page."""

    def shot(place: Place) -> Shot:
        asked: dict[str, Any] = {"days": "3", "reason": "nights"}
        if path.startswith("/api/"):
            asked |= {"operation": RESTART, "target": PREAPPROVED, "days": 3}
        else:
            asked |= {"choice": f"{RESTART}|{PREAPPROVED}"}
        return Shot("POST", path, place.sessions["ada"], **body(path, asked))

    async def prepare(place: Place) -> Shot:
        await place.nothing_in_advance()
        return shot(place)

    async def given_before(place: Place) -> tuple[Shot, int]:
        await place.in_advance("bert", RESTART, PREAPPROVED)
        return shot(place), 409

    return Scenario(
        route=f"POST {path}",
        prepare=prepare,
        repeats="once",
        late={"one that stands": given_before},
        rival={"reason": "days"},
        fleet=True,
    )


def revoking_in_advance(prefix: str) -> Scenario:
    """Taking an approval in advance back."""

    def shot(place: Place, given: str) -> Shot:
        return Shot("POST", f"{prefix}/{given}/revoke", place.sessions["ada"])

    async def prepare(place: Place) -> Shot:
        return shot(place, await place.in_advance("ada", RESTART, PREAPPROVED))

    async def revoked(place: Place) -> tuple[Shot, int]:
        given = await place.in_advance("bert", RESTART, PREAPPROVED)
        await place.nothing_in_advance()
        return shot(place, given), 409

    return Scenario(
        route=f"POST {prefix}/{{approval_id}}/revoke",
        prepare=prepare,
        repeats="once",
        late={"one revoked before": revoked},
        foreign=lambda place: place.in_advance("eve", RESTART, PREAPPROVED),
        fleet=True,
    )


SCENARIOS = (
    *(giving_in_advance(path) for path in ("/api/standing-approvals", "/autonomy/standing")),
    *(revoking_in_advance(path) for path in ("/api/standing-approvals", "/autonomy/standing")),
    *(deciding(prefix) for prefix in ("/api", "")),
    *(undoing(prefix) for prefix in ("/api", "")),
    *(releasing(prefix) for prefix in ("/api", "")),
    freezing("/api/autonomy/{operation}/freeze"),
    freezing("/autonomy/operations/{operation}/freeze"),
    thawing("/api/autonomy/{operation}/thaw"),
    thawing("/autonomy/operations/{operation}/thaw"),
    running_a_suite("/api/evaluations"),
    running_a_suite("/autonomy/runs"),
    stopping_a_run("/api/evaluations"),
    stopping_a_run("/autonomy/runs"),
    ending_a_session("DELETE /api/session"),
    ending_a_session("POST /signout"),
    setting_a_password("PUT /api/password"),
    setting_a_password("POST /account/password"),
    making_a_key("/api/keys"),
    making_a_key("/account/keys"),
    ending_a_key("DELETE", "/api/keys/{key_id}"),
    ending_a_key("POST", "/account/keys/{key_id}/revoke"),
    Scenario("POST /api/signin-links", new_link, "each", fleet=True),
    Scenario(
        "POST /signin",
        signing_in,
        "each",
        late={"a wrong password": wrong_password},
        guarded=False,
        noise=frozenset({"signin_failure", "audit_entry"}),
    ),
    Scenario(
        "POST /signin/{token}",
        using_a_link,
        "once",
        again=frozenset({403}),
        late={"a used link": used_link},
        guarded=False,
        noise=frozenset({"audit_entry"}),
    ),
    Scenario("POST /v1/chat/completions", chat, "same"),
    Scenario("POST /api/threads", api_thread, "each"),
    Scenario("POST /threads", page_thread, "same"),
    Scenario(
        "POST /api/threads/{thread_id}/messages",
        api_message,
        "same",
        foreign=lambda place: place.thread("bert"),
    ),
    Scenario(
        "POST /threads/{thread_id}/messages",
        page_message,
        "same",
        foreign=lambda place: place.thread("bert"),
    ),
)
"""What is tried at each route, by method and path."""
