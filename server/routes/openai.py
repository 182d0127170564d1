"""The door for existing chat clients: models and chat completions as OpenAI's API has them.

A message goes the way of every message: it is queued, a worker answers it, and this replica tells
the run's events as one answer. Who asks, and what they may do, comes from the key alone.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from typing import Annotated, Any, TypeVar

import structlog
from fastapi import APIRouter, Header, Path, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from graphs import conversations
from graphs.conversations import Entered
from memory.errors import StoreError
from server.auth import Member, ServicesDep, host_of, is_https
from server.lifespan import Services
from server.openai_answer import Telling, answer, unfinished
from server.openai_errors import Declined, documented, error_body
from server.openai_models import OWNER, UNDATED, Offered, model_named, offered
from server.openai_protocol import ChatRequest, Completion, Head, Model, ModelList
from server.problems import STATUS_OF_KIND
from server.streams import message
from tools.kit.errors import CapabilityError

router = APIRouter(prefix="/v1", tags=["openai"])

log = structlog.get_logger(__name__)

T = TypeVar("T")

WHOLE_SECONDS = 50.0
"""Longest wait for an answer that isn't streamed: the proxy in front waits for 60 s."""
GONE = 499
"""Status logged for a client that left before its answer came."""
DONE = message("[DONE]")

COMPLETION: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer; with `stream: true` as chunks, the last one `[DONE]`.",
        "model": Completion,
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": (
                    'data: {"id":"chatcmpl-run-7k2m9qh4xw3c","object":"chat.completion.chunk",'
                    '"created":1795424400,"model":"academy","choices":[{"index":0,'
                    '"delta":{"content":"catalog-1 is "},"finish_reason":null}]}\n\n'
                    "data: [DONE]\n\n"
                ),
            }
        },
    }
}


def _model(one: Offered) -> Model:
    return Model(id=one.id, created=UNDATED, owned_by=OWNER)


@router.get("/models", summary="Models to choose from", responses=documented())
async def list_models(visitor: Member) -> ModelList:
    """`academy` routes each message; `academy-<specialist>` gives it to that specialist."""
    return ModelList(data=[_model(one) for one in offered()])


@router.get("/models/{model}", summary="One model", responses=documented(404))
async def get_model(
    visitor: Member, model: Annotated[str, Path(examples=["academy"], max_length=200)]
) -> Model:
    """A specialist that isn't ready yet is 404, and the message says what it will do."""
    return _model(model_named(model))


@router.post(
    "/chat/completions",
    summary="Say something to the academy",
    response_model=None,
    responses={**COMPLETION, **documented(400, 404, 409, 413, 502, 504)},
)
async def chat_completions(
    request: Request,
    services: ServicesDep,
    visitor: Member,
    body: ChatRequest,
    idempotency_key: Annotated[
        str | None,
        Header(max_length=64, description="Sent again with the same key, nothing is said twice."),
    ] = None,
    x_stainless_retry_count: Annotated[
        str | None,
        Header(max_length=10, description="How the official clients say that they send it again."),
    ] = None,
) -> Response:
    """Answers the last messages of the user; a conversation goes on where the academy knows it.

    System messages are read and not obeyed, tools of a client are refused, and a run that must
    ask a person ends with the question. The run goes on when the client leaves. The headers
    `x-run-id` and `x-thread-id` say where.
    """
    body.check()
    model = model_named(body.model)
    lines = body.lines()
    database = await services.tenant_database(visitor.caller.tenant_id)
    async with database.unit_of_work() as session:
        entered = await conversations.enter(
            session,
            visitor.caller,
            lines,
            clock=services.clock,
            specialist=model.specialist,
            key=idempotency_key,
            repeated=(x_stainless_retry_count or "0") != "0",
        )
    head = Head(
        id=f"chatcmpl-{entered.run.id}",
        created=int(services.clock.now().timestamp()),
        model=model.id,
    )
    telling = Telling(entered.run.id)
    origin = f"{'https' if is_https(request) else 'http'}://{host_of(request)}"
    words = answer(services, visitor.caller, entered, telling, origin=origin)
    if body.stream:
        counted = body.stream_options is not None and body.stream_options.include_usage
        return _streamed(services, words, head, telling, entered, counted=counted)
    return await _whole(request, words, head, telling, entered)


def _headers(entered: Entered) -> dict[str, str]:
    return {
        "cache-control": "no-store",
        "x-run-id": entered.run.id,
        "x-thread-id": entered.run.thread_id,
    }


async def _whole(
    request: Request,
    words: AsyncGenerator[str | None],
    head: Head,
    telling: Telling,
    entered: Entered,
) -> Response:
    async def said() -> str:
        return "".join([one async for one in words if one])

    try:
        async with asyncio.timeout(WHOLE_SECONDS):
            text = await unless_gone(request, said())
    except TimeoutError:
        raise unfinished() from None
    if text is None:
        log.info("client_left", run=entered.run.id)
        return Response(status_code=GONE)
    completion = head.completion(text, telling.usage)
    return JSONResponse(completion.model_dump(), headers=_headers(entered))


async def unless_gone(request: Request, work: Awaitable[T]) -> T | None:
    """What *work* answers; None when the client leaves first, and *work* is then ended."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


def _streamed(
    services: Services,
    words: AsyncGenerator[str | None],
    head: Head,
    telling: Telling,
    entered: Entered,
    *,
    counted: bool,
) -> StreamingResponse:
    """The answer in chunks; an error within it is an event of its own, and no `[DONE]` follows."""

    def event(chunk: dict[str, Any]) -> bytes:
        told = {**chunk, "usage": None} if counted and "usage" not in chunk else chunk
        return message(json.dumps(told, ensure_ascii=False, separators=(",", ":")))

    async def chunks() -> AsyncIterator[bytes]:
        services.metrics.streams.inc()
        try:
            yield event(head.chunk({"role": "assistant", "content": ""}))
            async for one in words:
                yield event(head.chunk({"content": one})) if one else b": still here\n\n"
            yield event(head.chunk(None, finish="stop"))
            if counted:
                usage = telling.usage
                yield event({**head.chunk(None), "usage": usage and usage.model_dump()})
            yield DONE
        except (Declined, CapabilityError, StoreError) as error:
            yield _error_event(error)
        finally:
            services.metrics.streams.dec()
            await words.aclose()

    return StreamingResponse(
        chunks(),
        media_type="text/event-stream",
        headers={**_headers(entered), "x-accel-buffering": "no"},
    )


def _error_event(error: Declined | CapabilityError | StoreError) -> bytes:
    if isinstance(error, Declined):
        body = error_body(error.status, error.message, code=error.code, param=error.param)
    elif isinstance(error, CapabilityError):
        body = error_body(STATUS_OF_KIND[error.kind], error.message, code=error.kind)
    else:
        body = error_body(503, "The database can't be reached just now.", code="unavailable")
    return message(body.model_dump_json())
