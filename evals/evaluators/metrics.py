"""Metrics of ragas over plain values; None where ragas is not installed (it is a development tool).

ragas: https://docs.ragas.io, version 0.4. Only metrics that need no model are used.
"""

import asyncio
import os
import warnings
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

Call = tuple[str, dict[str, Any]]
"""Name and arguments of a tool call."""

NOT_INSTALLED = "Not scored: ragas not installed."


def load() -> None:
    """Import what the metrics need, which takes seconds of two cores, before anything is timed."""
    if installed():
        import ragas.metrics.collections  # noqa: F401


def installed() -> bool:
    """Whether ragas can be imported; it is told to report nothing to its makers."""
    os.environ["RAGAS_DO_NOT_TRACK"] = "true"  # noqa: TID251 - it knows no other switch
    try:
        import ragas  # noqa: F401
    except ImportError:
        return False
    return True


def tool_call_accuracy(
    wanted: Sequence[Call], taken: Sequence[Call], *, ordered: bool = True
) -> float | None:
    """Share of the calls wanted that were made with the same arguments; 0 in a wrong order.

    1 where none was wanted nor made.
    """
    if not wanted and not taken:
        return 1.0
    if not installed():
        return None
    from ragas.metrics.collections import ToolCallAccuracy

    return _tool_calls(ToolCallAccuracy(strict_order=ordered).ascore, wanted, taken)


def tool_call_f1(wanted: Sequence[Call], taken: Sequence[Call]) -> float | None:
    """Harmonic mean of precision and recall of exact calls; 1 where none was wanted nor made."""
    if not wanted and not taken:
        return 1.0
    if not installed():
        return None
    from ragas.metrics.collections import ToolCallF1

    return _tool_calls(ToolCallF1().ascore, wanted, taken)


def quoted_spans(answer: str, sources: Sequence[str], *, least_words: int = 3) -> float | None:
    """Share of the quotations in *answer* that stand in some source; 1 where it quotes nothing."""
    if not installed():
        return None
    from ragas.metrics.collections import QuotedSpansAlignment

    metric = QuotedSpansAlignment(min_span_words=least_words)
    return _value(metric.ascore, response=answer, retrieved_contexts=list(sources))


def retrieval_precision(wanted: Sequence[str], found: Sequence[str]) -> float | None:
    """Share of the documents *found* that are wanted, by id; None where none was found."""
    if not installed() or not found:
        return None
    return _by_id("IDBasedContextPrecision", wanted, found)


def retrieval_recall(wanted: Sequence[str], found: Sequence[str]) -> float | None:
    """Share of the documents wanted that were found, by id; None where none was wanted."""
    if not installed() or not wanted:
        return None
    return _by_id("IDBasedContextRecall", wanted, found)


def _by_id(name: str, wanted: Sequence[str], found: Sequence[str]) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from ragas import SingleTurnSample, metrics

        metric = getattr(metrics, name)()
    sample = SingleTurnSample(retrieved_context_ids=list(found), reference_context_ids=list(wanted))
    return float(asyncio.run(metric.single_turn_ascore(sample)))


def _tool_calls(
    score: Callable[..., Awaitable[Any]], wanted: Sequence[Call], taken: Sequence[Call]
) -> float:
    from ragas.messages import AIMessage, ToolCall

    made = AIMessage(content="", tool_calls=[ToolCall(name=n, args=a) for n, a in taken])
    reference = [ToolCall(name=n, args=a) for n, a in wanted]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # calls that differ in number are the point
        return _value(score, user_input=[made], reference_tool_calls=reference)


def _value(score: Callable[..., Awaitable[Any]], **given: Any) -> float:
    async def ask() -> float:
        return float((await score(**given)).value)

    return asyncio.run(ask())
