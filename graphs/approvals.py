"""Questions to people within a conversation: pausing on them, answering and leaving them."""

from collections.abc import Mapping, Sequence

from pydantic_ai import DeferredToolRequests, DeferredToolResults, ToolApproved, ToolDenied
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    RetryPromptPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from graphs.state import PendingCall

SUPERSEDED = "The person went on without deciding; the question was withdrawn and nothing was done."
TURNS_KEPT = 8
"""Turns of a specialist's history that are kept."""
HISTORY_CHARACTERS = 40_000
"""Longest history kept, about 10,000 tokens: a turn of several model calls sends it each time."""

SETTLED = {
    "denied": "The person said no; nothing was done.",
    "expired": "Nobody decided in time; nothing was done.",
    "withdrawn": "The question was withdrawn, because its cause is gone; nothing was done.",
}
"""What a specialist is told of a question that was not answered with yes."""


def pending_calls(requests: DeferredToolRequests) -> list[PendingCall]:
    """The calls that wait for a person, as plain values."""
    return [
        PendingCall(
            tool_call_id=call.tool_call_id,
            tool=call.tool_name,
            approval_id=str(requests.metadata[call.tool_call_id]["approval_id"]),
            digest=str(requests.metadata[call.tool_call_id]["digest"]),
            title=str(requests.metadata[call.tool_call_id]["title"]),
            purpose=str(requests.metadata[call.tool_call_id]["purpose"]),
        )
        for call in requests.approvals
    ]


def deferred_results(
    pending: Sequence[PendingCall], decisions: Mapping[str, str]
) -> DeferredToolResults:
    """What the agent is told: yes with the stored approval, or no with the reason."""
    results = DeferredToolResults()
    for call in pending:
        decided = decisions[call["tool_call_id"]]
        if decided == "approved":
            results.approvals[call["tool_call_id"]] = ToolApproved()
            results.metadata[call["tool_call_id"]] = {
                "approval_id": call["approval_id"],
                "purpose": call["purpose"],
            }
        else:
            results.approvals[call["tool_call_id"]] = ToolDenied(SETTLED[decided])
    return results


def load_history(text: str | None) -> list[ModelMessage]:
    """A specialist's history from its JSON."""
    return ModelMessagesTypeAdapter.validate_json(text) if text else []


def dump_history(messages: Sequence[ModelMessage]) -> str:
    """A specialist's history as JSON, cut at the beginning of a turn to the last few of them.

    At most `TURNS_KEPT` turns and `HISTORY_CHARACTERS` letters are kept, and always the last turn.
    """
    starts = [
        index
        for index, message in enumerate(messages)
        if isinstance(message, ModelRequest)
        and any(isinstance(part, UserPromptPart) for part in message.parts)
    ]
    for first in starts[-TURNS_KEPT:]:
        text = ModelMessagesTypeAdapter.dump_json(list(messages[first:])).decode()
        if len(text) <= HISTORY_CHARACTERS or first == starts[-1]:
            return text
    return ModelMessagesTypeAdapter.dump_json(list(messages)).decode()


def close_open_calls(
    messages: Sequence[ModelMessage], told: Mapping[str, str], otherwise: str
) -> list[ModelMessage]:
    """The history with every unanswered tool call answered, by what is *told* of it by id.

    An open call left in a history would be passed to the model as if it were still going on, and
    models then claim an effect that never happened.
    """
    # In order, because some endpoints use an id again in a later answer.
    open_calls: dict[str, ToolCallPart] = {}
    for part in (part for message in messages for part in message.parts):
        if isinstance(part, ToolCallPart):
            open_calls[part.tool_call_id] = part
        elif isinstance(part, ToolReturnPart | RetryPromptPart):
            open_calls.pop(part.tool_call_id, None)
    unanswered = list(open_calls.values())
    if not unanswered:
        return list(messages)
    returns = [
        ToolReturnPart(
            tool_name=part.tool_name,
            content=told.get(part.tool_call_id, otherwise),
            tool_call_id=part.tool_call_id,
            outcome="denied",
        )
        for part in unanswered
    ]
    return [*messages, ModelRequest(parts=returns)]
