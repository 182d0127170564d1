"""One agent run told as it happens: words stream to the page, tool calls open and close cards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_ai import (
    AgentRunResult,
    AgentRunResultEvent,
    DeferredToolRequests,
    DeferredToolResults,
    UsageLimits,
)
from pydantic_ai.messages import (
    FunctionToolCallEvent,
    FunctionToolResultEvent,
    ModelMessage,
    PartDeltaEvent,
    PartEndEvent,
    PartStartEvent,
    RetryPromptPart,
    TextPart,
    TextPartDelta,
    ToolReturnPart,
)

from agents.build import SpecialistAgent
from graphs.events import EventWriter, Speech
from tools.kit.tool_deps import ToolDeps


@dataclass(frozen=True)
class Told:
    """How an agent run ended."""

    output: str | DeferredToolRequests
    messages: list[ModelMessage]
    """The whole history, this run included."""
    text: str
    """All that was said in it."""


async def tell(
    agent: SpecialistAgent,
    events: EventWriter,
    *,
    step: int,
    titles: Mapping[str, str],
    task: str | None,
    history: Sequence[ModelMessage],
    results: DeferredToolResults | None,
    deps: ToolDeps,
    limits: UsageLimits,
    more: str | None = None,
) -> Told:
    """Run *agent* on *task*, or on people's *results*, and store what happens as it happens."""
    said: list[str] = []
    speech: Speech | None = None
    ended: AgentRunResult[Any] | None = None
    async with agent.run_stream_events(
        task,
        message_history=list(history),
        deferred_tool_results=results,
        deps=deps,
        usage_limits=limits,
        instructions=more,
    ) as stream:
        async for event in stream:
            match event:
                case PartStartEvent(part=TextPart(content=text)):
                    speech = events.speech(step)
                    await speech.add(text)
                case PartDeltaEvent(delta=TextPartDelta(content_delta=text)) if speech:
                    await speech.add(text)
                case PartEndEvent(part=TextPart()) if speech:
                    await speech.end()
                    said.append(speech.text)
                    speech = None
                case FunctionToolCallEvent(part=call):
                    title = titles.get(call.tool_name, call.tool_name)
                    await events.called(
                        call.tool_call_id, call.tool_name, title, call.args_as_json_str()
                    )
                case FunctionToolResultEvent(part=part):
                    await events.answered(part.tool_call_id, shown(part), ok=succeeded(part))
                case AgentRunResultEvent(result=result):
                    ended = result
    if ended is None:
        raise RuntimeError("the agent run ended without a result")
    return Told(
        output=ended.output,
        messages=ended.all_messages(),
        text="\n\n".join(text for text in said if text.strip()),
    )


def succeeded(part: ToolReturnPart | RetryPromptPart) -> bool:
    """Whether the tool did what it was called for."""
    if not isinstance(part, ToolReturnPart) or part.outcome != "success":
        return False
    return bool(getattr(part.content, "done", True))


def shown(part: ToolReturnPart | RetryPromptPart) -> str:
    """What a card says of a tool's answer: its own sentence, else the answer itself."""
    if isinstance(part, RetryPromptPart):
        return part.content if isinstance(part.content, str) else "The arguments don't fit."
    text = getattr(part.content, "text", None)
    if text is None and isinstance(part.content, dict):
        text = part.content.get("text")
    return text if isinstance(text, str) else part.model_response_str(wrap_if_error=False)
