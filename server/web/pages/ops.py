"""Ops: talk to the agents, watch what they do, and decide what waits for a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Form, Header, Query, Request
from starlette.responses import RedirectResponse, Response

from graphs import threads
from graphs.threads import EventView, ThreadView
from memory.ids import new_id
from server.auth import Member, ServicesDep
from server.lifespan import Services
from server.streams import Batch, follow, message, resume_point, stream
from server.visitor import Visitor
from server.web.approval_cards import approvals_named, overview
from server.web.rendering import asked_by_htmx, fragment, frame_of, html
from server.web.transcript import MOST_EVENTS, Said, Transcript, key_of, said_by_person

router = APIRouter(include_in_schema=False)

EXAMPLES = (
    "What is wrong?",
    "How is the catalog doing?",
    "Restart the player",
    "Who approved the last action?",
)
"""What an empty conversation suggests; each is answered by what is there today."""
THREADS_LISTED = 20


@dataclass(frozen=True)
class Conversation:
    """One thread, its transcript and where its stream continues."""

    thread: ThreadView
    transcript: Transcript
    cut: bool
    """Whether older parts are left out."""


async def read_events(
    services: Services, visitor: Visitor, thread_id: str, first: int, last: int
) -> list[EventView]:
    """Events numbered from *first* to *last*, both included."""
    database = await services.tenant_database(visitor.caller.tenant_id)
    found: list[EventView] = []
    async with database.unit_of_work() as session:
        after = first - 1
        while after < last:
            batch = await threads.events_after(session, visitor.caller, thread_id, after, 1000)
            found += [event for event in batch if event.seq <= last]
            if not batch:
                break
            after = batch[-1].seq
    return found


async def read_thread(services: Services, visitor: Visitor, thread_id: str) -> ThreadView:
    """One of the visitor's threads."""
    database = await services.tenant_database(visitor.caller.tenant_id)
    async with database.unit_of_work() as session:
        return await threads.get_thread(session, visitor.caller, thread_id)


async def conversation(services: Services, visitor: Visitor, thread_id: str) -> Conversation:
    """One of the visitor's threads as its page shows it."""
    thread = await read_thread(services, visitor, thread_id)
    first = max(1, thread.last_seq - MOST_EVENTS)
    events = await read_events(services, visitor, thread_id, first, thread.last_seq)
    return Conversation(thread, Transcript.of(thread, events), cut=first > 1)


async def list_threads(services: Services, visitor: Visitor) -> list[ThreadView]:
    """The visitor's threads, the one touched last first."""
    database = await services.tenant_database(visitor.caller.tenant_id)
    async with database.unit_of_work() as session:
        return await threads.list_threads(session, visitor.caller, limit=THREADS_LISTED)


async def ops_page(
    request: Request, services: Services, visitor: Visitor, thread_id: str | None
) -> Response:
    """The whole page, with one thread open or none."""
    open_one = await conversation(services, visitor, thread_id) if thread_id else None
    questions = open_one.transcript.questions() if open_one else []
    return html(
        request,
        "ops.html",
        visitor=visitor,
        frame=await frame_of(request, visitor),
        area="ops",
        threads=await list_threads(services, visitor),
        open=open_one,
        approvals=await approvals_named(services, visitor, questions),
        overview=await overview(services, visitor, leave_out=thread_id),
        examples=EXAMPLES,
        next_key=new_id("msg"),
    )


@router.get("/")
async def start_page(request: Request, services: ServicesDep, visitor: Member) -> Response:
    """The conversation touched last, or an empty one."""
    latest = await list_threads(services, visitor)
    return await ops_page(request, services, visitor, latest[0].id if latest else None)


@router.get("/threads/new")
async def new_thread_page(request: Request, services: ServicesDep, visitor: Member) -> Response:
    """An empty conversation; it is stored with its first message."""
    return await ops_page(request, services, visitor, None)


@router.get("/threads/{thread_id}")
async def thread_page(
    request: Request, services: ServicesDep, visitor: Member, thread_id: str
) -> Response:
    """One conversation."""
    return await ops_page(request, services, visitor, thread_id)


@router.post("/threads")
async def begin_thread(
    request: Request,
    services: ServicesDep,
    visitor: Member,
    text: Annotated[str, Form()],
) -> Response:
    """Begin a conversation with its first message and lead to it."""
    database = await services.tenant_database(visitor.caller.tenant_id)
    async with database.unit_of_work() as session:
        thread = await threads.create_thread(session, visitor.caller, clock=services.clock)
        await threads.post_message(session, visitor.caller, thread.id, text, services.clock)
    target = f"/threads/{thread.id}"
    if asked_by_htmx(request):
        return Response(status_code=204, headers={"hx-redirect": target})
    return RedirectResponse(target, status_code=303)


@router.post("/threads/{thread_id}/messages")
async def post_message(
    request: Request,
    services: ServicesDep,
    visitor: Member,
    thread_id: str,
    text: Annotated[str, Form()],
    key: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """Say something; a script gets the new line of the transcript, a plain form the page."""
    database = await services.tenant_database(visitor.caller.tenant_id)
    async with database.unit_of_work() as session:
        run = await threads.post_message(
            session, visitor.caller, thread_id, text, services.clock, key=key or None
        )
    if not asked_by_htmx(request):
        return RedirectResponse(f"/threads/{thread_id}#end", status_code=303)
    said = said_by_person(run.id, text.strip(), run.created_at)
    return html(
        request, "parts/changes.html", visitor=visitor,
        items=[], queued=said, approvals={}, doing="Waiting for the agent", announce="", notice="",
        next_key=new_id("msg"),
    )  # fmt: skip


@router.get("/threads/{thread_id}/stream")
async def thread_stream(
    request: Request,
    services: ServicesDep,
    visitor: Member,
    thread_id: str,
    after: Annotated[int, Query(ge=0)] = 0,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """The transcript's changes as HTML, rendered from the same events as the API's stream.

    What was shown before *after* is reduced again first, so that a line that was half written
    when the stream broke goes on where it was.
    """
    start = resume_point(last_event_id, after)
    thread = await read_thread(services, visitor, thread_id)
    earlier = await read_events(services, visitor, thread_id, max(1, start - MOST_EVENTS), start)
    transcript = Transcript()
    transcript.know(thread.messages)
    for event in earlier:
        transcript.apply(event)

    async def render(batch: Batch) -> bytes:
        if transcript.misses(batch):
            transcript.know((await read_thread(services, visitor, thread_id)).messages)
        return await changes(request, services, visitor, transcript, batch)

    return stream(services, follow(services, visitor.caller, thread_id, start), render)


async def changes(
    request: Request,
    services: Services,
    visitor: Visitor,
    transcript: Transcript,
    batch: Sequence[EventView],
) -> bytes:
    """One message of the page's stream: each item the batch changed, whole."""
    touched: dict[str, Any] = {}
    finished: list[str] = []
    for event in batch:
        for key in transcript.apply(event):
            touched[key] = transcript.items[key]
        if event.type == "TEXT_MESSAGE_END":
            finished.append(key_of("said", str(event.data["messageId"])))
    spoken = [item.text for key in finished if isinstance(item := transcript.items[key], Said)]
    asked = [item.approval_id for item in touched.values() if item.kind == "question"]
    part = fragment(
        request,
        "parts/changes.html",
        visitor=visitor,
        items=list(touched.values()),
        queued=None,
        approvals=await approvals_named(services, visitor, asked),
        doing=transcript.doing,
        announce=" ".join(spoken),
        notice="A decision is needed." if asked else "",
        next_key="",
    )
    return message(part, id=batch[-1].seq)


@router.get("/attention")
async def attention(
    request: Request, services: ServicesDep, visitor: Member, thread: str | None = None
) -> Response:
    """What waits for a person and what is wrong, beside the conversation."""
    found = await overview(services, visitor, leave_out=thread)
    return html(request, "parts/attention.html", visitor=visitor, overview=found)
