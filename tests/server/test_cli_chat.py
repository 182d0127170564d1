"""Talking to the academy from the command line: streams, breaks, questions, failures."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.exits import Exit
from tests.fakes.api import Answer
from tests.fakes.line import Line, answered_line


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with answered_line(tmp_path / "home") as found:
        yield found


def events(*kinds: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    return [(number, {"runId": "run-1", **event}) for number, event in enumerate(kinds, start=1)]


HELLO = events(
    {"type": "RUN_STARTED", "threadId": "thr-1"},
    {"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "look", "title": "Look"},
    {"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": "{}"},
    {"type": "TOOL_CALL_RESULT", "toolCallId": "c", "content": "all well", "ok": True},
    {"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "assistant"},
    {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "Nothing is "},
    {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "[bold]wrong[/bold]."},
    {"type": "TEXT_MESSAGE_END", "messageId": "m"},
    {"type": "RUN_FINISHED", "threadId": "thr-1", "outcome": {"type": "success"}},
)


def test_a_chat_shows_tools_and_text_as_they_come(line: Line) -> None:
    line.api.lay("POST /api/threads", Answer({"id": "thr-1"}, 201))
    line.api.lay("POST /api/threads/thr-1/messages", Answer(events=HELLO))
    ran = line.run("chat", "what is wrong?")

    assert ran.out.splitlines() == ["  Look", "    all well", "Nothing is [bold]wrong[/bold]."]
    assert line.api.asked[-1].body == {"text": "what is wrong?"}


def test_a_broken_stream_goes_on_from_the_last_event_and_says_nothing_twice(line: Line) -> None:
    line.api.lay("POST /api/threads", Answer({"id": "thr-1"}, 201))
    line.api.lay("POST /api/threads/thr-1/messages", Answer(events=HELLO[:6], breaks=True))
    line.api.lay("GET /api/threads/thr-1/events", Answer(events=HELLO[6:]))
    ran = line.run("chat", "what is wrong?", "--json")

    assert ran.json["text"] == "Nothing is [bold]wrong[/bold].\n"
    assert line.api.asked[-1].path == "/api/threads/thr-1/events?run=run-1"
    assert line.api.asked[-1].headers["last-event-id"] == "6"


def test_a_question_to_the_person_is_shown_with_the_command_that_answers_it(line: Line) -> None:
    outcome = {"type": "interrupt", "interrupts": [{"id": "i", "approvalId": "apr-1"}]}
    asks = events({"type": "RUN_FINISHED", "threadId": "thr-1", "outcome": outcome})
    line.api.lay("POST /api/threads/thr-1/messages", Answer(events=asks))
    ran = line.run("chat", "restart catalog", "--thread", "thr-1")

    assert "academy approvals approve apr-1" in ran.out
    assert ran.code == Exit.OK


def test_a_failed_turn_is_an_error(line: Line) -> None:
    failed = events({"type": "RUN_ERROR", "message": "the model didn't answer", "code": "model"})
    line.api.lay("POST /api/threads", Answer({"id": "thr-1"}, 201))
    line.api.lay("POST /api/threads/thr-1/messages", Answer(events=failed))
    ran = line.run("chat", "hello")

    assert ran.code == Exit.FAILED
    assert ran.error == "the model didn't answer"


def test_an_empty_message_is_refused_before_a_conversation_begins(line: Line) -> None:
    assert line.run("chat", "  ").code == Exit.INVALID
    assert line.api.asked == []


def test_a_conversation_takes_lines_until_an_empty_one(line: Line) -> None:
    line.api.lay("POST /api/threads", Answer({"id": "thr-1"}, 201))
    line.api.lay("POST /api/threads/thr-1/messages", Answer(events=HELLO))
    line.run("chat", typed="one\ntwo\n\n")

    assert [asked.body for asked in line.api.asked[1:]] == [{"text": "one"}, {"text": "two"}]
