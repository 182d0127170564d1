"""Which worlds a run has left to play: a pure function of the suite, the options and what ended."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from evals.records import RunOptions, TrialRecord
from evals.suites.base import Case, Suite
from tools.autonomy.evidence import next_look, scarce
from tools.kit.operation import Risk

FULL_TRIALS = 4
"""Least worlds per case in a full run, so that pass^4 says something."""


class NoSuchCase(LookupError):
    """The suite has no case of that name among those chosen."""


@dataclass(frozen=True)
class Job:
    """One world to play."""

    case: Case
    control: str = ""
    seed: int | None = None
    """Given for a control, which plays a world we played; drawn when ours begins."""


def chosen_cases(suite: Suite, options: RunOptions) -> tuple[Case, ...]:
    """The cases the options ask for.

    Raises:
        NoSuchCase: `only` names none, or the quick set is empty.
    """
    if options.only is not None:
        found = tuple(case for case in suite.cases if case.name == options.only)
        if not found:
            known = ", ".join(case.name for case in suite.cases)
            raise NoSuchCase(f"{suite.name} has no case {options.only}; its cases: {known}.")
        return found
    found = tuple(case for case in suite.cases if case.quick or not options.quick)
    if not found:
        raise NoSuchCase(f"{suite.name} marks no case quick; run it without --quick.")
    return found


def trials_per_case(
    cases: Sequence[Case], options: RunOptions, risks: Mapping[str, Risk]
) -> dict[str, int]:
    """Worlds to play by case.

    Without a number asked for: the fewest, spread evenly, that bring every operation to the first
    look that can be enough, at least four per case; in the quick set every operation of low risk,
    and at least one. A case of no operation is played as often as the least. Where a case is also
    an operation's that needs more, the others of its operations are played more often with it, so
    that none is scarce at a look.
    """
    if options.trials is not None:
        return dict.fromkeys((case.name for case in cases), options.trials)
    if options.only is not None:
        return dict.fromkeys((case.name for case in cases), FULL_TRIALS)
    tried = Counter(operation for case in cases for operation in case.operations)
    least = 1 if options.quick else FULL_TRIALS
    needed = dict.fromkeys(tried, least)
    for operation, count in tried.items():
        risk = risks.get(operation)
        if risk is not None and (risk == "low" or not options.quick):
            needed[operation] = max(least, math.ceil((next_look(risk, 0, count) or 0) / count))
    wanted = {
        case.name: max((needed[operation] for operation in case.operations), default=least)
        for case in cases
    }
    while few := _scarce(cases, wanted):
        for name in few:
            wanted[name] += 1
    return wanted


def _scarce(cases: Sequence[Case], wanted: Mapping[str, int]) -> set[str]:
    """Cases that would be scarce among the worlds of one of their operations."""
    own: dict[str, list[str]] = {}
    for case in cases:
        for operation in case.operations:
            own.setdefault(operation, []).append(case.name)
    return {
        name
        for names in own.values()
        for name in names
        if scarce(wanted[name], sum(wanted[other] for other in names), len(names))
    }


def jobs_left(
    suite: Suite, options: RunOptions, risks: Mapping[str, Risk], played: Iterable[TrialRecord]
) -> list[Job]:
    """Our own worlds still to play, in rounds over the cases, so that a stopped run covers all.

    A world that ended or was aborted is done.
    """
    cases = chosen_cases(suite, options)
    wanted = trials_per_case(cases, options, risks)
    done = Counter(trial.case for trial in played if not trial.control)
    ours = [
        (number, case) for case in cases for number in range(done[case.name], wanted[case.name])
    ]
    ours.sort(key=lambda one: one[0])
    return [Job(case) for _, case in ours]


def controls_left(suite: Suite, options: RunOptions, played: Sequence[TrialRecord]) -> list[Job]:
    """The controls' worlds still to play, given every world of ours that is done.

    Controls play worlds that we played: every one, or in the quick set the first of each case.
    """
    if not options.controls:
        return []
    cases = {case.name: case for case in chosen_cases(suite, options)}
    done = {(trial.control, trial.case, trial.seed) for trial in played if trial.control}
    seen: Counter[str] = Counter()
    jobs = []
    for trial in played:
        if trial.control or trial.case not in cases:
            continue
        seen[trial.case] += 1
        if options.quick and seen[trial.case] > 1:
            continue
        jobs += [
            Job(cases[trial.case], name, trial.seed)
            for name in suite.controls
            if (name, trial.case, trial.seed) not in done
        ]
    return jobs
