"""What machines ask: is it alive, can it serve, what has it counted."""

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from memory.errors import StoreError
from server.auth import ServicesDep, SignInRequired, Unchecked, require, visitor_of
from server.problems import declared

router = APIRouter(tags=["probes"], dependencies=[Unchecked])

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PING_SECONDS = 0.5


class Alive(BaseModel):
    """The process answers."""

    replica: str = Field(examples=["web-1"])


class Ready(BaseModel):
    """Whether the proxy should send requests here."""

    replica: str = Field(examples=["web-1"])
    ready: bool
    store: str = Field(examples=["up"])
    """`up` or `down`; a replica without its store still serves the healer's local view."""


@router.get("/healthz", summary="Is the process alive?", response_model=Alive)
async def healthz(services: ServicesDep) -> Alive:
    """Always 200 while the process answers at all."""
    return Alive(replica=services.replica)


@router.get(
    "/readyz",
    summary="Should requests be sent here?",
    response_model=Ready,
    responses={503: {"model": Ready, "description": "Draining: it ends its work and leaves."}},
)
async def readyz(services: ServicesDep) -> Response:
    """503 while draining.

    A database that is down leaves the replica ready: every replica would be out otherwise, and
    nobody could see what the healer found.
    """
    try:
        await services.databases.control.ping(seconds=PING_SECONDS)
        store = "up"
    except StoreError:
        store = "down"
    draining = services.draining.is_set()
    body = Ready(replica=services.replica, ready=not draining, store=store)
    return JSONResponse(body.model_dump(), status_code=503 if draining else 200)


@router.get(
    "/metrics",
    summary="Counters of this replica",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}, **declared()},
)
async def metrics(request: Request, services: ServicesDep) -> Response:
    """Prometheus' text format: free on the replica's own port, for operators through the proxy."""
    if "x-forwarded-for" in request.headers:
        visitor = await visitor_of(request)
        if visitor is None:
            raise SignInRequired
        require(visitor.caller, "operator")
    return Response(services.metrics.text(), media_type=METRICS_TYPE)
