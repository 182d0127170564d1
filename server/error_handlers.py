"""Every failure in the visitor's own form: problem details for programs, a page for people.

Nobody is shown a stack trace; an unexpected error is logged with the request's id, and the id is
what the visitor is given to quote.
"""

import math
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import quote

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse

from memory.errors import StoreError
from server import openai_errors
from server.auth import SignInRequired, UnknownHost
from server.openai_errors import Declined
from server.problems import STATUS_OF_KIND, problem_response
from server.web.errors import error_page, store_down_page
from tools.kit.errors import CapabilityError

log = structlog.get_logger("server")

API_PATHS = ("/api/", openai_errors.PATH, "/healthz", "/readyz", "/metrics")
UNKNOWN_HOST = (
    "No academy answers to this host name. Use the address the academy was started with, "
    "or a tenant's own."
)
STORE_DOWN = "The database can't be reached just now; nothing was changed. Try again in a moment."


def wants_problem(request: Request) -> bool:
    """Whether the answer goes to a program."""
    return request.url.path.startswith(API_PATHS)


def request_id(request: Request) -> str | None:
    """The request's id, as logged."""
    return getattr(request.state, "request_id", None)


def answer(
    request: Request,
    status: int,
    detail: str,
    *,
    kind: str,
    headers: dict[str, str] | None = None,
    members: Mapping[str, object] | None = None,
) -> Response:
    """One error in the form the visitor reads."""
    if request.url.path.startswith(openai_errors.PATH):
        return openai_errors.error_response(
            status, detail, code=kind, param=first_fault(members or {}), headers=headers
        )
    if wants_problem(request):
        return problem_response(
            status,
            detail,
            kind=kind,
            instance=request.url.path,
            request_id=request_id(request),
            headers=headers,
            members=members,
        )
    return error_page(request, status, detail, headers=headers)


def first_fault(members: Mapping[str, object]) -> str | None:
    """The first parameter among an error's *members* that doesn't fit, as `messages.0.role`."""
    faults = members.get("faults")
    if not isinstance(faults, list) or not faults:
        return None
    return str(faults[0]["where"]).removeprefix("body.")


async def on_declined(request: Request, error: Exception) -> Response:
    """The door of chat clients declined, in its own shape."""
    assert isinstance(error, Declined)
    return openai_errors.error_response(
        error.status, error.message, code=error.code, param=error.param, again=error.again
    )


async def on_capability_error(request: Request, error: Exception) -> Response:
    """A room declined: its kind becomes a status; `retry_after` (seconds) makes it a 429."""
    assert isinstance(error, CapabilityError)
    details = {k: v for k, v in error.details.items() if isinstance(v, str | int | float | bool)}
    wait = details.pop("retry_after", None)
    if isinstance(wait, int | float):
        headers = {"retry-after": str(math.ceil(wait))}
        return answer(
            request, 429, error.message, kind="too_many", headers=headers, members=details
        )
    status = STATUS_OF_KIND[error.kind]
    return answer(request, status, error.message, kind=error.kind, members=details)


async def on_sign_in_required(request: Request, error: Exception) -> Response:
    """Lead a person to the sign-in page and back afterwards; answer a program 401."""
    if wants_problem(request):
        detail = str(error) or "Sign in, or send an API key as `Authorization: Bearer dak_...`."
        headers = {"www-authenticate": 'Bearer realm="academy"'}
        return answer(request, 401, detail, kind="unauthenticated", headers=headers)
    target = "/signin"
    if request.method == "GET" and "hx-request" not in request.headers:
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        target = "/signin" if path == "/" else f"/signin?next={quote(path, safe='/')}"
    if "hx-request" in request.headers:
        return Response(status_code=401, headers={"hx-redirect": target})
    return RedirectResponse(target, status_code=303)


async def on_unknown_host(request: Request, error: Exception) -> Response:
    """No tenant has this host: 421, so that nobody is served as a tenant by accident."""
    return answer(request, 421, UNKNOWN_HOST, kind="unknown_host")


async def on_store_error(request: Request, error: Exception) -> Response:
    """The store is down: a person this replica knows sees the healer's own view of the fleet."""
    log.warning("store_unavailable", path=request.url.path, error=str(error))
    headers = {"retry-after": "3"}
    if wants_problem(request):
        return answer(request, 503, STORE_DOWN, kind="unavailable", headers=headers)
    return store_down_page(request, headers=headers)


async def on_invalid_request(request: Request, error: Exception) -> Response:
    """The request doesn't fit the declared shape: each fault with its place."""
    assert isinstance(error, RequestValidationError)
    faults = [
        {"where": ".".join(str(part) for part in fault["loc"]), "what": fault["msg"]}
        for fault in error.errors()
    ]
    detail = "; ".join(f"{fault['where']}: {fault['what']}" for fault in faults)
    if wants_problem(request):
        return answer(request, 422, detail, kind="invalid", members={"faults": faults})
    return error_page(request, 422, detail)


async def on_http_error(request: Request, error: Exception) -> Response:
    """What the framework itself refuses: unknown paths and wrong methods."""
    assert isinstance(error, HTTPException)
    detail = str(error.detail)
    if error.status_code == 404:
        detail = f"There is nothing at {request.url.path}."
    if error.status_code == 405:
        detail = f"{request.method} is not possible at {request.url.path}."
    kind = {404: "not_found", 405: "invalid"}.get(
        error.status_code, HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
    )
    headers = dict(error.headers) if error.headers else None
    return answer(request, error.status_code, detail, kind=kind, headers=headers)


async def on_unexpected(request: Request, error: Exception) -> Response:
    """A fault of ours: logged in full, answered with the id to quote (see `RequestContext`)."""
    log.error("unexpected_error", path=request.url.path, exc_info=error)
    quoted = request_id(request)
    detail = f"Something went wrong on our side. It is logged as request {quoted}."
    return answer(request, 500, detail, kind="internal")


def install(app: FastAPI) -> None:
    """Give *app* its one way to answer each kind of failure."""
    app.add_exception_handler(CapabilityError, on_capability_error)
    app.add_exception_handler(Declined, on_declined)
    app.add_exception_handler(SignInRequired, on_sign_in_required)
    app.add_exception_handler(UnknownHost, on_unknown_host)
    app.add_exception_handler(StoreError, on_store_error)
    app.add_exception_handler(RequestValidationError, on_invalid_request)
    app.add_exception_handler(HTTPException, on_http_error)
