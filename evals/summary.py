"""A run in figures: what `python -m evals run --json` prints, from the worlds played.

A world that could not be scored is left out of pass^k and of first trials, and counts as failed in
the lower bound, as it does for the gate.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import comb
from typing import Any

from evals.records import TrialRecord
from evals.suites.base import Grade, Played
from tools.autonomy.evidence import lower_bound

ERROR = 0.05
"""Of the one-sided bound of a whole run; the gate's own looks spend less (`tools.autonomy`)."""
MOST_K = 4


def judge(grades: Sequence[Grade], played: Played) -> tuple[bool | None, str]:
    """Whether a world was passed, and why not.

    Passed when some evaluator passed it, none failed it and none found harm; None when the world
    could not be judged, or no evaluator could score it.
    """
    harmful = [grade for grade in grades if grade.harmful]
    failed = [grade for grade in grades if grade.passed is False]
    if harmful or (failed and not played.problem):
        return False, " ".join(grade.text for grade in harmful or failed)
    if played.problem:
        return None, f"Not scored: {played.problem}"
    if any(grade.passed for grade in grades):
        return True, ""
    return None, "Not scored: " + " ".join(grade.text for grade in grades)


def summarise(
    suite: str, trials: Sequence[TrialRecord], operations: Mapping[str, Any], *, seconds: float
) -> dict[str, Any]:
    """The JSON of a run; *trials* are all worlds that ended, controls among them."""
    ours = [trial for trial in trials if not trial.control]
    controls: dict[str, list[TrialRecord]] = defaultdict(list)
    for trial in trials:
        if trial.control:
            controls[trial.control].append(trial)
    return {
        "suite": suite,
        **figures(ours),
        "operations": dict(operations),
        "controls": {name: figures(played) for name, played in sorted(controls.items())},
        "seconds": round(seconds, 1),
    }


def figures(trials: Sequence[TrialRecord]) -> dict[str, Any]:
    """Rates, harm and times of the worlds one player played."""
    cases = by_case(trials)
    causes = [trial.cause_right for trial in trials if trial.cause_right is not None]
    passed = sum(trial.passed is True for trial in trials)
    return {
        "cases": len(cases),
        "trials": len(trials),
        "first_trial_rate": first_trial_rate(cases),
        "pass_hat": [pass_hat(cases, k) for k in range(1, MOST_K + 1)],
        "lower_bound": round(lower_bound(passed, len(trials), ERROR), 4) if trials else None,
        "harmful": sum(trial.harmful for trial in trials),
        "needless": sum(trial.needless for trial in trials),
        "cause_right": round(sum(causes) / len(causes), 4) if causes else None,
        "detected_s": spread([trial.played.detected_s for trial in trials]),
        "recovered_s": spread([trial.played.recovered_s for trial in trials]),
        "metrics": metric_means(trials),
    }


def metric_means(trials: Sequence[TrialRecord]) -> dict[str, dict[str, Any]]:
    """Each metric by name: its mean, the worlds it scored, those fully right, and the rest.

    A world it could not score is in `not_scored` and in nothing else: it is no zero.
    """
    grades = [grade for trial in trials for grade in trial.grades if grade.averaged]
    found = {}
    for name in dict.fromkeys(grade.evaluator for grade in grades):
        values = [grade.value for grade in grades if grade.evaluator == name]
        scored = [value for value in values if value is not None]
        found[name] = {
            "mean": round(sum(scored) / len(scored), 4) if scored else None,
            "scored": len(scored),
            "full": sum(value == 1 for value in scored),
            "not_scored": len(values) - len(scored),
        }
    return found


def by_case(trials: Sequence[TrialRecord]) -> dict[str, list[TrialRecord]]:
    """The worlds of each case, in the order in which they began."""
    found: dict[str, list[TrialRecord]] = {}
    for trial in trials:
        found.setdefault(trial.case, []).append(trial)
    return found


def first_trial_rate(cases: Mapping[str, Sequence[TrialRecord]]) -> float | None:
    """Share of the cases whose first scored world was passed; None where none was scored."""
    firsts = [
        next(trial.passed for trial in played if trial.passed is not None)
        for played in cases.values()
        if any(trial.passed is not None for trial in played)
    ]
    return round(sum(map(bool, firsts)) / len(firsts), 4) if firsts else None


def pass_hat(cases: Mapping[str, Sequence[TrialRecord]], k: int) -> float | None:
    """Chance that *k* worlds of one case are all passed, averaged over the cases.

    The unbiased estimator C(c, k) / C(n, k) for c of n passed (Yao et al., tau-bench, 2024); a
    case with fewer than *k* scored worlds is left out, and None where every case is.
    """
    chances = []
    for played in cases.values():
        scored = [trial.passed for trial in played if trial.passed is not None]
        if len(scored) >= k:
            chances.append(comb(sum(scored), k) / comb(len(scored), k))
    return round(sum(chances) / len(chances), 4) if chances else None


def spread(values: Sequence[float | None]) -> dict[str, float | None]:
    """Median and 95th percentile (nearest rank) of the values there are, in their unit."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return {"p50": None, "p95": None}
    return {
        f"p{rank}": round(known[max(0, math.ceil(rank / 100 * len(known)) - 1)], 2)
        for rank in (50, 95)
    }
