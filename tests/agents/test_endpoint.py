"""Budgets, retries, the breaker and token counts: the parts of the endpoint that need no server."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import tiktoken.load
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from agents.breaker import RepeatBreaker
from agents.embedded.protocol import Reply, Turn
from agents.endpoint import EMBEDDED, Endpoint, ModelConfig
from agents.errors import (
    BrokenAnswer,
    BudgetExhausted,
    EmptyAnswer,
    EndlessLoop,
    EndpointUnavailable,
    LengthStop,
    Refusal,
)
from agents.metering import Budgets, RunMeter, current_meter
from agents.retries import GiveUp, Wait, next_try, retry_after
from agents.tokens import byte_bound, local_counter, request_tokens
from agents.wire import Answer, StreamReader, read_body

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


class Parrot:
    """A playbook that says what it was told."""

    def reply(self, turn: Turn) -> Reply:
        return Reply(text=turn.user_text)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("3", 3.0),
        (" 1.5 ", 1.5),
        ("-4", 0.0),
        ("nan", None),
        ("soon", None),
        ("", None),
        (format_datetime(NOW + timedelta(seconds=7), usegmt=True), 7.0),
        (format_datetime(NOW - timedelta(hours=1), usegmt=True), 0.0),
        ("Mon, 23 Nov 2026 10:00:05 +0100", 5.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(
    header: str | None, seconds: float | None
) -> None:
    assert retry_after(header, NOW) == seconds


@given(st.text(max_size=40))
def test_any_retry_after_is_read_or_ignored(header: str) -> None:
    seconds = retry_after(header, NOW)
    assert seconds is None or seconds >= 0


def test_what_the_endpoint_asks_is_waited_and_no_longer() -> None:
    budgets = Budgets()
    assert next_try(budgets, attempt=1, elapsed=0, asked=3.0) == Wait(3.0)
    assert isinstance(next_try(budgets, attempt=1, elapsed=0, asked=3600.0), GiveUp)
    assert isinstance(next_try(budgets, attempt=1, elapsed=100, asked=30.0), GiveUp)
    assert isinstance(next_try(budgets, attempt=4, elapsed=0, asked=0.0), GiveUp)


def test_backoff_grows_and_is_spread() -> None:
    budgets = Budgets(backoff_seconds=1.0, attempts=9)
    for attempt in (1, 2, 3):
        waits = set()
        for _ in range(50):
            decision = next_try(budgets, attempt=attempt, elapsed=0, asked=None)
            assert isinstance(decision, Wait)
            waits.add(decision.seconds)
        ceiling = 2.0 ** (attempt - 1)
        assert ceiling / 2 <= min(waits) <= max(waits) <= ceiling
        assert len(waits) > 10


@given(st.text(max_size=200))
def test_a_text_never_has_more_tokens_than_its_bytes(text: str) -> None:
    """Whatever a byte-level encoding merges, at least one byte is in each token."""
    merges = {bytes([n]): n for n in range(256)} | {b"th": 256, b"the": 257, b" a": 258}
    encoding = tiktoken.Encoding(
        "tiny", pat_str=r"\S+|\s+", mergeable_ranks=merges, special_tokens={}
    )
    assert len(encoding.encode_ordinary(text)) <= byte_bound(text)


def test_looking_for_an_encoding_never_downloads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    def downloading(blobpath: str) -> bytes:
        raise AssertionError(f"asked for {blobpath}")

    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(tiktoken.load, "read_file", downloading)
    assert local_counter() is None
    assert tiktoken.load.read_file is downloading


def test_a_request_s_tokens_count_messages_calls_and_tools() -> None:
    bare = request_tokens({"messages": [{"role": "user", "content": "hello"}]}, byte_bound)
    more = request_tokens(
        {"messages": [{"role": "user", "content": "hello"}], "tools": [{"x": "y" * 100}]},
        byte_bound,
    )
    assert bare > len("hello")
    assert more > bare + 100


def test_a_meter_refuses_what_would_go_over() -> None:
    meter = RunMeter("run-1", Budgets(tokens_per_run=100, calls_per_run=3, tool_calls_per_run=2))
    meter.begin_call(60)
    meter.end_call(sent=50, said=10, reported=True, calls=["look"], findings=())
    with pytest.raises(BudgetExhausted, match="60 of its 100 tokens"):
        meter.begin_call(60)
    with pytest.raises(EndlessLoop, match="3 tool calls"):
        meter.end_call(sent=0, said=0, reported=True, calls=["look", "look"], findings=())
    meter.begin_call(1)
    meter.begin_call(1)
    with pytest.raises(EndlessLoop, match="3 model calls"):
        meter.begin_call(1)


async def test_two_runs_at_once_are_counted_apart() -> None:
    endpoint = Endpoint(EMBEDDED, playbooks={"healer": Parrot()})

    async def run(name: str, calls: int) -> RunMeter:
        async with endpoint.run(name) as meter:
            for _ in range(calls):
                await asyncio.create_task(endpoint.chat("healer").ainvoke(name))
        return meter

    first, second = await asyncio.gather(run("run-1", 3), run("run-2", 5))
    assert (first.calls, second.calls) == (3, 5)
    assert current_meter.get() is None
    await endpoint.aclose()


async def test_a_client_is_made_once_for_each_role() -> None:
    endpoint = Endpoint(EMBEDDED, playbooks={"healer": Parrot()})

    assert endpoint.chat("healer") is endpoint.chat("healer")
    assert endpoint.chat("healer") is not endpoint.chat("router")
    await endpoint.aclose()


async def test_a_reader_that_leaves_a_stream_is_still_booked() -> None:
    endpoint = Endpoint(EMBEDDED, playbooks={"healer": Parrot()})
    async with endpoint.run("run-1") as meter:
        stream = endpoint.chat("healer").astream("one two three four five six seven")
        async for chunk in stream:
            if chunk.content:
                break
        await stream.aclose()  # type: ignore[attr-defined]
        for _ in range(20):
            await asyncio.sleep(0)
    assert meter.tokens > 0
    await endpoint.aclose()


def test_roles_have_their_own_model_names() -> None:
    assert EMBEDDED.model_name("router") == "embedded-router"
    config = ModelConfig(
        url="http://x.invalid/v1", name="big", key=SecretStr("k"), names={"router": "small"}
    )
    assert (config.model_name("router"), config.model_name("healer")) == ("small", "big")
    assert "k" not in repr(config).replace("key", "").replace("SecretStr('**********')", "")


def test_the_identical_call_on_the_identical_state_is_refused_the_second_time() -> None:
    breaker = RepeatBreaker()
    assert breaker.admit("c1", "look", {"service": "catalog"}) is None
    breaker.learned("c1", "look", {"service": "catalog"}, "well")
    sentence = breaker.admit("c2", "look", {"service": "catalog"})
    assert sentence is not None
    assert "already called" in sentence
    assert breaker.admit("c3", "look", {"service": "player"}) is None


def test_two_calls_in_turn_cannot_loop_for_ever() -> None:
    breaker = RepeatBreaker()
    admitted = 0
    for n in range(20):
        tool = "ab"[n % 2]
        if breaker.admit(f"c{n}", tool, {}) is None:
            admitted += 1
            breaker.learned(f"c{n}", tool, {}, f"{tool} is well")
    assert admitted == 3


def test_after_an_effect_all_may_look_again() -> None:
    breaker = RepeatBreaker()
    breaker.admit("c1", "look", {})
    breaker.learned("c1", "look", {}, "down")
    breaker.changed("act-1")
    assert breaker.admit("c2", "look", {}) is None


def test_one_call_entered_twice_is_no_repetition_also_after_a_pause() -> None:
    breaker = RepeatBreaker()
    assert breaker.admit("c1", "restart", {"service": "catalog"}) is None
    resumed = RepeatBreaker.load(breaker.dump())
    assert resumed.admit("c1", "restart", {"service": "catalog"}) is None
    assert resumed.admit("c2", "restart", {"service": "catalog"}) is not None


def test_a_stream_may_be_cut_anywhere() -> None:
    data = (
        'data: {"choices":[{"delta":{"content":"né"}}]}\r\n\r\n: ping\n\n'
        'data: {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"look"}}]}}]}\n\n'
        'data: {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]},'
        '"finish_reason":"tool_calls"}]}\n\n'
        'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}\n\ndata: [DONE]\n\n'
    ).encode()
    for size in (1, 2, 7, 1000):
        reader = StreamReader()
        for start in range(0, len(data), size):
            reader.feed(data[start : start + size])
        answer = reader.end()
        assert (answer.text, answer.called, answer.tokens) == ("né", ("look",), (3, 4))
        assert answer.judge(["look"]) == ()


@given(st.binary(max_size=300))
def test_any_bytes_are_an_answer_or_end_typed(data: bytes) -> None:
    reader = StreamReader()
    with suppress(BrokenAnswer, EmptyAnswer, EndpointUnavailable):
        reader.feed(data)
        reader.end()
    with suppress(BrokenAnswer, EmptyAnswer, EndpointUnavailable):
        read_body(data)


@pytest.mark.parametrize(
    ("body", "expected", "said"),
    [
        (b"\xff", BrokenAnswer, "UTF-8"),
        (b"[1]", BrokenAnswer, "no chat completion"),
        (b'{"choices":[]}', EmptyAnswer, "no choice"),
        (b'{"error":{"message":"full","code":"overloaded"}}', EndpointUnavailable, "full"),
        (b'{"error":{"reason":"asleep"}}', EndpointUnavailable, "asleep"),
    ],
)
def test_a_body_that_is_no_answer_says_why(
    body: bytes, expected: type[Exception], said: str
) -> None:
    with pytest.raises(expected, match=said):
        read_body(body)


def test_usage_that_makes_no_sense_is_no_usage() -> None:
    answer = Answer()
    for usage in (None, {}, {"prompt_tokens": -1, "completion_tokens": 2}, {"prompt_tokens": 3}):
        answer.count(usage)
    assert answer.tokens is None


@pytest.mark.parametrize("usage", ["20", [20, 7], {"prompt_tokens": "20"}])
def test_usage_that_no_client_can_read_ends_typed(usage: object) -> None:
    with pytest.raises(BrokenAnswer, match="usage figures"):
        Answer().count(usage)


def test_a_refusal_and_a_length_stop_are_told_apart() -> None:
    with pytest.raises(Refusal):
        Answer(refusal="No.").judge([])
    with pytest.raises(Refusal):
        Answer(text="half", finish="content_filter").judge([])
    with pytest.raises(LengthStop):
        Answer(text="half", finish="length").judge([])
