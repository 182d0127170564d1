"""Every documented quirk of a real provider ends well or typed, through both clients."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import HumanMessage
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_ai import Agent, UnexpectedModelBehavior

from agents.endpoint import Endpoint, ModelConfig
from agents.errors import (
    BrokenAnswer,
    BudgetExhausted,
    EmptyAnswer,
    EndlessLoop,
    EndpointRefused,
    EndpointTimeout,
    EndpointUnavailable,
    LengthStop,
    MalformedArguments,
    ModelError,
    Refusal,
    UnknownTool,
)
from agents.metering import Budgets, RunMeter
from agents.translation import translate
from tests.fakes.providers import QUIRKS, WORDS, Provider, running_provider

QUICK = Budgets(
    attempts=3, deadline_seconds=5.0, read_seconds=0.5, connect_seconds=1.0, backoff_seconds=0.02
)
WAYS = ("agent", "agent stream", "chat", "chat stream")

FINE = (
    "plain",
    "calls",
    "parallel-calls",
    "split-deltas",
    "rate-limited",
    "rate-limited-until",
    "fails-once",
    "hangs-up-once",
    "no-done",
    "no-usage",
    "comments",
    "carriage-returns",
    "gzip",
)
FINE_FOR_AGENTS = ("unknown-tool-once", "malformed-arguments-once")

ENDS: dict[str, type[ModelError]] = {
    "rate-limited-for-an-hour": EndpointUnavailable,
    "quota": EndpointRefused,
    "fails": EndpointUnavailable,
    "bad-gateway-page": EndpointUnavailable,
    "hangs-up": EndpointUnavailable,
    "bad-key": EndpointRefused,
    "no-such-model": EndpointRefused,
    "invalid-request": EndpointRefused,
    "portal-page": BrokenAnswer,
    "broken-json": BrokenAnswer,
    "other-json": BrokenAnswer,
    "error-in-place": EndpointUnavailable,
    "refusal": Refusal,
    "content-filter": Refusal,
    "length": LengthStop,
    "length-in-call": LengthStop,
    "slow": EndpointTimeout,
}
ENDS_OF_AGENTS: dict[str, type[ModelError]] = {
    "no-choices": EmptyAnswer,
    "empty": EmptyAnswer,
    "null-content": EmptyAnswer,
    "unknown-tool": UnknownTool,
    "malformed-arguments": MalformedArguments,
    "wrong-arguments": MalformedArguments,
    "loop": EndlessLoop,
}
ENDS_OF_STREAMS: dict[str, type[ModelError]] = {
    "cut-off": BrokenAnswer,
    "stalls": EndpointTimeout,
}


@pytest.fixture(scope="module")
def shared() -> Iterator[Provider]:
    with running_provider() as provider:
        yield provider


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running_provider() as provider:
        yield provider


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


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("quirk", FINE)
async def test_a_harmless_quirk_goes_unnoticed(provider: Provider, quirk: str, way: str) -> None:
    if "call" in quirk or quirk == "split-deltas":
        way = way.replace("chat", "agent")
    async with calling(provider, quirk) as endpoint:
        words, meter = await ask(endpoint, way)
    assert words == WORDS
    assert meter.tokens > 0
    assert meter.calls <= 2


@pytest.mark.parametrize("way", ["agent", "agent stream"])
@pytest.mark.parametrize("quirk", FINE_FOR_AGENTS)
async def test_a_mistake_the_model_can_repair_is_told_to_it(
    provider: Provider, quirk: str, way: str
) -> None:
    async with calling(provider, quirk) as endpoint:
        words, meter = await ask(endpoint, way)
    assert words == WORDS
    assert meter.calls == 2


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("quirk", ENDS)
async def test_a_fault_ends_typed_with_a_sentence(shared: Provider, quirk: str, way: str) -> None:
    async with calling(shared, quirk) as endpoint:
        with pytest.raises(ENDS[quirk]) as caught:
            await ask(endpoint, way)
    assert type(caught.value) is ENDS[quirk]
    assert_readable(caught.value)


@pytest.mark.parametrize("way", ["agent", "agent stream"])
@pytest.mark.parametrize("quirk", ENDS_OF_AGENTS)
async def test_a_model_that_does_not_learn_ends_typed(
    shared: Provider, quirk: str, way: str
) -> None:
    async with calling(shared, quirk) as endpoint:
        with pytest.raises(ENDS_OF_AGENTS[quirk]) as caught:
            await ask(endpoint, way)
    assert_readable(caught.value)


@pytest.mark.parametrize("way", ["agent stream", "chat stream"])
@pytest.mark.parametrize("quirk", ENDS_OF_STREAMS)
async def test_a_stream_that_breaks_off_is_not_taken_for_an_answer(
    shared: Provider, quirk: str, way: str
) -> None:
    async with calling(shared, quirk) as endpoint:
        with pytest.raises(ENDS_OF_STREAMS[quirk]) as caught:
            await ask(endpoint, way)
    assert_readable(caught.value)


async def test_an_unreachable_endpoint_ends_typed(provider: Provider) -> None:
    url = provider.url
    provider.stop()
    provider.start = lambda: None  # type: ignore[method-assign]
    config = ModelConfig(url=url, name="plain")
    endpoint = Endpoint(config, playbooks={}, budgets=QUICK)
    with pytest.raises(EndpointUnavailable, match=r"can't be reached.*after 3 tries"):
        await ask(endpoint, "agent")
    await endpoint.aclose()


def test_every_quirk_is_expected_somewhere() -> None:
    told = {*FINE, *FINE_FOR_AGENTS, *ENDS, *ENDS_OF_AGENTS, *ENDS_OF_STREAMS}
    routed = {name for name in QUIRKS if name.startswith("router")}
    assert set(QUIRKS) == told | routed | {"no-index"}


async def test_retries_are_ours_alone(provider: Provider) -> None:
    async with calling(provider, "fails") as endpoint:
        with pytest.raises(EndpointUnavailable, match="after 3 tries"):
            await ask(endpoint, "chat")
        with pytest.raises(EndpointUnavailable):
            await ask(endpoint, "agent")
    assert len(provider.requests) == 6


async def test_a_refused_request_is_not_tried_again(provider: Provider) -> None:
    async with calling(provider, "bad-key") as endpoint:
        with pytest.raises(EndpointRefused, match="ACADEMY_MODEL_KEY"):
            await ask(endpoint, "agent")
    assert len(provider.requests) == 1


async def test_a_retry_counts_as_the_same_call(provider: Provider) -> None:
    async with calling(provider, "fails-once") as endpoint:
        _, meter = await ask(endpoint, "chat")
    assert (meter.calls, meter.retries) == (1, 1)


async def test_a_long_wait_is_told_instead_of_waited_for(provider: Provider) -> None:
    async with calling(provider, "rate-limited-for-an-hour") as endpoint:
        with pytest.raises(EndpointUnavailable, match="wait 3600 s"):
            await ask(endpoint, "agent")
    assert len(provider.requests) == 1


async def test_reported_tokens_are_booked_and_missing_ones_bounded(provider: Provider) -> None:
    async with calling(provider, "plain") as endpoint:
        _, meter = await ask(endpoint, "chat stream")
        assert (meter.tokens, meter.unreported) == (27, 0)
    async with calling(provider, "no-usage") as endpoint:
        _, meter = await ask(endpoint, "chat")
        assert meter.tokens >= len("how is catalog?") + len(WORDS)
        assert meter.unreported == 1


async def test_a_run_stops_before_it_goes_over_its_tokens(provider: Provider) -> None:
    tight = Budgets(tokens_per_run=100)
    async with calling(provider, "plain", tight) as endpoint:
        async with endpoint.run("run-1") as meter:
            while meter.tokens < 50:
                await endpoint.chat("healer").ainvoke("how is it?")
            with pytest.raises(Exception, match="Connection error") as wrapped:
                await endpoint.chat("healer").ainvoke("how is it?" * 10)
        error = translate(wrapped.value, meter)
    assert isinstance(error, BudgetExhausted)
    assert "of its 100 tokens" in error.message
    assert_readable(error)
    assert len(provider.requests) == 2


async def test_a_loop_stops_at_the_run_s_calls(provider: Provider) -> None:
    async with calling(provider, "loop", Budgets(calls_per_run=5)) as endpoint:
        with pytest.raises(EndlessLoop, match="5 model calls"):
            await ask(endpoint, "agent")
    assert len(provider.requests) == 5


async def test_the_next_run_starts_afresh(provider: Provider) -> None:
    async with calling(provider, "plain", Budgets(calls_per_run=1)) as endpoint:
        for _ in range(3):
            words, meter = await ask(endpoint, "chat")
            assert (words, meter.calls) == (WORDS, 1)


async def test_the_router_s_decision_comes_typed(provider: Provider) -> None:
    async with calling(provider, "router") as endpoint, endpoint.run("run-1"):
        decision = await endpoint.route([HumanMessage("how is catalog?")])
    assert [step.specialist for step in decision.steps] == ["healer"]
    assert provider.requests[0]["tool_choice"]["function"]["name"] == "RouteDecision"


@pytest.mark.parametrize(
    ("quirk", "error"),
    [
        ("router-in-words", BrokenAnswer),
        ("router-two-answers", MalformedArguments),
        ("malformed-arguments", MalformedArguments),
        ("unknown-tool", UnknownTool),
        ("empty", EmptyAnswer),
        ("fails", EndpointUnavailable),
    ],
)
async def test_a_router_that_errs_ends_typed(
    shared: Provider, quirk: str, error: type[ModelError]
) -> None:
    async with calling(shared, quirk) as endpoint:
        with pytest.raises(error) as caught:
            async with endpoint.run("run-1"):
                await endpoint.route([HumanMessage("how is catalog?")])
    assert_readable(caught.value)


async def test_the_run_is_not_told_to_a_real_endpoint(provider: Provider) -> None:
    async with calling(provider, "plain") as endpoint:
        await ask(endpoint, "agent")
    assert not any("academy" in name for name in provider.headers[0])
    assert provider.headers[0]["authorization"] == "Bearer sk-fake"


async def test_other_errors_pass_a_run_unchanged(provider: Provider) -> None:
    async with calling(provider, "plain") as endpoint:
        with pytest.raises(KeyError):
            async with endpoint.run("run-1"):
                raise KeyError("not about the model")


async def test_an_error_of_another_kind_is_not_blamed_on_the_model(provider: Provider) -> None:
    async with calling(provider, "bad-key") as endpoint:
        with pytest.raises(KeyError):
            await _fail_while_handling(endpoint)


async def _fail_while_handling(endpoint: Endpoint) -> None:
    async with endpoint.run("run-1"):
        try:
            await endpoint.chat("healer").ainvoke("hi")
        except Exception:
            raise KeyError("a fault of ours")  # noqa: B904 - as a fault in a handler is


def assert_readable(error: ModelError) -> None:
    """A person can read it: a sentence or two, no trace, no key."""
    assert 20 < len(error.message) < 600
    assert error.message[0].isupper()
    assert "Traceback" not in error.message
    assert "sk-fake" not in error.message


async def test_a_reason_for_people_carries_no_programmers_advice() -> None:
    class Shape(BaseModel):
        steps: list[str]

    try:
        Shape.model_validate({"steps": "a secret"})
    except ValidationError as invalid:
        wrapped = UnexpectedModelBehavior("Exceeded maximum output retries (1)")
        wrapped.__cause__ = invalid
    error = translate(wrapped, RunMeter("run-1", Budgets()))

    assert isinstance(error, BrokenAnswer)
    assert error.message == "The model's answer can't be used: steps: Input should be a valid list"
    parser = OutputParserException("Got nothing.\nFor troubleshooting, visit: https://docs.test/x ")
    said = translate(parser, RunMeter("run-1", Budgets()))
    assert said is not None
    assert said.message == "The model's answer can't be used: Got nothing."
