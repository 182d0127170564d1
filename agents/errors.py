"""How a conversation with a model can fail: each a sentence a person can read.

`kind` says what a door does with it (`tools/kit/errors.py`); `code` is what RUN_ERROR carries.
"""

from typing import ClassVar

from tools.kit.errors import CapabilityError, ErrorKind


class ModelError(CapabilityError):
    """The model, or the way to it, failed this run."""

    kind: ClassVar[ErrorKind] = "unavailable"
    code: ClassVar[str] = "model_failed"


class EndpointUnavailable(ModelError):
    """The endpoint can't be reached, is overloaded or failing, after every retry."""

    code = "model_unavailable"


class EndpointTimeout(EndpointUnavailable):
    """The endpoint took longer than a call may take."""

    code = "model_timeout"


class EndpointRefused(ModelError):
    """The endpoint answered, and won't serve: wrong key, unknown model, invalid request."""

    kind = "invalid"
    code = "model_refused_request"


class BrokenAnswer(ModelError):
    """The answer is no valid JSON or event stream, or ended in the middle."""

    code = "model_answer_broken"


class EmptyAnswer(ModelError):
    """The answer holds neither words nor a tool call."""

    code = "model_answer_empty"


class Refusal(ModelError):
    """The model declined to answer, or its provider's content filter did."""

    kind = "forbidden"
    code = "model_refusal"


class LengthStop(ModelError):
    """The answer was cut off at the provider's length limit."""

    code = "model_answer_cut_off"


class MalformedArguments(ModelError):
    """The model called a tool with arguments that don't fit, also when told so."""

    code = "model_arguments_malformed"


class UnknownTool(ModelError):
    """The model called a tool that doesn't exist, also when told so."""

    code = "model_unknown_tool"


class EndlessLoop(ModelError):
    """The model went on calling tools past the limit of one run."""

    code = "model_endless_loop"


class BudgetExhausted(ModelError):
    """The run has used up its tokens."""

    kind = "conflict"
    code = "model_budget_exhausted"
