"""Sign-in links, the session, the password and API keys, for programs."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from server.auth import COOKIE, Member, Operator, ServicesDep, is_https, session_key
from server.problems import declared
from tools.identity import service as identity
from tools.identity.schemas import KeyView
from tools.kit.deps import Role
from tools.kit.errors import Invalid

router = APIRouter(prefix="/api", tags=["identity"])

KeyId = Annotated[str, Path(examples=["key-7k2m9qh4xw3c"], max_length=64)]


class LinkRequest(BaseModel):
    """For whom a one-time link is made, and for how long."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"minutes": 15}]})

    person_id: str | None = None
    """Without it the link is for whoever asks."""
    minutes: int = Field(default=15, ge=1, le=1440)


class Link(BaseModel):
    """A one-time sign-in link, shown this once."""

    url: str = Field(examples=["http://localhost:8400/signin/abc"])
    expires_at: datetime


class SessionView(BaseModel):
    """Who is asking, as the academy sees them."""

    person_id: str | None
    name: str
    tenant: str = Field(examples=["Dynasty Academy"])
    roles: list[Role]
    fleet: bool
    """Whether they may see and act on the fleet."""
    via: Literal["session", "key", "engine"]
    csrf: str | None
    """Send it as `X-CSRF-Token` with each request that changes something; null for a key."""


class Credentials(BaseModel):
    """The e-mail and password to sign in with from now on."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"email": "ada@example.org", "password": "correct horse battery"}]
        },
    )

    email: str = Field(max_length=320)
    password: str = Field(max_length=1024)
    """At least twelve characters."""


class KeyRequest(BaseModel):
    """What a new key is for."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "nightly report", "days": 90}]}
    )

    name: str = Field(min_length=1, max_length=80)
    days: int | None = Field(default=None, ge=1, le=3650)
    """Until when it is good; without it, until it is revoked."""


class NewKey(BaseModel):
    """A key, shown this once; the academy keeps its digest only."""

    token: str = Field(examples=["dak_..."])
    name: str


class KeyList(BaseModel):
    """The caller's keys, without their secrets."""

    keys: list[KeyView]


@router.post(
    "/signin-links",
    summary="Make a one-time sign-in link",
    status_code=201,
    responses=declared(404),
)
async def make_link(
    request: Request, services: ServicesDep, visitor: Operator, body: LinkRequest
) -> Link:
    """For the caller's own person, or for another one by id."""
    person_id = body.person_id or visitor.caller.person_id
    if person_id is None:
        raise Invalid("Name the person the link is for: this key belongs to no person.")
    async with services.databases.control.unit_of_work() as session:
        token = await identity.issue_link(
            session,
            person_id,
            minutes=body.minutes,
            clock=services.clock,
            caller=visitor.caller,
        )
    scheme = "https" if is_https(request) else "http"
    return Link(
        url=f"{scheme}://{request.headers['host']}/signin/{token}",
        expires_at=services.clock.now() + timedelta(minutes=body.minutes),
    )


@router.get("/session", summary="Who am I?", responses=declared())
async def session_now(visitor: Member) -> SessionView:
    """The caller, the tenant and the token that protects changes."""
    caller = visitor.caller
    return SessionView(
        person_id=caller.person_id,
        name=caller.name,
        tenant=visitor.tenant.name,
        roles=sorted(caller.roles),
        fleet=caller.may_fleet,
        via=caller.via,
        csrf=visitor.csrf,
    )


@router.delete("/session", summary="Sign out", status_code=204, responses=declared())
async def sign_out(request: Request, services: ServicesDep, visitor: Member) -> Response:
    """Ends the session of the cookie; a key is revoked under `/api/keys` instead."""
    token = request.cookies.get(COOKIE)
    if visitor.caller.via != "session" or not token:
        raise Invalid("There is no session to end: this request carries a key.")
    async with services.databases.control.unit_of_work() as session:
        await identity.close_session(session, visitor.caller, token, services.clock)
    services.recent.forget(session_key(token))
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path="/")
    return response


@router.put(
    "/password", summary="Set e-mail and password", status_code=204, responses=declared(409)
)
async def set_password(
    request: Request, services: ServicesDep, visitor: Member, body: Credentials
) -> Response:
    """For the person of this browser session; their other sessions end."""
    async with services.databases.control.unit_of_work() as session:
        await identity.set_password(
            session,
            visitor.caller,
            body.email,
            body.password,
            clock=services.clock,
            keep_session=request.cookies.get(COOKIE),
        )
    return Response(status_code=204)


@router.get("/keys", summary="My API keys", responses=declared())
async def keys(services: ServicesDep, visitor: Member) -> KeyList:
    """Names, dates and last use; never the secret."""
    async with services.databases.control.unit_of_work() as session:
        return KeyList(keys=await identity.list_keys(session, visitor.caller))


@router.post("/keys", summary="Make an API key", status_code=201, responses=declared())
async def make_key(services: ServicesDep, visitor: Member, body: KeyRequest) -> NewKey:
    """The only time its secret is shown."""
    async with services.databases.control.unit_of_work() as session:
        token = await identity.issue_key(
            session, visitor.caller, body.name, days=body.days, clock=services.clock
        )
    return NewKey(token=token, name=body.name)


@router.delete(
    "/keys/{key_id}", summary="Revoke an API key", status_code=204, responses=declared(404)
)
async def revoke_key(services: ServicesDep, visitor: Member, key_id: KeyId) -> Response:
    """It stops working at once."""
    async with services.databases.control.unit_of_work() as session:
        await identity.revoke_key(session, visitor.caller, key_id, clock=services.clock)
    return Response(status_code=204)
