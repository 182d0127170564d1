"""Ops: talk to the agents, watch what they do, and decide what waits for a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Form, Header, Query, Request
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import RedirectResponse, Response

from graphs import threads
from graphs.threads import EventView, ThreadView
from memory.ids import new_id
from server.auth import Member, ServicesDep
from server.lifespan import Services
from server.streams import Batch, follow, message, resume_point, stream
from server.visitor import Visitor
from server.web.approval_cards import approvals_named, overview
from server.web.rendering import asked_by_htmx, fragment, html
from server.web.surroundings import surroundings
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
EVENTS_READ = 1000
"""Events per query while a conversation is put together."""


@dataclass(frozen=True)
class Conversation:
    """One thread, its transcript and where its stream continues."""

    thread: ThreadView
    transcript: Transcript
    cut: bool
    """Whether older parts are left out."""


async def read_events(
    session: AsyncSession, visitor: Visitor, thread_id: str, first: int, last: int
) -> list[EventView]:
    """Events numbered from *first* to *last*, both included."""
    found: list[EventView] = []
    after = first - 1
    while after < last:
        batch = await threads.events_after(session, visitor.caller, thread_id, after, EVENTS_READ)
        found += [event for event in batch if event.seq <= last]
        if len(batch) < EVENTS_READ:
            break
        after = batch[-1].seq
    return found


async def conversation(session: AsyncSession, visitor: Visitor, thread_id: str) -> Conversation:
    """One of the visitor's threads as its page shows it."""
    thread = await threads.get_thread(session, visitor.caller, thread_id)
    first = max(1, thread.last_seq - MOST_EVENTS)
    events = await read_events(session, visitor, thread_id, first, thread.last_seq)
    return Conversation(thread, Transcript.of(thread, events), cut=first > 1)


async def ops_page(
    request: Request,
    services: Services,
    visitor: Visitor,
    *,
    thread_id: str | None = None,
    latest: bool = False,
) -> Response:
    """The whole page, with one thread open (*latest*: the one touched last) or none."""
    database = await services.tenant_database(visitor.caller.tenant_id)
    async with database.unit_of_work() as session:
        listed = await threads.list_threads(session, visitor.caller, limit=THREADS_LISTED)
        if latest and listed:
            thread_id = listed[0].id
        open_one = await conversation(session, visitor, thread_id) if thread_id else None
    questions = open_one.transcript.questions() if open_one else []
    around = await surroundings(services, visitor)
    return html(
        request,
        "ops.html",
        visitor=visitor,
        frame=around,
        area="ops",
        threads=listed,
        open=open_one,
        approvals=await approvals_named(services, visitor, questions),
        overview=overview(around, leave_out=thread_id),
        examples=EXAMPLES,
        next_key=new_id("msg" if open_one else "thr"),
    )


@router.get("/")
async def start_page(request: Request, services: ServicesDep, visitor: Member) -> Response:
    """The conversation touched last, or an empty one."""
    return await ops_page(request, services, visitor, latest=True)


@router.get("/threads/new")
async def new_thread_page(request: Request, services: ServicesDep, visitor: Member) -> Response:
    """An empty conversation; it is stored with its first message."""
    return await ops_page(request, services, visitor)


@router.get("/threads/{thread_id}")
async def thread_page(
    request: Request, services: ServicesDep, visitor: Member, thread_id: str
) -> Response:
    """One conversation."""
    return await ops_page(request, services, visitor, thread_id=thread_id)


@router.post("/threads")
async def begin_thread(
    request: Request,
    services: ServicesDep,
    visitor: Member,
    text: Annotated[str, Form()],
    key: Annotated[str, Form(pattern=r"^(thr-[a-z0-9]{12})?$")] = "",
) -> Response:
    """Begin a conversation with its first message and lead to it.

    *key* is the id its page chose for it: sent twice (a double click), it is begun once.
    """
    database = await services.tenant_database(visitor.caller.tenant_id)
    async with database.unit_of_work() as session:
        thread = await threads.create_thread(
            session, visitor.caller, clock=services.clock, thread_id=key or None
        )
        await threads.post_message(
            session, visitor.caller, thread.id, text, services.clock, key=key or None
        )
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
    database = await services.tenant_database(visitor.caller.tenant_id)
    async with database.unit_of_work() as session:
        thread = await threads.get_thread(session, visitor.caller, thread_id)
        first = max(1, start - MOST_EVENTS)
        earlier = await read_events(session, visitor, thread_id, first, start)
    transcript = Transcript()
    transcript.know(thread.messages)
    for event in earlier:
        transcript.apply(event)

    async def render(batch: Batch) -> bytes:
        if transcript.misses(batch):
            async with database.unit_of_work() as session:
                found = await threads.get_thread(session, visitor.caller, thread_id)
            transcript.know(found.messages)
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
    found = overview(await surroundings(services, visitor), leave_out=thread)
    return html(request, "parts/attention.html", visitor=visitor, overview=found)
