"""Turns what client libraries raise about a model into the errors of `agents/errors.py`."""

import re
from collections.abc import Iterator

import openai
from langchain_core.exceptions import OutputParserException
from pydantic import ValidationError
from pydantic_ai.exceptions import (
    ContentFilterError,
    IncompleteToolCall,
    ModelAPIError,
    UnexpectedModelBehavior,
    UsageLimitExceeded,
)

from agents.errors import (
    BrokenAnswer,
    EndlessLoop,
    EndpointRefused,
    EndpointTimeout,
    EndpointUnavailable,
    LengthStop,
    MalformedArguments,
    ModelError,
    Refusal,
)
from agents.metering import RunMeter

REASON_CHARACTERS = 300
"""Longest reason passed on to a person."""
_URL = re.compile(r"\s*(?:For further information visit )?https?://\S+")


def translate(error: BaseException, meter: RunMeter) -> ModelError | None:
    """The typed error behind *error*, or None where it isn't about the model.

    An error of ours that a library wrapped is found in its causes; what was merely being handled
    when another error came up isn't one. When a library gave up telling the model what was wrong,
    the last answer's finding says what that was.
    """
    chain = tuple(_causes(error))
    ours = next((e for e in chain if isinstance(e, ModelError)), None)
    if ours is not None:
        return ours
    for one in chain:
        typed = _of_library(one, meter)
        if typed is not None:
            return typed
    return None


def _of_library(error: BaseException, meter: RunMeter) -> ModelError | None:
    match error:
        case openai.APITimeoutError():
            return EndpointTimeout("The model took too long to answer. Try again.")
        case openai.APIStatusError():
            return EndpointRefused(f"The model endpoint refuses with {error.status_code}.")
        case openai.APIConnectionError() | ModelAPIError():
            return EndpointUnavailable("The model endpoint can't be reached.")
        case openai.LengthFinishReasonError() | IncompleteToolCall():
            return LengthStop("The model's answer was cut off at its length limit.")
        case openai.ContentFilterFinishReasonError() | ContentFilterError():
            return Refusal("The provider's content filter stopped the answer.")
        case UsageLimitExceeded():
            return EndlessLoop(f"Stopped without an end in sight: {error}. Ask for less at once.")
        case UnexpectedModelBehavior() | OutputParserException():
            return meter.findings[0] if meter.findings else _unusable(error, meter)
    return None


def _unusable(error: BaseException, meter: RunMeter) -> ModelError:
    if meter.last_calls:
        names = ", ".join(dict.fromkeys(meter.last_calls))
        return MalformedArguments(
            f"The model kept calling {names} with arguments that don't fit, also when told so."
        )
    return BrokenAnswer(f"The model's answer can't be used: {_plainly(error)}")


def _plainly(error: BaseException) -> str:
    """What was wrong, in one line; pydantic's advice to programmers is left out."""
    found = next((e for e in _causes(error) if isinstance(e, ValidationError)), None)
    if found is not None:
        wrong = found.errors(include_url=False, include_input=False, include_context=False)
        return "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg']}" for one in wrong[:3]
        )
    first = _URL.sub("", str(error).partition("\n")[0]).strip()
    return first[:REASON_CHARACTERS] or "it doesn't fit what was asked for."


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__
