"""One request that is ready to be sent, and how each guard of it is left out."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import httpx2

from evals.worlds.doors import COOKIE, CSRF_HEADER, Doors, Session

API = ("/api/", "/v1/")
"""Where programs knock; pages lead to the sign-in form instead of answering 401."""
ANSWER_SECONDS = 60.0


@dataclass(frozen=True)
class Shot:
    """A request with everything that makes it good."""

    method: str
    path: str
    session: Session | None = None
    json: Any = None
    form: Mapping[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    """Sent as it is, in place of `json` or `form`."""

    @property
    def api(self) -> bool:
        """Whether it goes to the API rather than to a page."""
        return self.path.startswith(API)

    def without_session(self) -> "Shot":
        """Nobody is signed in."""
        return replace(self, session=None)

    def with_token(self, token: str | None) -> "Shot":
        """The right cookie with another token, or with none."""
        assert self.session is not None
        cookie = {"cookie": f"{COOKIE}={self.session.cookie}"}
        given = {} if token is None else {CSRF_HEADER: token}
        return replace(self, session=None, headers={**self.headers, **cookie, **given})

    def from_elsewhere(self) -> "Shot":
        """All of it right, but sent by another site's page."""
        other = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
        return replace(self, headers={**self.headers, **other})


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    place: str
    """Where a redirect leads; empty for none."""
    text: str
    signed_out: bool = False
    """Whether it took the session's cookie away."""
    busy: bool = False
    """Whether it asks to come back later: 503 with `Retry-After`, and nothing done."""

    @property
    def accepted(self) -> bool:
        """Whether the request was taken: not refused, and not led to the sign-in form for it."""
        led_away = self.place.startswith("/signin") and not self.signed_out
        return self.status < 400 and not led_away


class Sender:
    """Sends shots to the replicas in turn."""

    def __init__(self, doors: Doors, client: httpx2.AsyncClient) -> None:
        self._doors = doors
        self._client = client
        self.sent = 0
        self.statuses: dict[int, int] = {}
        self.busy = 0

    async def send(self, shot: Shot, *, replica: int = 0) -> Answer:
        """Send one request to one replica; a stream is left as soon as it has begun."""
        self.sent += 1
        number = replica % len(self._doors.urls)
        headers = {"host": self._doors.host("ada", number), **shot.headers}
        if shot.session is not None:
            headers["host"] = self._doors.host(shot.session.person, number)
            headers |= shot.session.headers | dict(shot.headers)
        request = self._client.build_request(
            shot.method,
            f"{self._doors.urls[number]}{shot.path}",
            headers=headers,
            json=shot.json if shot.content is None else None,
            data=dict(shot.form) if shot.form is not None and shot.content is None else None,
            content=shot.content,
            timeout=ANSWER_SECONDS,
        )
        answer = await self._client.send(request, stream=True)
        try:
            streams = answer.headers.get("content-type", "").startswith("text/event-stream")
            body = "" if streams else (await answer.aread()).decode(errors="replace")
        finally:
            await answer.aclose()
        self.statuses[answer.status_code] = self.statuses.get(answer.status_code, 0) + 1
        gone = f'{COOKIE}=""' in answer.headers.get("set-cookie", "")
        busy = answer.status_code == 503 and "retry-after" in answer.headers
        self.busy += busy
        return Answer(answer.status_code, answer.headers.get("location", ""), body, gone, busy)

    async def at_once(self, shots: list[Shot]) -> list[Answer]:
        """All of *shots* at the same moment, the replicas in turn."""
        return list(
            await asyncio.gather(
                *(self.send(shot, replica=number) for number, shot in enumerate(shots))
            )
        )
