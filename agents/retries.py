"""The one retry policy towards a model endpoint: which answers, how long to wait, when to stop."""

import math
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from agents.metering import Budgets

RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Statuses that providers document as passing; 529 is an overloaded one's own."""

_jitter = random.SystemRandom()


@dataclass(frozen=True)
class Wait:
    """Try again in so many seconds."""

    seconds: float


@dataclass(frozen=True)
class GiveUp:
    """Don't try again, and why."""

    reason: str


def retry_after(header: str | None, now: datetime) -> float | None:
    """Seconds a Retry-After header asks for: a number or an HTTP date; None where it says nothing.

    Negative and past values are 0. What can't be read counts as absent.
    """
    if header is None:
        return None
    text = header.strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            when = parsedate_to_datetime(text)
        except ValueError:
            return None
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        seconds = (when - now).total_seconds()
    return None if math.isnan(seconds) else max(0.0, seconds)


def next_try(
    budgets: Budgets, *, attempt: int, elapsed: float, asked: float | None
) -> Wait | GiveUp:
    """What to do after *attempt* (from 1) failed, *elapsed* seconds into the call.

    Waits what the endpoint asks; else backoff with full jitter: uniform between half and all of
    `backoff * 2^(attempt-1)`, so that clients don't come back in step.
    """
    if attempt >= budgets.attempts:
        return GiveUp(f"after {attempt} tries")
    if asked is not None and asked > budgets.retry_after_cap_seconds:
        return GiveUp(f"it asks to wait {asked:.0f} s, longer than a person would")
    ceiling = budgets.backoff_seconds * 2 ** (attempt - 1)
    wait = asked if asked is not None else _jitter.uniform(ceiling / 2, ceiling)
    if elapsed + wait >= budgets.deadline_seconds:
        return GiveUp(f"after {elapsed:.0f} s")
    return Wait(wait)
