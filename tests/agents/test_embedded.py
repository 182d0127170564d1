"""The embedded model on the wire: the protocol, its errors, its ids, and both clients on it."""

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, ToolOutput

from agents.embedded.app import RUN_HEADER, create_app
from agents.embedded.protocol import Call, ProtocolError, Reply, Turn, parse_request
from agents.embedded.router import IntentRouter
from agents.embedded.transport import StreamingASGITransport
from agents.endpoint import EMBEDDED, Endpoint
from agents.errors import EndpointUnavailable

LOOK = {
    "type": "function",
    "function": {
        "name": "look",
        "parameters": {"type": "object", "properties": {"service": {"type": "string"}}},
    },
}
WORDS = "Seen:  two services,\n\n- catalog\n- player. "


class Looking:
    """A playbook that looks at two services and then tells."""

    def reply(self, turn: Turn) -> Reply:
        if turn.user_text == "fail":
            raise RuntimeError("no such row")
        if turn.user_text == "misbehave":
            return Reply(calls=(Call("launch", {}),))
        if turn.user_text == "say nothing":
            return Reply()
        if turn.has_tool("look") and not turn.results:
            return Reply(
                calls=(Call("look", {"service": "catalog"}), Call("look", {"service": "ñ"}))
            )
        return Reply(text=WORDS)


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    app = create_app({"healer": Looking()}, IntentRouter.fitted())
    transport = StreamingASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://e.invalid/v1") as client:
        yield client


def body(
    text: str = "how are they?", model: str = "embedded-healer", **more: Any
) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


async def post(client: httpx2.AsyncClient, sent: dict[str, Any]) -> httpx2.Response:
    return await client.post("/chat/completions", json=sent)


async def calls_of(client: httpx2.AsyncClient, sent: dict[str, Any], run: str = "") -> list[Any]:
    headers = {RUN_HEADER.decode(): run} if run else {}
    answer = await client.post("/chat/completions", json=sent, headers=headers)
    calls: list[Any] = answer.json()["choices"][0]["message"]["tool_calls"]
    return calls


async def test_words_come_whole(client: httpx2.AsyncClient) -> None:
    answer = (await post(client, body())).json()
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": WORDS}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["total_tokens"] > 0


async def test_the_same_words_come_as_a_stream(client: httpx2.AsyncClient) -> None:
    sent = body(stream=True, stream_options={"include_usage": True})
    lines = (await post(client, sent)).text.strip().split("\n\n")
    assert lines[-1] == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    pieces = [c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"]]
    assert "".join(pieces) == WORDS
    assert len(pieces) > 5
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["prompt_tokens"] == 3


async def test_usage_is_streamed_only_when_asked_for(client: httpx2.AsyncClient) -> None:
    assert "usage" not in (await post(client, body(stream=True))).text


async def test_calls_are_parallel_unless_forbidden(client: httpx2.AsyncClient) -> None:
    calls = await calls_of(client, body(tools=[LOOK]))
    assert [json.loads(c["function"]["arguments"])["service"] for c in calls] == ["catalog", "ñ"]
    assert len(await calls_of(client, body(tools=[LOOK], parallel_tool_calls=False))) == 1


async def test_no_tool_is_called_when_the_choice_is_none(client: httpx2.AsyncClient) -> None:
    answer = await post(client, body(tools=[LOOK], tool_choice="none"))
    assert answer.json()["choices"][0]["message"]["content"] == WORDS


async def test_call_ids_are_stable_on_a_rerun_and_new_in_each_turn_and_run(
    client: httpx2.AsyncClient,
) -> None:
    first = body(tools=[LOOK])
    first["messages"].insert(0, {"role": "system", "content": "It is nine o'clock."})
    ids = [c["id"] for c in await calls_of(client, first, "run-1")]
    first["messages"][0]["content"] = "It is ten o'clock."
    assert [c["id"] for c in await calls_of(client, first, "run-1")] == ids
    assert len(set(ids)) == 2
    assert not set(ids) & {c["id"] for c in await calls_of(client, first, "run-2")}
    later = [
        *first["messages"],
        {"role": "assistant", "content": "done"},
        {"role": "user", "content": "how are they?"},
    ]
    again = await calls_of(client, {**first, "messages": later}, "run-1")
    assert not set(ids) & {c["id"] for c in again}


async def test_two_equal_calls_of_one_reply_have_two_ids() -> None:
    class Twice:
        def reply(self, turn: Turn) -> Reply:
            return Reply(calls=(Call("look", {}), Call("look", {})))

    app = create_app({"healer": Twice()}, IntentRouter.fitted())
    async with httpx2.AsyncClient(
        transport=StreamingASGITransport(app), base_url="http://e.invalid/v1"
    ) as client:
        calls = await calls_of(client, body(tools=[LOOK]))
    assert len({c["id"] for c in calls}) == 2


@pytest.mark.parametrize(
    ("sent", "status", "code", "says"),
    [
        (body(model="gpt-9"), 404, "model_not_found", "embedded-router"),
        (body(model="embedded-tutor"), 404, "model_not_found", "embedded-healer"),
        (body(model="healer"), 404, "model_not_found", "embedded-healer"),
        ({"model": "embedded-healer"}, 400, "invalid_request", "messages"),
        ({"model": "embedded-healer", "messages": []}, 400, "invalid_request", "messages"),
        (body(messages=[{"role": "system", "content": "x"}]), 400, "invalid_request", "user"),
        (body(messages=[{"role": "clown", "content": "x"}]), 400, "invalid_request", "role"),
        (
            body(messages=[{"role": "user", "content": "x"}, {"role": "tool", "content": "y"}]),
            400,
            "invalid_request",
            "nobody called",
        ),
        (
            body(tool_choice={"type": "function", "function": {"name": "launch"}}, tools=[LOOK]),
            400,
            "invalid_request",
            "launch",
        ),
        (body(response_format={"type": "json_schema"}), 400, "invalid_request", "schema"),
        (body("fail"), 500, "playbook_failed", "no such row"),
        (body("misbehave"), 500, "playbook_failed", "launch"),
        (body("say nothing"), 500, "playbook_failed", "nothing"),
        (body(tools=[LOOK], tool_choice="required", messages=[
            {"role": "user", "content": "x"},
            {"role": "assistant", "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "look", "arguments": "{"}}]},
            {"role": "tool", "tool_call_id": "a", "content": "fine"}]),
         500, "playbook_failed", "forces"),
    ],
)  # fmt: skip
async def test_what_cannot_be_served_gets_an_openai_error(
    client: httpx2.AsyncClient, sent: dict[str, Any], status: int, code: str, says: str
) -> None:
    answer = await post(client, sent)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert says in error["message"]
    assert "Traceback" not in error["message"]


async def test_other_paths_and_bodies_are_refused(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/nothing")).status_code == 404
    assert (await client.get("/chat/completions")).status_code == 404
    assert (await client.post("/chat/completions", content=b"{")).status_code == 400
    assert [m["id"] for m in (await client.get("/models")).json()["data"]] == [
        "embedded-router",
        "embedded-healer",
    ]


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_parse_or_are_refused(data: bytes) -> None:
    with suppress(ProtocolError):
        assert parse_request(data).messages


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ProtocolError):
        parse_request(b"[" * 200_000)


def test_a_huge_body_is_refused() -> None:
    with pytest.raises(ProtocolError, match="bytes"):
        parse_request(b" " * 9_000_000)


class Seen(BaseModel):
    """What a specialist answers, typed."""

    words: str


class Typed:
    """A playbook that answers by whatever way of structured output it is asked for."""

    def reply(self, turn: Turn) -> Reply:
        if turn.response_schema is not None:
            assert "words" in turn.response_schema["properties"]
            return Reply(text=json.dumps({"words": turn.user_text}))
        return Reply(calls=(Call("final_result", {"words": turn.user_text}),))


@pytest.mark.parametrize("way", [ToolOutput, NativeOutput])
async def test_structured_output_works_by_tool_and_by_schema(way: Any) -> None:
    endpoint = Endpoint(EMBEDDED, playbooks={"healer": Typed()})
    async with endpoint.run("run-1"):
        result = await Agent(endpoint.model("healer"), output_type=way(Seen)).run("hello")
    assert result.output == Seen(words="hello")
    await endpoint.aclose()


async def test_a_failing_playbook_ends_typed_at_the_first_try() -> None:
    endpoint = Endpoint(EMBEDDED, playbooks={"healer": Looking()})
    with pytest.raises(EndpointUnavailable, match="no such row"):
        async with endpoint.run("run-1") as meter:
            await endpoint.chat("healer").ainvoke("fail")
    assert meter.retries == 0
    await endpoint.aclose()
