"""Every documented quirk of a real provider ends well or typed, through both clients."""

from collections.abc import Iterator

import pytest

from agents.endpoint import Endpoint, ModelConfig
from agents.errors import (
    BrokenAnswer,
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
from tests.fakes.asking import QUICK, ask, assert_readable, calling
from tests.fakes.providers import QUIRKS, WORDS, Provider, running_provider

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
    "no-index",
    "blank-ids",
    "stop-with-calls",
    "reasoning",
    "no-finish",
    "null-usage",
    "overloaded-once",
)
CALLING = {q for q in FINE if "call" in q} | {"split-deltas", "no-index", "blank-ids"}
"""Those that only an agent, which has a tool, is asked for."""
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
    "repeated-ids": BrokenAnswer,
    "arguments-as-object": BrokenAnswer,
    "unknown-finish": BrokenAnswer,
    "error-finish": BrokenAnswer,
    "odd-usage": BrokenAnswer,
    "empty-body": BrokenAnswer,
    "no-content": BrokenAnswer,
    "redirect": EndpointRefused,
    "list-in-place": BrokenAnswer,
    "null-choices": BrokenAnswer,
    "odd-bytes": BrokenAnswer,
    "broken-gzip": BrokenAnswer,
}
ENDS_OF_AGENTS: dict[str, type[ModelError]] = {
    "no-choices": EmptyAnswer,
    "empty": EmptyAnswer,
    "null-content": EmptyAnswer,
    "unknown-tool": UnknownTool,
    "malformed-arguments": MalformedArguments,
    "wrong-arguments": MalformedArguments,
    "loop": EndlessLoop,
    "legacy-function-call": EmptyAnswer,
}
ENDS_OF_STREAMS: dict[str, type[ModelError]] = {
    "cut-off": BrokenAnswer,
    "stalls": EndpointTimeout,
    "reset": BrokenAnswer,
    "cut-in-call": BrokenAnswer,
    "null-message": EmptyAnswer,
}
ENDS_OF_BODIES: dict[str, type[ModelError]] = {
    "cut-off": EndpointUnavailable,
    "reset": EndpointUnavailable,
    "cut-in-call": EndpointUnavailable,
    "null-message": BrokenAnswer,
    "no-ids": BrokenAnswer,
}


@pytest.fixture(scope="module")
def shared() -> Iterator[Provider]:
    with running_provider() as provider:
        yield provider


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running_provider() as provider:
        yield provider


@pytest.mark.parametrize(
    ("quirk", "way"),
    [(q, way) for q in FINE for way in WAYS if q not in CALLING or way.startswith("agent")],
)
async def test_a_harmless_quirk_goes_unnoticed(provider: Provider, quirk: str, way: str) -> None:
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


@pytest.mark.parametrize("way", ["agent", "chat"])
@pytest.mark.parametrize("quirk", ENDS_OF_BODIES)
async def test_a_body_that_is_not_all_there_is_not_taken_for_an_answer(
    shared: Provider, quirk: str, way: str
) -> None:
    async with calling(shared, quirk) as endpoint:
        with pytest.raises(ENDS_OF_BODIES[quirk]) as caught:
            await ask(endpoint, way)
    assert type(caught.value) is ENDS_OF_BODIES[quirk]
    assert_readable(caught.value)


async def test_streamed_calls_without_ids_are_told_apart_by_place(provider: Provider) -> None:
    async with calling(provider, "no-ids") as endpoint:
        words, meter = await ask(endpoint, "agent stream")
    assert words == WORDS
    assert meter.tool_calls == 2
    results = [m for m in provider.requests[-1]["messages"] if m["role"] == "tool"]
    assert [m["content"] for m in results] == ["catalog is well", "player is well"]
    assert len({m["tool_call_id"] for m in results}) == 2


async def test_words_beside_a_call_are_no_answer_yet(provider: Provider) -> None:
    async with calling(provider, "words-and-call") as endpoint:
        words, meter = await ask(endpoint, "agent")
    assert (words, meter.tool_calls) == (WORDS, 1)


async def test_an_id_used_again_in_a_later_answer_is_a_call_of_its_own(provider: Provider) -> None:
    async with calling(provider, "same-id-each-turn") as endpoint:
        words, meter = await ask(endpoint, "agent stream")
    assert words == WORDS
    assert (meter.calls, meter.tool_calls) == (3, 2)


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
    told = {*FINE, *FINE_FOR_AGENTS, *ENDS, *ENDS_OF_AGENTS, *ENDS_OF_STREAMS, *ENDS_OF_BODIES}
    routed = {name for name in QUIRKS if name.startswith("router")}
    assert set(QUIRKS) == told | routed | {"words-and-call", "same-id-each-turn"}
