"""Who may pass which door: every route declares an `Open` or an `Allowed`.

The tenant comes from the host name, the person from the session cookie or from an API key; never
from a body. A request that changes something on the strength of a cookie carries the session's
token (form field `csrf` or header `x-csrf-token`) and comes from our own pages; a key needs
neither, because no browser sends it by itself.
"""

import hashlib
import secrets
from typing import Annotated, Literal
from urllib.parse import urlsplit

from fastapi import Depends, Request
from starlette.datastructures import FormData, Headers

from server.lifespan import Services
from server.visitor import TenantFace, Visitor
from tools.identity import service as identity
from tools.kit.deps import Caller
from tools.kit.errors import CapabilityError, Forbidden

COOKIE = "academy_session"
CSRF_FIELD = "csrf"
CSRF_HEADER = "x-csrf-token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")

Who = Literal["member", "fleet", "operator"]


class SignInRequired(Exception):
    """Nobody is signed in: pages lead to the sign-in page, the API answers 401."""


class UnknownHost(Exception):
    """The host names no tenant of this academy."""


class ForgedRequest(Forbidden):
    """A request on the strength of a cookie that our own pages did not send."""


def services_of(request: Request) -> Services:
    """The replica's services."""
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(services_of)]


def host_of(request: Request) -> str:
    """The host asked for, as the request names it."""
    return request.headers.get("host", "").strip().lower()


def is_https(request: Request) -> bool:
    """Whether the visitor's own connection is encrypted, as the proxy in front says."""
    return request.headers.get("x-forwarded-proto", request.url.scheme) == "https"


def address_of(request: Request) -> str:
    """The visitor's address: what the proxy in front appended last, or the peer itself."""
    forwarded = request.headers.get("x-forwarded-for", "")
    if forwarded:
        return forwarded.rsplit(",", 1)[-1].strip()
    return request.client.host if request.client else "unknown"


def session_key(token: str) -> str:
    """Digest under which a session is remembered, so that no cookie lies about in memory."""
    return hashlib.sha256(token.encode()).hexdigest()


def bearer_token(headers: Headers) -> str | None:
    """The API key of the request, if it carries one."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


async def tenant_of(request: Request) -> TenantFace:
    """The tenant of the host that was asked.

    Raises:
        UnknownHost: no tenant answers to that host.
    """
    tenant = await services_of(request).tenant_of_host(host_of(request))
    if tenant is None:
        raise UnknownHost
    request.state.tenant = tenant
    return tenant


async def visitor_of(request: Request) -> Visitor | None:
    """Whoever this request proves to be: by key first, else by session; None for nobody.

    Raises:
        SignInRequired: the key is wrong, expired or revoked.
        UnknownHost: no tenant answers to the host.
        StoreUnavailable: the store is down; who was seen lately is in `request.state.recent`.
    """
    services = services_of(request)
    token = request.cookies.get(COOKIE)
    key = bearer_token(request.headers)
    if token and key is None:
        request.state.recent = services.recent.recall(session_key(token))
    tenant = await tenant_of(request)
    host = host_of(request)
    if key is not None:
        return await _visitor_by_key(services, tenant, key, host)
    if not token:
        return None
    try:
        async with services.databases.control.unit_of_work() as session:
            caller, csrf, info = await identity.resolve_session(
                session, token, host, services.clock
            )
    except CapabilityError:
        services.recent.forget(session_key(token))
        return None
    visitor = Visitor(caller=caller, tenant=tenant, csrf=csrf, session=info)
    services.recent.remember(session_key(token), visitor)
    request.state.visitor = visitor
    return visitor


async def _visitor_by_key(services: Services, tenant: TenantFace, key: str, host: str) -> Visitor:
    try:
        async with services.databases.control.unit_of_work() as session:
            caller = await identity.resolve_key(session, key, host, services.clock)
    except CapabilityError as error:
        raise SignInRequired(error.message) from error
    return Visitor(caller=caller, tenant=tenant)


def check_origin(request: Request) -> None:
    """Refuse an unsafe request that another site's page made the browser send.

    Raises:
        ForgedRequest: `Sec-Fetch-Site` or `Origin` names another site.
    """
    site = request.headers.get("sec-fetch-site")
    if site not in (None, "same-origin", "none"):
        raise ForgedRequest("This request came from another site; use the academy's own pages.")
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host_of(request):
        raise ForgedRequest("This request came from another site; use the academy's own pages.")


async def check_csrf(request: Request, expected: str) -> None:
    """Refuse an unsafe request that doesn't carry its session's token.

    Raises:
        ForgedRequest: the token is missing or another session's.
    """
    given: object = request.headers.get(CSRF_HEADER)
    if given is None and request.headers.get("content-type", "").startswith(FORM_TYPES):
        form: FormData = await request.form()
        given = form.get(CSRF_FIELD)
    if not isinstance(given, str) or not secrets.compare_digest(given.encode(), expected.encode()):
        raise ForgedRequest(
            "The form's protection token is missing or out of date; reload the page and try again."
        )


async def guard(request: Request, visitor: Visitor | None) -> None:
    """The checks of an unsafe request: origin always, the session's token where there is one."""
    if request.method in SAFE_METHODS or (visitor is not None and visitor.csrf is None):
        return
    check_origin(request)
    if visitor is not None and visitor.csrf is not None:
        await check_csrf(request, visitor.csrf)


class Open:
    """A door for everybody; who is signed in is known all the same, where somebody is."""

    who = "anyone"

    async def __call__(self, request: Request) -> Visitor | None:
        """The visitor, or None."""
        visitor = await visitor_of(request)
        await guard(request, visitor)
        return visitor


class Public:
    """A door that asks nothing of anybody: probes, static files, stylesheets."""

    who = "anyone"

    async def __call__(self) -> None:
        """Nothing to check."""


class Allowed:
    """A door for those who are signed in and may do what lies behind it."""

    def __init__(self, who: Who) -> None:
        self.who = who

    async def __call__(self, request: Request) -> Visitor:
        """The visitor.

        Raises:
            SignInRequired: nobody is signed in.
            Forbidden: the visitor lacks the role.
            ForgedRequest: an unsafe request without proof that our own page sent it.
        """
        visitor = await visitor_of(request)
        if visitor is None:
            raise SignInRequired
        await guard(request, visitor)
        require(visitor.caller, self.who)
        return visitor


def require(caller: Caller, who: Who) -> None:
    """Refuse a caller without the role.

    Raises:
        Forbidden: names the role that is missing.
    """
    if who == "fleet":
        caller.require_fleet()
    if who == "operator" and "operator" not in caller.roles:
        raise Forbidden("This is for operators of the academy.")


Access = Open | Public | Allowed

Anyone = Annotated[Visitor | None, Depends(Open())]
Member = Annotated[Visitor, Depends(Allowed("member"))]
FleetVisitor = Annotated[Visitor, Depends(Allowed("fleet"))]
Operator = Annotated[Visitor, Depends(Allowed("operator"))]
Unchecked = Depends(Public())
