"""What did it cost? Guards against repairs that cost more than the fault; only ever measures.

A case may set `expects.most`: figures of the cost that must not be passed, such as `{seconds: 20}`.
"""

from collections.abc import Mapping

from evals.suites.base import Case, Grade, Played


def cost(case: Case, played: Played) -> Grade:
    """The seconds it took, and whether every limit of the case was kept."""
    limits: Mapping[str, float] = case.expects.get("most", {})
    if not played.cost:
        return Grade(evaluator="cost", text="Not scored: nothing was measured.")
    told = ", ".join(f"{name} {value:g}" for name, value in sorted(played.cost.items()))
    if missing := sorted(limits.keys() - played.cost.keys()):
        return Grade(evaluator="cost", text=f"Not scored: {', '.join(missing)} was not measured.")
    over = [
        f"{name} {played.cost[name]:g} is over {limit:g}"
        for name, limit in limits.items()
        if played.cost[name] > limit
    ]
    return Grade(
        evaluator="cost",
        value=played.cost.get("seconds"),
        passed=None if not limits else not over,
        text="; ".join(over) + "." if over else told + ".",
    )
