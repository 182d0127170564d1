"""One's own account: e-mail and password, API keys, signing out."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from server.auth import COOKIE, Member, ServicesDep
from server.lifespan import Services
from server.visitor import Visitor
from server.web.rendering import html
from server.web.surroundings import surroundings
from tools.identity import service as identity
from tools.kit.errors import CapabilityError

router = APIRouter(include_in_schema=False)


async def page(
    request: Request,
    services: Services,
    visitor: Visitor,
    *,
    status: int = 200,
    problem: str = "",
    done: str = "",
    new_key: str = "",
) -> Response:
    """The page, with what just happened."""
    async with services.databases.control.unit_of_work() as session:
        keys = await identity.list_keys(session, visitor.caller)
    return html(
        request, "account.html", status=status, visitor=visitor,
        frame=await surroundings(services, visitor), area="account",
        keys=keys, problem=problem, done=done, new_key=new_key,
    )  # fmt: skip


@router.get("/account")
async def account_page(request: Request, services: ServicesDep, visitor: Member) -> Response:
    """Who one is, how one signs in, and one's keys."""
    done = {"password": "E-mail and password are set.", "revoked": "The key is revoked."}
    return await page(
        request, services, visitor, done=done.get(request.query_params.get("done", ""), "")
    )


@router.post("/account/password")
async def set_password(
    request: Request,
    services: ServicesDep,
    visitor: Member,
    email: Annotated[str, Form(max_length=320)],
    password: Annotated[str, Form(max_length=1024)],
) -> Response:
    """Set the e-mail and password to sign in with from now on."""
    try:
        async with services.databases.control.unit_of_work() as session:
            await identity.set_password(
                session,
                visitor.caller,
                email,
                password,
                clock=services.clock,
                keep_session=request.cookies.get(COOKIE),
            )
    except CapabilityError as error:
        return await page(request, services, visitor, status=422, problem=error.message)
    return RedirectResponse("/account?done=password", status_code=303)


@router.post("/account/keys")
async def make_key(
    request: Request,
    services: ServicesDep,
    visitor: Member,
    name: Annotated[str, Form(max_length=80)],
) -> Response:
    """Make an API key; its secret is on this one answer and nowhere else."""
    try:
        async with services.databases.control.unit_of_work() as session:
            token = await identity.issue_key(session, visitor.caller, name, clock=services.clock)
    except CapabilityError as error:
        return await page(request, services, visitor, status=422, problem=error.message)
    return await page(request, services, visitor, new_key=token)


@router.post("/account/keys/{key_id}/revoke")
async def revoke_key(
    request: Request, services: ServicesDep, visitor: Member, key_id: str
) -> Response:
    """End a key at once."""
    async with services.databases.control.unit_of_work() as session:
        await identity.revoke_key(session, visitor.caller, key_id, clock=services.clock)
    return RedirectResponse("/account?done=revoked", status_code=303)
