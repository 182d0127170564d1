"""How often a gate lets an operation run that is worse than its target, over a whole life.

The chance is computed exactly, not sampled: a walk over the number of successes, in which whoever
was let run once stays let. True rates lie just under the target; lives last up to 400 trials.
Controls are the gates people build: the point rate, Wilson's bound, and the exact bound read after
every trial. The product's own judgement (`weigh`) is played beside it on seeded lives.
"""

import math
import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evals.verdicts import bar, versions
from tools.autonomy import policy
from tools.autonomy.evidence import TrialFact, look_at, lower_bound, weigh
from tools.kit.operation import Risk

TRIALS = 400
"""The longest life; looks beyond it are spent too, up to eight of them in all."""
FIRST = 10
"""Trials before the first reading of the gates that have no looks."""
RUN = 10
"""Trials of one evaluation run, for gates read after every run."""
BELOW = (0.001, 0.01, 0.03)
RISKS: tuple[Risk, ...] = ("low", "medium", "high")
ABOVE = (0.97, 0.99, 0.999)
MOST_LOOKS = 8
WILSON_Z = 1.6448536269514722
"""One-sided 5 %."""

Allows = Callable[[int, int], bool]
"""Whether a gate lets run after so many successes of so many trials."""


def ever_allowed(rate: float, readings: Sequence[int], allows: Allows) -> float:
    """Chance that some reading lets run, for trials that succeed with *rate* independently."""
    alive: NDArray[np.float64] = np.zeros(readings[-1] + 1)
    alive[0] = 1.0
    done = 0
    for reading in readings:
        for _ in range(reading - done):
            alive[1:] = alive[1:] * (1 - rate) + alive[:-1] * rate
            alive[0] *= 1 - rate
        done = reading
        first = least(reading, allows)
        alive[first:] = 0.0
    return float(1 - alive.sum())


def worst_single(rate: float, allows: Allows) -> float:
    """The highest chance that one reading, at some number of trials, lets run."""
    chances: NDArray[np.float64] = np.zeros(TRIALS + 1)
    chances[0] = 1.0
    worst = 0.0
    for of in range(1, TRIALS + 1):
        chances[1:] = chances[1:] * (1 - rate) + chances[:-1] * rate
        chances[0] *= 1 - rate
        if of >= FIRST:
            worst = max(worst, float(chances[least(of, allows) :].sum()))
    return worst


def least(of: int, allows: Allows) -> int:
    """The fewest successes of *of* trials that let run; one more than there are where none do."""
    low, high = 0, of + 1
    while low < high:
        middle = (low + high) // 2
        if middle > of or allows(middle, of):
            high = middle
        else:
            low = middle + 1
    return low


def exact(target: float, error: float) -> Allows:
    """The Clopper-Pearson bound at *error* reaches *target*."""
    return lambda passed, of: lower_bound(passed, of, error) >= target


def point(target: float) -> Allows:
    """The share of successes reaches *target*."""
    return lambda passed, of: passed >= target * of


def wilson(target: float) -> Allows:
    """Wilson's one-sided 95 % bound reaches *target* (Wilson, 1927)."""

    def allows(passed: int, of: int) -> bool:
        share, square = passed / of, WILSON_Z**2
        middle = share + square / (2 * of)
        spread = WILSON_Z * math.sqrt(share * (1 - share) / of + square / (4 * of * of))
        return (middle - spread) / (1 + square / of) >= target

    return allows


def looks(risk: Risk) -> list[int]:
    """Distinct worlds at each of the policy's first looks."""
    found = (look_at(risk, number) for number in range(1, MOST_LOOKS + 1))
    return [at for at in found if at is not None]


def ours(risk: Risk, rate: float, *, until: int | None = None) -> float:
    """Chance that the policy's looks ever let an operation of this true rate run."""
    target = policy.TARGETS[risk]
    readings = [at for at in looks(risk) if until is None or at <= until]
    if not readings:
        return 0.0
    number = {at: k for k, at in enumerate(looks(risk), start=1)}

    def allows(passed: int, of: int) -> bool:
        return exact(target, policy.ERROR * 2.0 ** -number[of])(passed, of)

    return ever_allowed(rate, readings, allows)


def played(risk: Risk, rate: float, lives: int, draw: random.Random) -> float:
    """Share of seeded lives that `weigh` itself ever lets run within 400 trials."""
    allowed = 0
    readings = [at for at in looks(risk) if at <= TRIALS]
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for _ in range(lives):
        trials = [
            TrialFact(
                case="poplar",
                seed=seed,
                passed=draw.random() < rate,
                harmful=False,
                injection=False,
                region={},
                at=at,
            )
            for seed in range(readings[-1])
        ]
        allowed += any(weigh(risk, trials[:n], {"poplar": 0.0}).sufficient for n in readings)
    return allowed / lives


def measure(*, seed: int = 1, lives: int = 400) -> dict[str, Any]:
    """Sweep targets, distances below them and lengths of life; *lives* are played with `weigh`."""
    began = time.monotonic()
    draw = random.Random(seed)  # noqa: S311 - simulated lives, nothing secret
    rows: list[dict[str, Any]] = []
    every = list(range(FIRST, TRIALS + 1))
    runs = list(range(FIRST, TRIALS + 1, RUN))
    for risk in RISKS:
        target = policy.TARGETS[risk]
        for below in BELOW:
            rate = target - below
            rows.append(
                {
                    "risk": risk,
                    "target": target,
                    "rate": round(rate, 4),
                    "ours": ours(risk, rate),
                    "ours_played": played(risk, rate, lives, draw),
                    "point rate": worst_single(rate, point(target)),
                    "Wilson bound": worst_single(rate, wilson(target)),
                    "exact bound after every run": ever_allowed(rate, runs, exact(target, 0.05)),
                    "exact bound after every trial": ever_allowed(rate, every, exact(target, 0.05)),
                }
            )
    control_names = [name for name in rows[0] if " " in name]
    worst = max(row["ours"] for row in rows)
    worst_played = max(row["ours_played"] for row in rows)
    # Three standard errors of a share at the bound.
    slack = 3 * math.sqrt(policy.ERROR * (1 - policy.ERROR) / lives)
    power = [
        {"risk": risk, "rate": rate, "within 400": ours(risk, rate, until=TRIALS)}
        for risk in RISKS
        for rate in ABOVE
    ]
    return {
        "name": "gate-soundness",
        "ours": {"worst": worst, "worst_played": worst_played, "sweep": rows, "power": power},
        "controls": {
            **{name: {"worst": max(row[name] for row in rows)} for name in control_names},
            "point rate at .94, target .95, n 200": {
                "worst": ever_allowed(0.94, [200], point(0.95))
            },
        },
        "bars": [
            bar(
                "worst false authorisation over a life",
                worst,
                f"<= {policy.ERROR}",
                holds=worst <= policy.ERROR,
            ),
            bar(
                f"the same, played with the product's judgement on {lives} lives",
                worst_played,
                f"<= {policy.ERROR + slack:.4f} (three standard errors of the play)",
                holds=worst_played <= policy.ERROR + slack,
            ),
        ],
        "seed": seed,
        "seconds": round(time.monotonic() - began, 1),
        "versions": versions("numpy"),
    }


def describe(result: dict[str, Any]) -> str:
    """The sweep as lines for a terminal."""
    rows = result["ours"]["sweep"]
    names = ["ours", *(name for name in rows[0] if " " in name)]
    lines = [
        f"gate-soundness, {result['seconds']} s: chance of ever running alone below the target",
        f"  {'target':>6} {'rate':>6}  " + "  ".join(f"{name:>14}" for name in names),
    ]
    lines += [
        f"  {row['target']:>6.2f} {row['rate']:>6.3f}  "
        + "  ".join(f"{row[name]:>{max(14, len(name))}.2%}" for name in names)
        for row in rows
    ]
    lines.append("  power within 400 distinct worlds:")
    lines += [
        f"    {one['risk']:6} true rate {one['rate']:.3f}: {one['within 400']:.1%}"
        for one in result["ours"]["power"]
    ]
    return "\n".join(lines)
