"""The command line as a client of the running academy's HTTP API."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2

from graphs.settings import Settings
from server.exits import Exit, Refusal
from server.processes.hold import announcement

TIMEOUT = httpx2.Timeout(30.0, connect=3.0)
EXIT_OF_STATUS = {
    400: Exit.INVALID,
    401: Exit.FORBIDDEN,
    403: Exit.FORBIDDEN,
    404: Exit.NOT_FOUND,
    409: Exit.CONFLICT,
    413: Exit.INVALID,
    422: Exit.INVALID,
    429: Exit.FORBIDDEN,
    502: Exit.UNAVAILABLE,
    503: Exit.UNAVAILABLE,
    504: Exit.UNAVAILABLE,
}


@dataclass(frozen=True)
class Event:
    """One event of a stream."""

    id: str
    data: dict[str, Any]


class Api:
    """Requests with the command line's own key; a failure is a `Refusal` that says what to do."""

    def __init__(self, settings: Settings) -> None:
        self._place = settings.paths.path
        found = announcement(settings.paths)
        if found is None:
            raise Refusal(
                Exit.NOT_RUNNING,
                f"No academy runs on {self._place}. Start it with `academy up`, or name another"
                " home with --home or ACADEMY_HOME.",
            )
        try:
            key = (settings.paths.keys / "cli.key").read_text().strip()
        except OSError as error:
            raise Refusal(
                Exit.FORBIDDEN,
                f"The command line's key {settings.paths.keys}/cli.key can't be read"
                f" ({error.strerror}): run this as the user who started the academy.",
            ) from None
        self._client = httpx2.Client(
            base_url=found.url,
            headers={"authorization": f"Bearer {key}"},
            timeout=TIMEOUT,
            trust_env=False,
        )

    def get(self, path: str, **query: Any) -> Any:
        """The JSON at *path*; query values that are None are left out."""
        return self._ask("GET", path, params={k: v for k, v in query.items() if v is not None})

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """The JSON answer to *body* at *path*."""
        return self._ask("POST", path, json=body or {})

    def stream(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, Any] | None = None,
        after: str | None = None,
    ) -> Iterator[Event]:
        """The events of a stream, until it ends; *after* is the id of the last one seen.

        Raises:
            Broken: the connection ended within the stream; ask again from the last id.
        """
        headers = {"accept": "text/event-stream"}
        if after is not None:
            headers["last-event-id"] = after
        quiet = httpx2.Timeout(60.0, connect=3.0)
        try:
            with self._client.stream(
                method, path, json=body, headers=headers, timeout=quiet
            ) as answer:
                if answer.status_code >= 400:
                    answer.read()
                    raise self._refusal(answer)
                yield from _events(answer.iter_lines())
        except httpx2.ConnectError:
            raise self._unreachable() from None
        except httpx2.TransportError as error:
            raise Broken(str(error)) from None

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        try:
            answer = self._client.request(method, path, **options)
        except httpx2.ConnectError:
            raise self._unreachable() from None
        except httpx2.TransportError as error:
            raise Refusal(
                Exit.UNAVAILABLE, f"The academy didn't answer: {error}. Try again, or see its logs."
            ) from None
        if answer.status_code >= 400:
            raise self._refusal(answer)
        return answer.json() if answer.content else None

    def _refusal(self, answer: httpx2.Response) -> Refusal:
        try:
            detail = str(answer.json()["detail"])
        except (ValueError, KeyError, TypeError):
            detail = f"the academy answered {answer.status_code} {answer.reason_phrase}"
        code = EXIT_OF_STATUS.get(answer.status_code, Exit.FAILED)
        if answer.status_code == 401:
            detail += " The key is renewed by the next `academy up`."
        return Refusal(code, detail)

    def _unreachable(self) -> Refusal:
        return Refusal(
            Exit.UNAVAILABLE,
            f"The academy of {self._place} doesn't answer at {self._client.base_url}. It may be"
            " starting or stopping; `academy status` shows its processes.",
        )


class Broken(Exception):
    """A stream's connection ended before the stream did."""


def _events(lines: Iterator[str]) -> Iterator[Event]:
    """Events of the lines of a server-sent event stream with JSON data."""
    identity, data = "", [""][:0]
    for line in lines:
        if not line:
            if data:
                yield Event(identity, json.loads("\n".join(data)))
            data = []
        elif line.startswith("id:"):
            identity = line[3:].strip()
        elif line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
