"""Records the exchanges that `tests/agents/test_cassettes.py` replays.

Run by `make cassettes`. With ACADEMY_MODEL_URL and ACADEMY_MODEL_NAME set it asks that endpoint
and writes `real-*.yaml`; else it asks `tests/fakes/providers.py` over loopback and writes
`fake-*.yaml`.
"""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vcr
from langchain_core.messages import HumanMessage, SystemMessage
from pydantic import SecretStr
from pydantic_ai import Agent

from agents.endpoint import Endpoint, ModelConfig
from tests.fakes.providers import running_provider

FOLDER = Path(__file__).parent
FAKE_NOTE = "# Recorded over loopback against tests/fakes/providers.py: no real model said this.\n"
REAL_NOTE = "# Recorded against a real endpoint by `make cassettes`.\n"

PRIVATE = [
    "authorization",
    "user-agent",
    "openai-organization",
    "openai-project",
    "cookie",
    "host",
    *(
        f"x-stainless-{name}"
        for name in (
            "arch",
            "async",
            "custom-poll-interval",
            "helper-method",
            "lang",
            "os",
            "package-version",
            "poll-helper",
            "raw-response",
            "read-timeout",
            "retry-count",
            "runtime",
            "runtime-version",
            "timeout",
        )
    ),
]
KEPT_OF_RESPONSES = ("content-type",)


def _without_private_headers(response: dict[str, Any]) -> dict[str, Any]:
    headers = response["headers"]
    response["headers"] = {k: v for k, v in headers.items() if k.lower() in KEPT_OF_RESPONSES}
    return response


def _without_address(request: Any) -> Any:
    path = request.uri.split("/v1", 1)[-1]
    request.uri = f"http://recorded.invalid/v1{path}"
    return request


RECORDER = vcr.VCR(
    match_on=["method", "path", "body"],
    filter_headers=PRIVATE,
    before_record_request=_without_address,
    before_record_response=_without_private_headers,
    decode_compressed_response=True,
)


async def chat(endpoint: Endpoint) -> str:
    """One answer to the graphs' client."""
    return str((await endpoint.chat("healer").ainvoke("Say how the three services are.")).content)


async def chat_stream(endpoint: Endpoint) -> str:
    """One streamed answer to the graphs' client."""
    pieces = endpoint.chat("healer").astream("Say how the three services are.")
    return "".join([str(piece.content) async for piece in pieces])


async def route(endpoint: Endpoint) -> str:
    """One decision of the router: the specialists it names."""
    messages = [SystemMessage("Route the message."), HumanMessage("how is catalog?")]
    return ",".join(step.specialist for step in (await endpoint.route(messages)).steps)


def _looking_agent(endpoint: Endpoint) -> Agent[None, str]:
    agent = Agent(endpoint.model("healer"), instructions="Look at each service, then tell.")

    @agent.tool_plain
    def look(service: str) -> str:
        """Look at a service."""
        return f"{service} is well"

    return agent


async def agent_with_calls(endpoint: Endpoint) -> str:
    """A specialist that calls a tool for each of two services."""
    return (await _looking_agent(endpoint).run("How are catalog and player?")).output


async def agent_stream(endpoint: Endpoint) -> str:
    """The same, streamed."""
    async with _looking_agent(endpoint).run_stream("How are catalog and player?") as result:
        return await result.get_output()


@dataclass(frozen=True)
class Exchange:
    """One exchange: how it is had, and which quirk the fake provider plays in it."""

    name: str
    have: Callable[[Endpoint], Awaitable[str]]
    quirk: str


EXCHANGES = (
    Exchange("chat", chat, "plain"),
    Exchange("chat-stream", chat_stream, "plain"),
    Exchange("route", route, "router"),
    Exchange("agent-calls", agent_with_calls, "parallel-calls"),
    Exchange("agent-stream", agent_stream, "split-deltas"),
)


def recorded_model(cassette: Path) -> str:
    """The model name in a cassette's first request."""
    loaded, _ = vcr.cassette.FilesystemPersister.load_cassette(
        cassette, serializer=vcr.serializers.yamlserializer
    )
    return str(json.loads(loaded[0].body)["model"])


async def _record(exchange: Exchange, config: ModelConfig, path: Path, note: str) -> None:
    _forget(path)
    endpoint = Endpoint(config, playbooks={})
    try:
        with RECORDER.use_cassette(str(path), record_mode="all"):
            async with endpoint.run("record"):
                said = await exchange.have(endpoint)
    finally:
        await endpoint.aclose()
    _head(path, note)
    print(f"{path.name}: {said[:60]!r}")  # noqa: T201


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)


def _head(path: Path, note: str) -> None:
    path.write_text(note + path.read_text(encoding="utf-8"), encoding="utf-8")


async def record() -> None:
    """Record every exchange anew."""
    url, name = os.environ.get("ACADEMY_MODEL_URL"), os.environ.get("ACADEMY_MODEL_NAME")
    key = os.environ.get("ACADEMY_MODEL_KEY")
    if url and name:
        config = ModelConfig(url=url, name=name, key=SecretStr(key) if key else None)
        for exchange in EXCHANGES:
            await _record(exchange, config, FOLDER / f"real-{exchange.name}.yaml", REAL_NOTE)
        return
    with running_provider() as provider:
        for exchange in EXCHANGES:
            config = ModelConfig(url=provider.url, name=exchange.quirk, key=SecretStr("sk-fake"))
            await _record(exchange, config, FOLDER / f"fake-{exchange.name}.yaml", FAKE_NOTE)


if __name__ == "__main__":
    asyncio.run(record())
