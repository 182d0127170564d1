"""Signing in and out: a one-time link or a password, and the session's cookie.

Opening a one-time link doesn't consume it, because mail scanners and chat previews open links too;
its page has one button, and the button does.
"""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from server.auth import (
    COOKIE,
    Anyone,
    Member,
    ServicesDep,
    address_of,
    is_https,
    session_key,
    tenant_of,
)
from server.web.rendering import html
from server.web.surroundings import NO_STORE
from tools.identity import service as identity
from tools.kit.errors import CapabilityError

router = APIRouter(include_in_schema=False)

COOKIE_SECONDS = 30 * 24 * 3600
"""How long a browser keeps the cookie; the session itself may end earlier on our side."""


def inner_path(target: str) -> str:
    """*target* where it is a path of our own, else the start page: no way out to other sites."""
    parts = urlsplit(target)
    own = not parts.scheme and not parts.netloc and target.startswith("/")
    return target if own and not target.startswith("//") and "\\" not in target else "/"


def set_session_cookie(request: Request, response: Response, token: str) -> None:
    """Give the browser its session: out of reach of scripts, and sent by our own pages only."""
    response.set_cookie(
        COOKIE,
        token,
        max_age=COOKIE_SECONDS,
        path="/",
        httponly=True,
        samesite="lax",
        secure=is_https(request),
    )


def begun(request: Request, token: str, target: str) -> Response:
    """Give the browser its new session and lead the person to *target*."""
    response = RedirectResponse(inner_path(target), status_code=303)
    set_session_cookie(request, response, token)
    return response


@router.get("/signin")
async def signin_page(
    request: Request,
    visitor: Anyone,
    next: str = "/",  # noqa: A002 - the parameter's public name
) -> Response:
    """The sign-in form; somebody signed in already is led on."""
    if visitor is not None:
        return RedirectResponse(inner_path(next), status_code=303)
    return form_page(request, next=next)


def form_page(
    request: Request,
    *,
    next: str = "/",  # noqa: A002 - the parameter's public name
    email: str = "",
    problem: str = "",
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    """The sign-in form, with what went wrong before."""
    return html(
        request, "signin.html", status=status, headers=headers,
        visitor=None, frame=NO_STORE, next=inner_path(next), email=email, problem=problem,
    )  # fmt: skip


@router.post("/signin")
async def sign_in(
    request: Request,
    services: ServicesDep,
    visitor: Anyone,
    email: Annotated[str, Form(max_length=320)],
    password: Annotated[str, Form(max_length=1024)],
    next: Annotated[str, Form()] = "/",  # noqa: A002 - the parameter's public name
) -> Response:
    """Check e-mail and password; a wrong one says so on the form, too many are told to wait.

    Signing in and the session are one step: nobody is recorded as in who was not let in.
    """
    tenant = await tenant_of(request)
    try:
        async with services.databases.control.unit_of_work() as session:
            person = await identity.sign_in(
                session, email, password, address_of(request), services.clock
            )
            token, _ = await identity.open_session(session, person, tenant.id, services.clock)
    except CapabilityError as error:
        wait = error.details.get("retry_after")
        headers = {"retry-after": str(int(wait))} if isinstance(wait, int | float) else None
        return form_page(
            request, next=next, email=email, problem=error.message,
            status=429 if headers else 403, headers=headers,
        )  # fmt: skip
    return begun(request, token, next)


@router.get("/signin/{token}")
async def link_page(request: Request, visitor: Anyone, token: str) -> Response:
    """One button that uses the link; opening this page leaves the link as it is."""
    return html(request, "signin_link.html", visitor=None, frame=NO_STORE, token=token)


@router.post("/signin/{token}")
async def use_link(
    request: Request, services: ServicesDep, visitor: Anyone, token: str
) -> Response:
    """Use the one-time link up and begin a session: both, or neither."""
    tenant = await tenant_of(request)
    try:
        async with services.databases.control.unit_of_work() as session:
            person = await identity.redeem_link(session, token, services.clock)
            opened, _ = await identity.open_session(session, person, tenant.id, services.clock)
    except CapabilityError as error:
        return form_page(request, problem=error.message, status=403)
    return begun(request, opened, "/")


@router.post("/signout")
async def sign_out(request: Request, services: ServicesDep, visitor: Member) -> Response:
    """End this browser's session, here and in the store."""
    token = request.cookies.get(COOKIE, "")
    async with services.databases.control.unit_of_work() as session:
        await identity.close_session(session, visitor.caller, token, services.clock)
    services.recent.forget(session_key(token))
    response = RedirectResponse("/signin", status_code=303)
    response.delete_cookie(COOKIE, path="/")
    return response
