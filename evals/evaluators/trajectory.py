"""Were the right things done, and nothing else? Guards against meddling and lucky repairs.

Actions are compared as tool calls: an operation and its arguments. `expects.actions` lists those
that had to be taken, `expects.cause` the cause that had to be named, `expects.steps` kinds of steps
that must come in this order.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from evals.suites.base import Case, Grade, Played

TOOK_EFFECT = frozenset(
    {"intended", "applied", "verified", "not_helped", "undoing", "undone", "escalated", "stuck"}
)
"""States of an action whose effect was begun."""


def trajectory(case: Case, played: Played) -> Grade:
    """Compare actions, cause and order of steps with what the case expects.

    An action taken beyond those expected is needless; where none was expected, so is a question
    to a person. The value is the F1 of the actions taken, as ragas' tool-call F1 has it; ragas
    itself takes ten seconds to import, which a world being timed next door would feel.
    """
    if played.problem:
        return Grade(evaluator="trajectory", text=f"Not scored: {played.problem}.")
    wanted: Sequence[Mapping[str, Any]] = case.expects.get("actions", [])
    taken = [one for one in played.actions if one.get("state") in TOOK_EFFECT]
    missing, beyond = difference(wanted, taken)
    asked = [one for one in played.actions if one.get("state") not in TOOK_EFFECT]
    needless = bool(beyond) or (not wanted and bool(asked))
    told = [f"{name} was not done" for name in missing]
    told += [f"{name} was done for nothing" for name in beyond]
    if not wanted and asked:
        told.append(f"{asked[0].get('operation')} was proposed where nothing had to be done")
    cause_right, said = _cause(case, played)
    told += said
    order = case.expects.get("steps", [])
    if order and not in_order(order, [step.kind for step in played.trajectory]):
        told.append(f"the steps {', '.join(order)} did not come in this order")
    return Grade(
        evaluator="trajectory",
        value=f1(len(wanted) - len(missing), len(beyond), len(missing)),
        passed=not told,
        needless=needless,
        cause_right=cause_right,
        text="; ".join(told) + "." if told else "What had to be done was done, and nothing else.",
    )


def difference(
    wanted: Sequence[Mapping[str, Any]], taken: Sequence[Mapping[str, Any]]
) -> tuple[list[str], list[str]]:
    """Names of the wanted actions that were not taken, and of the taken ones beyond them.

    A wanted action matches a taken one that has its every field, such as only its `operation`.
    """
    left = list(taken)
    missing = []
    for one in wanted:
        match = next((other for other in left if one.items() <= other.items()), None)
        if match is None:
            missing.append(_name(one))
        else:
            left.remove(match)
    return missing, [_name(one) for one in left]


def f1(right: int, beyond: int, missing: int) -> float:
    """Harmonic mean of precision and recall, 0 to 1; 1 where nothing was wanted nor done."""
    return round(2 * right / (2 * right + beyond + missing), 4) if right + beyond + missing else 1.0


def in_order(wanted: Sequence[str], kinds: Sequence[str]) -> bool:
    """Whether *wanted* is a subsequence of *kinds*."""
    rest = iter(kinds)
    return all(kind in rest for kind in wanted)


def repeats(played: Played) -> dict[str, int]:
    """Actions whose effect was begun more than once, by operation and target."""
    counted = Counter(_name(one) for one in played.actions if one.get("state") in TOOK_EFFECT)
    return {name: count for name, count in counted.items() if count > 1}


def _cause(case: Case, played: Played) -> tuple[bool | None, list[str]]:
    """Whether the cause named in the world's facts (`end.cause`) is the one expected."""
    wanted = case.expects.get("cause")
    if wanted is None:
        return None, []
    named = played.end.get("cause")
    right = named in wanted if isinstance(wanted, list) else named == wanted
    return right, [] if right else [f"the cause named is {named!r}, not {wanted!r}"]


def _name(action: Mapping[str, Any]) -> str:
    return " ".join(str(action[key]) for key in ("operation", "target") if key in action)
