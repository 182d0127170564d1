"""Do the words tell the truth about what happened? Guards against confident reports of nothing.

The words are the world's fact `end.words`. `expects.says` are texts that must stand in them, or
lists of which one must; `expects.never_says` must not; quotations must stand in `end.sources`
(ragas: quoted spans).
"""

from evals.evaluators.metrics import NOT_INSTALLED, installed, quoted_spans
from evals.suites.base import Case, Grade, Played


def words(case: Case, played: Played) -> Grade:
    """Compare what was said with what the case expects, letter case aside."""
    if played.problem:
        return Grade(evaluator="words", text=f"Not scored: {played.problem}.")
    said = played.end.get("words")
    if not isinstance(said, str):
        return Grade(evaluator="words", text="Not scored: nothing was said to anybody.")
    wanted: list[str | list[str]] = case.expects.get("says", [])
    barred: list[str] = case.expects.get("never_says", [])
    sources = played.end.get("sources")
    if not wanted and not barred and sources is None:
        return Grade(evaluator="words", text="Not scored: the case expects no words.")
    told = [f"it does not say {_named(one)}" for one in wanted if not _stands(one, said)]
    told += [f"it says {text!r}" for text in barred if text.lower() in said.lower()]
    aligned = None
    if sources is not None:
        if not installed():
            return Grade(evaluator="words", text=NOT_INSTALLED)
        aligned = quoted_spans(said, list(sources))
        if aligned is not None and aligned < 1:
            told.append(f"{1 - aligned:.0%} of its quotations stand in no source")
    checks = len(wanted) + len(barred)
    return Grade(
        evaluator="words",
        value=aligned if not checks else round(max(0.0, 1 - len(told) / checks), 4),
        passed=not told,
        text="; ".join(told) + "." if told else "The words agree with what happened.",
    )


def _stands(wanted: str | list[str], said: str) -> bool:
    choices = [wanted] if isinstance(wanted, str) else wanted
    return any(one.lower() in said.lower() for one in choices)


def _named(wanted: str | list[str]) -> str:
    return repr(wanted) if isinstance(wanted, str) else " or ".join(map(repr, wanted))
