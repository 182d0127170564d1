"""What crosses the OpenAI-compatible door: the request as clients send it, and the answers.

Only what the academy heeds is declared. Other parameters (sampling, lengths, stop words, user) are
taken and have no effect; those that would change what may happen, or what is answered, are refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from graphs.conversations import Line
from server.openai_errors import Declined

SAID_BY_CLIENTS = ("system", "developer")
"""Roles that are read and not obeyed."""


class Part(BaseModel):
    """One piece of a message's content."""

    type: str
    text: str | None = None


class ChatMessage(BaseModel):
    """One message of the conversation, as the client tells it."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None
    tool_calls: list[dict[str, Any]] | None = None


class StreamOptions(BaseModel):
    """What a stream carries beside words."""

    include_usage: bool = False


class ChatRequest(BaseModel):
    """A conversation to answer."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "academy",
                    "messages": [{"role": "user", "content": "What is wrong?"}],
                    "stream": True,
                }
            ]
        }
    )

    model: str
    messages: list[ChatMessage] = Field(min_length=1)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    functions: list[Any] | None = None
    function_call: Any = None
    response_format: dict[str, Any] | None = None
    logprobs: bool | None = None
    modalities: list[str] | None = None

    def check(self) -> None:
        """Make sure that nothing is asked for that the academy won't do.

        Raises:
            Declined: 400; names the parameter.
        """
        if self.n not in (None, 1):
            raise _unsupported("n", "One answer is given to a message; leave `n` out.")
        for name, given in (
            ("tools", self.tools),
            ("functions", self.functions),
            ("tool_choice", None if self.tool_choice in ("none", "auto") else self.tool_choice),
            ("function_call", self.function_call),
        ):
            if given:
                raise _unsupported(
                    name,
                    "The academy uses its own tools, each behind its gate, and calls none of a "
                    f"client's; leave `{name}` out.",
                )
        if self.response_format and self.response_format.get("type") != "text":
            raise _unsupported("response_format", "Answers are text; leave `response_format` out.")
        if self.logprobs:
            raise _unsupported("logprobs", "There are no token probabilities; leave it out.")
        if self.modalities and self.modalities != ["text"]:
            raise _unsupported("modalities", "Answers are text; leave `modalities` out.")
        if self.stream_options is not None and not self.stream:
            raise _unsupported("stream_options", "`stream_options` goes with `stream: true` only.")

    def lines(self) -> list[Line]:
        """What the person and the academy said; what a client instructs is left out.

        Raises:
            Declined: 400 for a message the academy can't read: an image, a tool's result.
        """
        return [
            _line(message, place)
            for place, message in enumerate(self.messages)
            if message.role not in SAID_BY_CLIENTS
        ]


def _unsupported(param: str, message: str) -> Declined:
    return Declined(400, message, code="unsupported_parameter", param=param)


def _line(message: ChatMessage, place: int) -> Line:
    param = f"messages.{place}"
    if message.role not in ("user", "assistant") or message.tool_calls:
        raise Declined(
            400,
            "The academy calls no tools of a client, so there are no calls or results of any; "
            "send messages of the user and of the assistant.",
            code="unsupported_message",
            param=param,
        )
    parts = message.content if isinstance(message.content, list) else []
    if any(part.type not in ("text", "input_text") for part in parts):
        raise Declined(
            400,
            "Only text can be read here: no images, sounds or files.",
            code="unsupported_content",
            param=f"{param}.content",
        )
    text = message.content if isinstance(message.content, str) else ""
    text += "\n".join(part.text or "" for part in parts)
    return Line("user" if message.role == "user" else "assistant", text)


class Model(BaseModel):
    """A model a client may name."""

    id: str = Field(examples=["academy-healer"])
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str


class ModelList(BaseModel):
    """Every model there is."""

    object: Literal["list"] = "list"
    data: list[Model]


class Usage(BaseModel):
    """What the models behind the run read and wrote, as the run's meter counted it."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int

    @classmethod
    def of(cls, spent: Mapping[str, Any]) -> "Usage":
        """From what the event that ends a run tells."""
        sent, said = int(spent["promptTokens"]), int(spent["completionTokens"])
        return cls(prompt_tokens=sent, completion_tokens=said, total_tokens=sent + said)


class Said(BaseModel):
    """The academy's answer."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(BaseModel):
    """The one answer."""

    index: Literal[0] = 0
    message: Said
    finish_reason: Literal["stop"] = "stop"
    logprobs: None = None


class Completion(BaseModel):
    """A whole answer."""

    id: str = Field(examples=["chatcmpl-run-7k2m9qh4xw3c"])
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage | None = None
    """None where the run ended before any model was asked."""


@dataclass(frozen=True)
class Head:
    """What every piece of one answer repeats."""

    id: str
    created: int
    """Seconds since 1970."""
    model: str

    def completion(self, text: str, usage: Usage | None) -> Completion:
        """The whole answer."""
        return Completion(
            id=self.id,
            created=self.created,
            model=self.model,
            choices=[Choice(message=Said(content=text))],
            usage=usage,
        )

    def chunk(
        self, delta: Mapping[str, str] | None, *, finish: str | None = None
    ) -> dict[str, Any]:
        """One piece of a stream; without *delta* and *finish* it carries no choice."""
        choice = {"index": 0, "delta": dict(delta or {}), "finish_reason": finish}
        return {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": [] if delta is None and finish is None else [choice],
        }
