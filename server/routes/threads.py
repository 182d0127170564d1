"""Conversations for programs: threads, messages, and their events as AG-UI over SSE."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import StreamingResponse

from graphs import threads
from graphs.threads import MESSAGE_CHARACTERS, ThreadView
from server.auth import Member, ServicesDep
from server.problems import declared
from server.streams import Batch, ag_ui, follow, resume_point, stream

router = APIRouter(prefix="/api", tags=["threads"])

ThreadId = Annotated[str, Path(examples=["thr-7k2m9qh4xw3c"], max_length=64)]

EVENT_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": (
            "AG-UI events (RUN_STARTED, TEXT_MESSAGE_*, TOOL_CALL_*, STATE_SNAPSHOT, "
            "RUN_FINISHED, RUN_ERROR); each event's id is its number in the thread. The event that "
            "ends a run tells in `usage` what its models read and wrote."
        ),
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": (
                    'id: 12\ndata: {"type":"TEXT_MESSAGE_CONTENT","messageId":"m1",'
                    '"delta":"catalog-1 is "}\n\n'
                ),
            }
        },
    }
}


class ThreadList(BaseModel):
    """The caller's conversations, the one touched last first."""

    threads: list[ThreadView]


class NewMessage(BaseModel):
    """What a person says."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"text": "What is wrong?"}]}
    )

    text: str = Field(min_length=1, max_length=MESSAGE_CHARACTERS)


@router.get("/threads", summary="My conversations", responses=declared())
async def list_threads(
    services: ServicesDep,
    visitor: Member,
    limit: Annotated[int, Query(ge=1, le=200)] = 30,
) -> ThreadList:
    """Without their messages."""
    database = await services.tenant_database(visitor.caller.tenant_id)
    async with database.unit_of_work() as session:
        found = await threads.list_threads(session, visitor.caller, limit=limit)
    return ThreadList(threads=found)


@router.post("/threads", summary="Begin a conversation", status_code=201, responses=declared())
async def create_thread(services: ServicesDep, visitor: Member) -> ThreadView:
    """Empty; its title comes with the first message."""
    database = await services.tenant_database(visitor.caller.tenant_id)
    async with database.unit_of_work() as session:
        return await threads.create_thread(session, visitor.caller, clock=services.clock)


@router.get("/threads/{thread_id}", summary="One conversation", responses=declared(404))
async def get_thread(services: ServicesDep, visitor: Member, thread_id: ThreadId) -> ThreadView:
    """With its messages, its newest turn and the number of its last event."""
    database = await services.tenant_database(visitor.caller.tenant_id)
    async with database.unit_of_work() as session:
        return await threads.get_thread(session, visitor.caller, thread_id)


async def as_ag_ui(batch: Batch) -> bytes:
    """A batch of events, each in AG-UI's form."""
    return b"".join(ag_ui(event) for event in batch)


@router.post(
    "/threads/{thread_id}/messages",
    summary="Say something and follow the answer",
    response_class=StreamingResponse,
    responses={**EVENT_STREAM, **declared(404, 409)},
)
async def post_message(
    services: ServicesDep,
    visitor: Member,
    thread_id: ThreadId,
    body: NewMessage,
    idempotency_key: Annotated[
        str | None,
        Header(max_length=64, description="Sent again with the same key, nothing is said twice."),
    ] = None,
) -> StreamingResponse:
    """Streams this turn until it ends or waits for a person.

    Waiting is `RUN_FINISHED` with outcome `interrupt`. The run goes on when the stream breaks:
    follow it under `/events`. The header `x-run-id` names the run.
    """
    database = await services.tenant_database(visitor.caller.tenant_id)
    async with database.unit_of_work() as session:
        before = (await threads.get_thread(session, visitor.caller, thread_id, messages=1)).last_seq
        run = await threads.post_message(
            session, visitor.caller, thread_id, body.text, services.clock, key=idempotency_key
        )
        begun = await threads.first_event(session, visitor.caller, run.id)
        if begun is not None:  # sent before: the whole of its answer
            before = begun - 1
    return stream(
        services,
        follow(services, visitor.caller, thread_id, before),
        as_ag_ui,
        until_run=run.id,
        headers={"x-run-id": run.id},
    )


@router.get(
    "/threads/{thread_id}/events",
    summary="Follow a conversation",
    response_class=StreamingResponse,
    responses={**EVENT_STREAM, **declared(404)},
)
async def events(
    services: ServicesDep,
    visitor: Member,
    thread_id: ThreadId,
    last_event_id: Annotated[str | None, Header(description="The last event seen.")] = None,
    after: Annotated[int, Query(ge=0, description="Without `Last-Event-ID`: where to begin.")] = 0,
    end: Annotated[
        Literal["never", "stored"],
        Query(description="`stored`: send what is stored, then end."),
    ] = "never",
    run: Annotated[str | None, Query(description="End when this run ends.")] = None,
) -> StreamingResponse:
    """Replays everything after `Last-Event-ID`, then follows."""
    database = await services.tenant_database(visitor.caller.tenant_id)
    async with database.unit_of_work() as session:
        await threads.get_thread(session, visitor.caller, thread_id, messages=1)
        if run is not None:
            state = (await threads.get_run(session, visitor.caller, run)).state
            end = end if state in ("queued", "running") else "stored"
    start = resume_point(last_event_id, after)
    batches = follow(services, visitor.caller, thread_id, start, first_batch_ends=end == "stored")
    return stream(services, batches, as_ag_ui, until_run=run)
