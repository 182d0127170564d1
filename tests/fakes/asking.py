"""Asking a model through both clients, in each of the ways the academy does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import SecretStr
from pydantic_ai import Agent

from agents.endpoint import Endpoint, ModelConfig
from agents.errors import ModelError
from agents.metering import Budgets, RunMeter
from tests.fakes.providers import Provider

QUICK = Budgets(
    attempts=3, deadline_seconds=5.0, read_seconds=0.5, connect_seconds=1.0, backoff_seconds=0.02
)


@asynccontextmanager
async def calling(
    provider: Provider, model: str, budgets: Budgets = QUICK
) -> AsyncIterator[Endpoint]:
    config = ModelConfig(url=provider.url, name=model, key=SecretStr("sk-fake"))
    endpoint = Endpoint(config, playbooks={}, budgets=budgets)
    try:
        yield endpoint
    finally:
        await endpoint.aclose()


async def ask(endpoint: Endpoint, way: str) -> tuple[str, RunMeter]:
    """What the model said, asked in one of four ways, and what that cost."""
    async with endpoint.run("run-1") as meter:
        if way == "chat":
            answer = await endpoint.chat("healer").ainvoke("how is catalog?")
            return str(answer.content), meter
        if way == "chat stream":
            pieces = [str(c.content) async for c in endpoint.chat("healer").astream("how is it?")]
            return "".join(pieces), meter
        agent = Agent(endpoint.model("healer"), instructions="Look, then tell.")

        @agent.tool_plain
        def look(service: str) -> str:
            """Look at a service."""
            return f"{service} is well"

        if way == "agent":
            return (await agent.run("how is catalog?")).output, meter
        async with agent.run_stream("how is catalog?") as result:
            return await result.get_output(), meter
    raise AssertionError("unreachable")


def assert_readable(error: ModelError) -> None:
    """A person can read it: a sentence or two, no trace, no key."""
    assert 20 < len(error.message) < 600
    assert error.message[0].isupper()
    assert "Traceback" not in error.message
    assert "sk-fake" not in error.message
