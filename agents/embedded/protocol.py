"""What a playbook is given and gives back, and the request as it arrives on the wire.

A playbook maps a sentence to tool calls, and tool results to words. It is a pure function of the
turn: no clock, no randomness, no state of its own.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MAX_MESSAGES = 2_000
MAX_REQUEST_BYTES = 8_000_000
"""About four times the largest context window in use (2 million tokens, 4 bytes each)."""


class ProtocolError(Exception):
    """A request the embedded model can't serve; carries the OpenAI error fields."""

    def __init__(self, status: int, message: str, *, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param


class _Wire(BaseModel):
    """Unknown fields are ignored: clients send more than this model understands."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class WireFunctionCall(_Wire):
    """Name and JSON arguments of one tool call."""

    name: str
    arguments: str = "{}"


class WireToolCall(_Wire):
    """A tool call in an assistant message."""

    id: str
    function: WireFunctionCall


class WireMessage(_Wire):
    """One message; content may be text, parts or nothing."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    tool_calls: list[WireToolCall] = Field(default_factory=list)
    tool_call_id: str | None = None

    @property
    def text(self) -> str:
        """The content as one text; parts that aren't text are left out."""
        if isinstance(self.content, str):
            return self.content
        return "".join(str(p.get("text", "")) for p in self.content or [] if "text" in p)


class WireFunction(_Wire):
    """A tool as the client declares it."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)


class WireTool(_Wire):
    """The wrapper around a declared tool."""

    type: Literal["function"] = "function"
    function: WireFunction


class StreamOptions(_Wire):
    """Options of a streamed answer."""

    include_usage: bool = False


class WireRequest(_Wire):
    """A chat-completions request."""

    model: str
    messages: list[WireMessage] = Field(min_length=1, max_length=MAX_MESSAGES)
    tools: list[WireTool] = Field(default_factory=list)
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool = True
    response_format: dict[str, Any] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: str | None = None


def parse_request(body: bytes) -> WireRequest:
    """The request in *body*.

    Raises:
        ProtocolError: it is too long, not JSON, or not a chat-completions request.
    """
    if len(body) > MAX_REQUEST_BYTES:
        raise ProtocolError(
            413, f"The request may have {MAX_REQUEST_BYTES:,} bytes.", code="request_too_large"
        )
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(
            400, f"The body is not valid JSON: {error}", code="invalid_json"
        ) from error
    if isinstance(data, dict):
        # Clients send null for what they leave at its default.
        data = {key: value for key, value in data.items() if value is not None}
        if isinstance(data.get("messages"), list):
            data["messages"] = [
                {k: v for k, v in m.items() if v is not None} if isinstance(m, dict) else m
                for m in data["messages"]
            ]
    try:
        return WireRequest.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise ProtocolError(
            400, f"{where}: {first['msg']}", code="invalid_request", param=where
        ) from error


@dataclass(frozen=True)
class ToolSpec:
    """A tool the playbook may call in this turn."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """JSON schema of its arguments."""


@dataclass(frozen=True)
class ToolResult:
    """What a tool answered, with the call that asked for it."""

    call_id: str
    name: str
    arguments: Mapping[str, Any]
    content: str

    @property
    def data(self) -> Any:
        """The content as JSON, or the text itself where it isn't JSON."""
        try:
            return json.loads(self.content)
        except ValueError:
            return self.content


@dataclass(frozen=True)
class Said:
    """One earlier message of the conversation."""

    role: Literal["user", "assistant"]
    text: str
    name: str | None = None
    """The specialist that spoke, where the client says so."""


@dataclass(frozen=True)
class Turn:
    """Everything a playbook may look at for one reply."""

    system: str
    messages: tuple[Said, ...]
    """What was said before `user_text`, oldest first, without tool traffic."""
    tools: tuple[ToolSpec, ...]
    user_text: str
    """The last message of the person."""
    results: tuple[ToolResult, ...]
    """Tool results since `user_text`, in order; empty at the first reply of a turn."""
    earlier: tuple[ToolResult, ...] = ()
    """Tool results before `user_text`, in order: what "why?" and "undo that" refer to."""
    forced: str | None = None
    """The tool that must be called, where the client insists on one."""
    must_call: bool = False
    """Whether some tool must be called."""
    response_schema: Mapping[str, Any] | None = None
    """JSON schema the text must follow, where the client demands one."""

    def has_tool(self, name: str) -> bool:
        """Whether *name* may be called."""
        return any(tool.name == name for tool in self.tools)


@dataclass(frozen=True)
class Call:
    """One tool call of a reply."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Reply:
    """Words, tool calls, or both. Several calls are parallel calls of one reply."""

    text: str = ""
    calls: tuple[Call, ...] = ()


class Playbook(Protocol):
    """What the embedded model does for one specialist."""

    def reply(self, turn: Turn) -> Reply:
        """The next words or tool calls; deterministic."""
        ...


def _arguments(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def turn_of(request: WireRequest) -> Turn:
    """The turn a request stands for.

    Raises:
        ProtocolError: there is no user message, or a tool message answers no call.
    """
    last_user = max((i for i, m in enumerate(request.messages) if m.role == "user"), default=None)
    if last_user is None:
        raise ProtocolError(
            400, "There is no message with role user.", code="invalid_request", param="messages"
        )
    calls: dict[str, WireFunctionCall] = {}
    said: list[Said] = []
    system: list[str] = []
    earlier: list[ToolResult] = []
    results: list[ToolResult] = []
    for index, message in enumerate(request.messages):
        if message.role in ("system", "developer"):
            system.append(message.text)
        elif message.role == "tool":
            call = calls.get(message.tool_call_id or "")
            if call is None:
                raise ProtocolError(
                    400,
                    f"The tool message answers {message.tool_call_id!r}, which nobody called.",
                    code="invalid_request",
                    param=f"messages.{index}.tool_call_id",
                )
            result = ToolResult(
                call_id=message.tool_call_id or "",
                name=call.name,
                arguments=_arguments(call.arguments),
                content=message.text,
            )
            (results if index > last_user else earlier).append(result)
        else:
            calls.update({call.id: call.function for call in message.tool_calls})
            if index < last_user and message.text:
                role: Literal["user", "assistant"] = (
                    "user" if message.role == "user" else "assistant"
                )
                said.append(Said(role=role, text=message.text, name=message.name))
    offered = [] if request.tool_choice == "none" else request.tools
    return Turn(
        system="\n\n".join(system),
        messages=tuple(said),
        tools=tuple(
            ToolSpec(t.function.name, t.function.description or "", t.function.parameters)
            for t in offered
        ),
        user_text=request.messages[last_user].text,
        results=tuple(results),
        earlier=tuple(earlier),
        forced=_forced(request),
        must_call=request.tool_choice == "required",
        response_schema=_schema(request),
    )


def _forced(request: WireRequest) -> str | None:
    choice = request.tool_choice
    names = [tool.function.name for tool in request.tools]
    if isinstance(choice, dict):
        name = str(choice.get("function", {}).get("name", ""))
        if name not in names:
            raise ProtocolError(
                400,
                f"tool_choice names {name!r}, which isn't among the tools {names}.",
                code="invalid_request",
                param="tool_choice",
            )
        return name
    if choice == "required" and len(names) == 1:
        return names[0]
    return None


def _schema(request: WireRequest) -> Mapping[str, Any] | None:
    wanted = request.response_format or {}
    if wanted.get("type") != "json_schema":
        return None
    declared = wanted.get("json_schema")
    schema = declared.get("schema") if isinstance(declared, dict) else None
    if not isinstance(schema, dict):
        raise ProtocolError(
            400,
            "response_format.json_schema.schema must be a JSON schema.",
            code="invalid_request",
            param="response_format",
        )
    return schema
