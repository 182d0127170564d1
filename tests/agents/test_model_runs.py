"""What one run spends on models, retries and ends with, against a provider that misbehaves."""

from collections.abc import Iterator

import pytest
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import HumanMessage
from pydantic import BaseModel, ValidationError
from pydantic_ai import UnexpectedModelBehavior

from agents.endpoint import Endpoint
from agents.errors import (
    BrokenAnswer,
    BudgetExhausted,
    EmptyAnswer,
    EndlessLoop,
    EndpointRefused,
    EndpointUnavailable,
    MalformedArguments,
    ModelError,
    UnknownTool,
)
from agents.metering import Budgets, RunMeter
from agents.translation import translate
from tests.fakes.asking import ask, assert_readable, calling
from tests.fakes.providers import WORDS, Provider, running_provider


@pytest.fixture(scope="module")
def shared() -> Iterator[Provider]:
    with running_provider() as provider:
        yield provider


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running_provider() as provider:
        yield provider


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
