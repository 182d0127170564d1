"""Reads answers of a chat-completions endpoint as they pass, whole or streamed, and judges them.

What can't be used is raised: broken JSON, a stream cut off, a refusal, a length stop, an error in
place of an answer. What telling the model may repair (unknown tool, malformed arguments, nothing
said) is a *finding*; the clients retry those once, and `endpoint.translate` names them if that
didn't help. Missing usage figures are tolerated.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from agents.errors import (
    BrokenAnswer,
    EmptyAnswer,
    EndpointUnavailable,
    LengthStop,
    MalformedArguments,
    ModelError,
    Refusal,
    UnknownTool,
)
from tools.kit.storable import is_storable

COMPLETE = ("stop", "tool_calls", "function_call")
"""Reasons to end, of those the protocol knows, that mean that the answer is whole."""
ABSURD = 10**9
"""Tokens of one call that no model has: such a figure is no figure."""
QUOTED = 200
"""Characters of an endpoint's own words quoted in a message."""


_ODD = re.compile(r"\\u(?:0000|d[89a-f])", re.IGNORECASE)
"""How an unsound character is written in JSON; pairs of halves are, too, and are sound."""
T = TypeVar("T")


@dataclass
class _CallParts:
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass
class Answer:
    """One answer, put together from a body or from chunks."""

    text: str = ""
    refusal: str = ""
    finish: str | None = None
    calls: dict[Any, _CallParts] = field(default_factory=dict)
    tokens: tuple[int, int] | None = None
    """Tokens in and out as the endpoint reports them; None where it doesn't."""

    def absorb(self, choice: Mapping[str, Any]) -> None:
        """Add a choice of a body (`message`) or of a chunk (`delta`)."""
        part = _shaped(choice.get("message") or choice.get("delta"), dict, {})
        self.text += _words(part.get("content"))
        self.refusal += _words(part.get("refusal"))
        for position, one in enumerate(_shaped(part.get("tool_calls"), list, [])):
            call = _shaped(one, dict, {})
            index = _shaped(call.get("index"), int, position)
            parts = self.calls.setdefault(index, _CallParts())
            function = _shaped(call.get("function"), dict, {})
            parts.name += _shaped(function.get("name"), str, "")
            parts.arguments += _shaped(function.get("arguments"), str, "")
            parts.id = parts.id or _shaped(call.get("id"), str, "")
        self.finish = _shaped(choice.get("finish_reason"), str, None) or self.finish

    def count(self, usage: Any) -> None:
        """Take over reported usage, where it is there and makes sense.

        Raises:
            BrokenAnswer: figures that are no numbers; no client can read such an answer.
        """
        if usage is not None and not isinstance(usage, Mapping):
            raise BrokenAnswer("The model's answer has usage figures of an unknown shape.")
        if usage:
            sent, said = usage.get("prompt_tokens"), usage.get("completion_tokens")
            if not all(isinstance(one, int | float | None) for one in (sent, said)):
                raise BrokenAnswer("The model's answer has usage figures that are no numbers.")
            if (
                isinstance(sent, int)
                and isinstance(said, int)
                and 0 <= min(sent, said) <= max(sent, said) < ABSURD
            ):
                self.tokens = sent, said

    @property
    def called(self) -> tuple[str, ...]:
        """Names of the tools it calls, in order."""
        return tuple(call.name for call in self.calls.values())

    def judge(self, tools: Iterable[str]) -> tuple[ModelError, ...]:
        """What is wrong with it and may be repaired.

        Raises:
            Refusal: the model declined, or a content filter did.
            LengthStop: it was cut off at the length limit.
            BrokenAnswer: it ended for another reason than being complete, or two of its calls
                have one id, so that no result could be told from the other's.
        """
        if self.refusal.strip():
            raise Refusal(f"The model declined: {_quote(self.refusal)}")
        if self.finish == "content_filter":
            raise Refusal("The provider's content filter stopped the answer. Word it differently.")
        if self.finish == "length":
            raise LengthStop(
                "The model's answer was cut off at its length limit. Ask for less at once."
            )
        if self.finish is not None and self.finish not in COMPLETE:
            raise BrokenAnswer(
                f"The model's answer ended for a reason that doesn't say it is complete: "
                f"{_quote(self.finish)}"
            )
        ids = [call.id for call in self.calls.values() if call.id]
        if len(set(ids)) < len(ids):
            raise BrokenAnswer("The model gave several tool calls one id; which is which is lost.")
        known = tuple(tools)
        findings: list[ModelError] = []
        for call in self.calls.values():
            if call.name not in known:
                findings.append(
                    UnknownTool(
                        f"The model called a tool {_quote(call.name)} that doesn't exist; "
                        f"there are: {', '.join(known) or 'none'}."
                    )
                )
            elif not _is_object(call.arguments):
                findings.append(
                    MalformedArguments(
                        f"The model called {call.name} with arguments that aren't a JSON object: "
                        f"{_quote(call.arguments)}"
                    )
                )
        if not self.calls and not self.text.strip():
            findings.append(EmptyAnswer("The model answered nothing, neither words nor a call."))
        return tuple(findings)


def read_body(body: bytes) -> Answer:
    """The answer in a whole body.

    Raises:
        BrokenAnswer: it is not JSON, or not a chat completion.
        EmptyAnswer: it holds no choice at all.
        EndpointUnavailable: an error stands in place of the answer.
    """
    value = _json(body)
    answer = Answer()
    choices = _choices(value)
    if not choices:
        raise EmptyAnswer("The model's answer holds no choice at all.")
    message = choices[0].get("message")
    if not isinstance(message, Mapping):
        raise BrokenAnswer("The model's answer is no chat completion: its choice has no message.")
    answer.absorb(choices[0])
    if any(isinstance(c, Mapping) and c.get("id") is None for c in message.get("tool_calls") or ()):
        raise BrokenAnswer("The model called a tool without giving the call an id.")
    answer.count(value.get("usage"))
    return answer


class StreamReader:
    """Reads a server-sent event stream of chunks. Feed it bytes, then call `end`.

    `done` says that the end mark was read: clients stop reading there, before the body ends.
    """

    def __init__(self) -> None:
        self.answer = Answer()
        self._rest = b""
        self._begun = False
        self.done = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes, however they are cut.

        Raises:
            BrokenAnswer: an event is not JSON, or not a chunk.
            EndpointUnavailable: an error stands in place of a chunk.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line.rstrip(b"\r"))

    def end(self) -> Answer:
        """The whole answer, once the stream has ended.

        Raises:
            BrokenAnswer: it ended in the middle.
            EmptyAnswer: it holds no choice at all.
        """
        if self._rest.strip():
            self._line(self._rest.rstrip(b"\r"))
        if not self.done and self.answer.finish is None:
            raise BrokenAnswer(
                "The model's answer broke off in the middle. What it said so far may be incomplete."
            )
        if not self._begun:
            raise EmptyAnswer("The model's answer holds no choice at all.")
        return self.answer

    def _line(self, line: bytes) -> None:
        if not line.startswith(b"data:"):
            _text(line)  # the clients behind read comments, too
            return
        data = line[5:].strip()
        if data == b"[DONE]":
            self.done = True
            return
        value = _json(data)
        for choice in _choices(value)[:1]:
            self._begun = self._begun or isinstance(choice.get("delta"), Mapping)
            self.answer.absorb(choice)
        self.answer.count(value.get("usage"))


def error_text(body: bytes) -> tuple[str, str]:
    """What an error answer says, and its code: the provider's own words, shortened."""
    try:
        value = json.loads(body)
    except ValueError:
        return _quote(body.decode("utf-8", errors="replace")), ""
    error = value.get("error", value) if isinstance(value, dict) else value
    if isinstance(error, dict):
        message = error.get("message") or error.get("detail") or error
        return _quote(str(message)), str(error.get("code") or error.get("type") or "")
    return _quote(str(error)), ""


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        shown = _quote(data.decode("utf-8", errors="replace"))
        raise BrokenAnswer(f"The model's answer is not UTF-8: {shown}") from error


def _json(body: bytes) -> dict[str, Any]:
    text = _text(body)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BrokenAnswer(f"The model's answer is not valid JSON: {_quote(text)}") from error
    if not isinstance(value, dict):
        raise BrokenAnswer(f"The model's answer is no chat completion: {_quote(text)}")
    if _ODD.search(text) and not is_storable(value):
        raise BrokenAnswer("The model's answer holds characters that no text has.")
    if value.get("error"):
        said, code = error_text(body)
        raise EndpointUnavailable(
            f"The model endpoint sent an error in place of an answer: {said} {code}".rstrip()
        )
    return value


def _shaped(value: Any, shape: type[T], otherwise: Any) -> Any:
    """*value* if it has that shape, *otherwise* if it is null or missing.

    Raises:
        BrokenAnswer: it is something else.
    """
    if value is None:
        return otherwise
    if not isinstance(value, shape):
        raise BrokenAnswer(
            f"The model's answer has an unknown shape: a {type(value).__name__} where a "
            f"{shape.__name__} belongs."
        )
    return value


def _choices(value: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    choices = value.get("choices")
    if choices is None and "usage" in value:
        return []
    if not isinstance(choices, list) or not all(isinstance(c, Mapping) for c in choices):
        raise BrokenAnswer("The model's answer is no chat completion: it has no choices.")
    return choices


def _words(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(p.get("text", "")) for p in content if isinstance(p, Mapping))
    return content if isinstance(content, str) else ""


def _is_object(arguments: str) -> bool:
    try:
        return isinstance(json.loads(arguments or "{}"), dict)
    except (ValueError, RecursionError):
        return False


def _quote(text: str) -> str:
    flat = " ".join(text.split())
    return repr(flat if len(flat) <= QUOTED else flat[:QUOTED] + "...")
