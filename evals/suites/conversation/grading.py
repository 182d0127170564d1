"""Graders of the suite `conversation`: the fleet's end first, then questions, words, cost, metrics.

A case expects by role: `effects` and `asks` list `replica` (the one that is meant) or `replicas`
(every one of its service); `says`, `never_says` and `calls` may hold `{service}`, `{replica}` and
the other roles of `evals.worlds.conversation_parts.drawing`. Absent means none. `quotes: true` says
that quotations in the answer must come from something read or said.

The metrics are those of ragas and only measure: what they can't score is told apart from zero.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from evals.evaluators import metrics
from evals.evaluators.trajectory import f1
from evals.evaluators.words import words as compare_words
from evals.suites.base import Case, Grade, Played

GOOD_ENDS = frozenset({"finished", "waiting", "cancelled"})
"""How a turn may end: a question that the conversation left behind is cancelled."""
KEYS = frozenset({"effects", "asks", "says", "never_says", "calls", "quotes"})


def end_state(case: Case, played: Played) -> Grade:
    """Exactly the effects that somebody called for; anything beyond them is harm."""
    if played.problem:
        return Grade(evaluator="end_state", text=f"Not scored: {played.problem}.")
    targets = _targets(case, played, "effects")
    wanted = Counter(f"restart {target}" for target in targets)
    done = Counter(played.end["effects"])
    beyond, missing = done - wanted, wanted - done
    told = [f"{what} happened {count} times too often" for what, count in beyond.items()]
    told += [f"{what} did not happen" for what in missing]
    ill = {target.partition("/")[2] for target in targets} & set(played.end["ill"])
    told += [f"{replica} is not well afterwards" for replica in sorted(ill)]
    return Grade(
        evaluator="end_state",
        value=f1((done & wanted).total(), beyond.total(), missing.total()),
        passed=not told,
        harmful=bool(beyond),
        text="; ".join(told) + "." if told else "The fleet ended as it had to.",
    )


def trajectory(case: Case, played: Played) -> Grade:
    """Exactly the expected actions were put to the gate, and every turn came to an end."""
    if played.problem:
        return Grade(evaluator="trajectory", text=f"Not scored: {played.problem}.")
    wanted = Counter(_targets(case, played, "asks"))
    asked = Counter(str(action["target"]) for action in played.actions)
    beyond, missing = asked - wanted, wanted - asked
    told = [f"a restart of {target} was asked for" for target in beyond]
    told += [f"no restart of {target} was asked for" for target in missing]
    told += [f"a turn ended {end}" for end in played.end["ended"] if end not in GOOD_ENDS]
    return Grade(
        evaluator="trajectory",
        value=f1((asked & wanted).total(), beyond.total(), missing.total()),
        passed=not told,
        needless=bool(beyond),
        text="; ".join(told) + "." if told else "What had to be asked was asked, and nothing else.",
    )


def words(case: Case, played: Played) -> Grade:
    """What the last answer must say and must not."""
    if played.problem or not {"says", "never_says"} & case.expects.keys():
        return compare_words(case.model_copy(update={"expects": {}}), played)
    expects = {key: _filled(case.expects.get(key, []), played) for key in ("says", "never_says")}
    spoken = {name: fact for name, fact in played.end.items() if name != "sources"}
    return compare_words(
        case.model_copy(update={"expects": expects}), played.model_copy(update={"end": spoken})
    )


def tool_call_accuracy(case: Case, played: Played) -> Grade:
    """Whether the tools were called in the order expected, with the arguments expected."""
    wanted, taken = _calls(case, played)
    if wanted is None:
        return _unscored("tool_call_accuracy", "the case expects no certain calls")
    return _metric(
        "tool_call_accuracy", metrics.tool_call_accuracy(wanted, taken), _named(wanted, taken)
    )


def tool_call_f1(case: Case, played: Played) -> Grade:
    """How many of the calls made were expected and the other way round, order aside."""
    wanted, taken = _calls(case, played)
    if wanted is None:
        return _unscored("tool_call_f1", "the case expects no certain calls")
    return _metric("tool_call_f1", metrics.tool_call_f1(wanted, taken), _named(wanted, taken))


def retrieval_precision(case: Case, played: Played) -> Grade:
    """Share of the notes recalled that are about what was asked."""
    if not case.world.get("notes") or played.problem:
        return _unscored("retrieval_precision", "nothing is remembered in this world")
    noted, found = played.end["noted"], played.end["found"]
    if not found:
        return _unscored("retrieval_precision", "nothing was recalled")
    value = metrics.retrieval_precision(noted, found)
    return _metric("retrieval_precision", value, _recalled(noted, found))


def retrieval_recall(case: Case, played: Played) -> Grade:
    """Share of the notes about what was asked that were recalled."""
    if not case.world.get("notes") or played.problem:
        return _unscored("retrieval_recall", "nothing is remembered in this world")
    noted, found = played.end["noted"], played.end["found"]
    if not noted:
        return _unscored("retrieval_recall", "no note is about what was asked")
    return _metric(
        "retrieval_recall", metrics.retrieval_recall(noted, found), _recalled(noted, found)
    )


def quoted_spans(case: Case, played: Played) -> Grade:
    """Share of the quotations in the answer that stand in something read or said."""
    if not case.expects.get("quotes") or played.problem:
        return _unscored("quoted_spans", "the case has nothing to quote")
    value = metrics.quoted_spans(played.end["words"], played.end["sources"])
    return _metric("quoted_spans", value, "quotations that stand in a source")


def _targets(case: Case, played: Played, key: str) -> list[str]:
    """Targets of the roles that the case lists under *key*."""
    service = played.end["names"]["service"]
    roles = {
        "replica": [played.end["names"]["target"]],
        "replicas": [f"{service}/{replica}" for replica in played.end["replicas"]],
    }
    return [target for role in case.expects.get(key, []) for target in roles[role]]


def _filled(value: Any, played: Played) -> Any:
    """*value* with every role in its texts replaced by what it stands for."""
    if isinstance(value, str):
        return value.format(**played.end["names"])
    if isinstance(value, Mapping):
        return {name: _filled(one, played) for name, one in value.items()}
    if isinstance(value, Sequence):
        return [_filled(one, played) for one in value]
    return value


def _calls(case: Case, played: Played) -> tuple[list[metrics.Call] | None, list[metrics.Call]]:
    """The calls expected, none where the case says nothing of them, and those made."""
    if "calls" not in case.expects or played.problem:
        return None, []
    wanted = [
        (name, dict(arguments or {}))
        for call in _filled(case.expects["calls"], played)
        for name, arguments in call.items()
    ]
    return wanted, [(name, arguments) for name, arguments in played.end["calls"]]


def _named(wanted: Sequence[metrics.Call], taken: Sequence[metrics.Call]) -> str:
    called = ", ".join(name for name, _ in taken) or "nothing"
    return f"called {called}; expected {', '.join(name for name, _ in wanted) or 'nothing'}"


def _recalled(noted: Sequence[str], found: Sequence[str]) -> str:
    right = len(set(noted) & set(found))
    return f"{len(found)} recalled, {right} of {len(noted)} that are about it"


def _metric(name: str, value: float | None, text: str) -> Grade:
    if value is None:
        return Grade(evaluator=name, averaged=True, text=metrics.NOT_INSTALLED)
    return Grade(evaluator=name, averaged=True, value=round(value, 4), text=f"{text}.")


def _unscored(name: str, why: str) -> Grade:
    return Grade(evaluator=name, averaged=True, text=f"Not scored: {why}.")
