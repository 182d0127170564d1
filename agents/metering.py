"""What one run may spend on models, and what it has spent so far."""

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field

from agents.errors import BudgetExhausted, EndlessLoop, ModelError


@dataclass(frozen=True)
class Budgets:
    """Limits of one run and of one call. They guard against loops and runaway bills."""

    tokens_per_run: int = 400_000
    """Tokens in and out: 13,000 for each of the calls a run may make."""
    calls_per_run: int = 30
    """Model calls: the router's, and about six for each of the five steps a message may have."""
    tool_calls_per_run: int = 60
    """Tool calls the model may ask for: two for each model call."""
    attempts: int = 4
    """Tries of one call, the first included."""
    answer_seconds: float = 300.0
    """One streamed answer as a whole, however slowly it comes: 32,000 tokens at 100 a second."""
    answer_bytes: int = 8_000_000
    """One answer, unpacked: some 32,000 tokens in events of 250 bytes."""
    deadline_seconds: float = 120.0
    """One call with all its retries and waits, up to its first byte."""
    connect_seconds: float = 5.0
    read_seconds: float = 60.0
    """Silence within an answer, and until its first byte."""
    retry_after_cap_seconds: float = 60.0
    """A longer Retry-After isn't waited for: a person is told instead."""
    backoff_seconds: float = 0.5
    """Base of the exponential backoff with full jitter."""


@dataclass
class RunMeter:
    """Counts one run's calls and tokens and refuses what goes over."""

    run_id: str
    budgets: Budgets
    calls: int = 0
    tool_calls: int = 0
    tokens: int = 0
    """Tokens so far: as reported, or the upper bound where an endpoint reports none."""
    said_tokens: int = 0
    """Those of `tokens` that models wrote; the rest was sent to them."""
    unreported: int = 0
    """Answers that came without usage figures."""
    retries: int = 0
    findings: tuple[ModelError, ...] = ()
    """What was wrong with the last answer and may be repaired by telling the model."""
    last_calls: tuple[str, ...] = field(default=())
    """Names of the tools the last answer called."""

    @property
    def usage(self) -> dict[str, int]:
        """What was spent so far, as the event that ends a run tells it."""
        return {
            "promptTokens": self.tokens - self.said_tokens,
            "completionTokens": self.said_tokens,
            "modelCalls": self.calls,
            "unreported": self.unreported,
        }

    def begin_call(self, tokens: int) -> None:
        """Admit one call that sends at most *tokens*.

        Raises:
            EndlessLoop: the run has used up its calls.
            BudgetExhausted: the call could take the run over its tokens.
        """
        if self.calls >= self.budgets.calls_per_run:
            raise EndlessLoop(
                f"Stopped after {self.calls} model calls without an end in sight; "
                f"one run may make {self.budgets.calls_per_run}. Ask for less at once."
            )
        if self.tokens + tokens > self.budgets.tokens_per_run:
            raise BudgetExhausted(
                f"This run has used {self.tokens:,} of its {self.budgets.tokens_per_run:,} tokens, "
                f"and the next call may need {tokens:,}. Start a new conversation or ask for less."
            )
        self.calls += 1
        self.findings = ()
        self.last_calls = ()

    def end_call(
        self,
        *,
        sent: int,
        said: int,
        reported: bool,
        calls: Sequence[str],
        findings: Sequence[ModelError],
    ) -> None:
        """Book an answer: the tokens of what was *sent* and *said*, and the tools it calls.

        Raises:
            EndlessLoop: the run has used up its tool calls.
        """
        self.tokens += sent + said
        self.said_tokens += said
        self.unreported += not reported
        self.tool_calls += len(calls)
        self.findings = tuple(findings)
        self.last_calls = tuple(calls)
        if self.tool_calls > self.budgets.tool_calls_per_run:
            raise EndlessLoop(
                f"Stopped at {self.tool_calls} tool calls; one run may make "
                f"{self.budgets.tool_calls_per_run}. Ask for less at once."
            )


current_meter: ContextVar[RunMeter | None] = ContextVar("model_run_meter", default=None)
"""The run that model calls of this task count towards; tasks it starts inherit it."""
