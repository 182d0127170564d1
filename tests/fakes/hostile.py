"""A model that does what a test says, in place of a specialist's; the router stays the real one."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_openai import ChatOpenAI
from pydantic_ai.messages import ModelMessage, ModelRequest, RetryPromptPart, ToolReturnPart
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from agents.endpoint import Endpoint
from agents.metering import RunMeter
from agents.routing import RouteDecision

Say = str | Sequence[tuple[str, str, dict[str, Any] | str]]
"""Words, or tool calls: call id, tool, arguments (a text is sent as it is)."""
Script = Callable[[list[str], int], Say]
"""What to say next, given the tools' answers since the last message and how often it was asked."""


class HostileEndpoint(Endpoint):
    """An endpoint whose specialists follow a script; everything else is the inner endpoint's."""

    def __init__(self, inner: Endpoint, script: Script) -> None:
        self._inner = inner
        self._script = script
        self._asked = 0

    def chat(self, role: str) -> ChatOpenAI:
        return self._inner.chat(role)

    async def route(self, messages: Sequence[BaseMessage]) -> RouteDecision:
        return await self._inner.route(messages)

    @asynccontextmanager
    async def run(self, run_id: str) -> AsyncIterator[RunMeter]:
        async with self._inner.run(run_id) as meter:
            yield meter

    def model(self, role: str) -> Model:  # type: ignore[override]
        return FunctionModel(stream_function=self._stream)

    async def _stream(
        self, messages: list[ModelMessage], _: AgentInfo
    ) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
        self._asked += 1
        said = self._script(answers(messages), self._asked)
        if isinstance(said, str):
            yield said
            return
        for index, (call_id, name, arguments) in enumerate(said):
            text = arguments if isinstance(arguments, str) else json.dumps(arguments)
            yield {index: DeltaToolCall(name=name, json_args=text, tool_call_id=call_id)}


def answers(messages: list[ModelMessage]) -> list[str]:
    """What tools have answered, as texts, oldest first."""
    return [
        part.model_response_str() if isinstance(part, ToolReturnPart) else part.model_response()
        for message in messages
        if isinstance(message, ModelRequest)
        for part in message.parts
        if isinstance(part, ToolReturnPart | RetryPromptPart)
    ]
