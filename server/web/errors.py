"""Failures as pages: what happened, what was not changed, and where to go next."""

from http import HTTPStatus

from fastapi import Request
from starlette.responses import Response

from server.auth import services_of
from server.visitor import Visitor
from server.web.rendering import asked_by_htmx, html
from server.web.surroundings import NO_STORE, UNASKED
from tools.healing.local_store import read_fleet_view, read_incidents

HEADINGS = {
    403: "That isn't yours to do",
    404: "Nothing here",
    409: "That has changed meanwhile",
    413: "Too large",
    421: "Unknown address",
    422: "That doesn't fit",
    429: "Too many attempts",
    500: "Something went wrong on our side",
    503: "Not available just now",
}


def error_page(
    request: Request, status: int, detail: str, *, headers: dict[str, str] | None = None
) -> Response:
    """One error: a notice on the page for a script's request, else a page of its own."""
    heading = HEADINGS.get(status, HTTPStatus(status).phrase)
    if asked_by_htmx(request):
        placed = {"hx-retarget": "#notices", "hx-reswap": "innerHTML", **(headers or {})}
        return html(
            request, "parts/notice.html", status=status, headers=placed,
            tone="bad", heading=heading, detail=detail,
        )  # fmt: skip
    return html(
        request, "error.html", status=status, headers=headers,
        heading=heading, detail=detail, status_code=status,
        frame=NO_STORE if status == HTTPStatus.SERVICE_UNAVAILABLE else UNASKED,
    )  # fmt: skip


def store_down_page(request: Request, *, headers: dict[str, str] | None = None) -> Response:
    """The healer's own view of the fleet, for somebody this replica saw lately; else a sentence.

    Both look again by themselves: the next look may meet a database that is back, or the replica
    that knows the visitor. A page that refreshes parts of itself gets its notice and keeps what it
    shows.
    """
    detail = (
        "The academy's database is down. Nothing you decided is lost; the healer goes on looking "
        "and explaining, and acts again when the database is back."
    )
    visitor: Visitor | None = getattr(request.state, "recent", None)
    if asked_by_htmx(request) or visitor is None or not visitor.caller.may_fleet:
        again = {"refresh": "4"} if request.method == "GET" else {}
        return error_page(request, 503, detail, headers={**again, **(headers or {})})
    folder = services_of(request).settings.paths.healer
    return html(
        request, "store_down.html", status=503, headers=headers, visitor=visitor,
        detail=detail, frame=NO_STORE, fleet=read_fleet_view(folder),
        incidents=[i for i in read_incidents(folder) if i.closed_at is None],
    )  # fmt: skip
