"""Which worlds a run has left to play: a pure function of the suite, the options and what ended."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from evals.records import RunOptions, TrialRecord
from evals.suites.base import Case, Suite
from tools.autonomy.policy import FIRST_LOOK

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
    cases: Sequence[Case], options: RunOptions, risks: Mapping[str, str]
) -> dict[str, int]:
    """Worlds to play by case.

    Without a number asked for: the fewest, spread evenly, that bring every operation to the first
    look that can have seen each of its cases, at least four per case; in the quick set every
    operation of low risk, and at least one. A case of no operation is played as often as the least.
    """
    if options.trials is not None:
        return dict.fromkeys((case.name for case in cases), options.trials)
    if options.only is not None:
        return dict.fromkeys((case.name for case in cases), FULL_TRIALS)
    tried = Counter(operation for case in cases for operation in case.operations)
    least = 1 if options.quick else FULL_TRIALS
    looked_at = {"low": FIRST_LOOK["low"]} if options.quick else FIRST_LOOK
    needed = {
        operation: max(
            least, math.ceil(_look(looked_at.get(risks.get(operation, "")), count) / count)
        )
        for operation, count in tried.items()
    }
    return {
        case.name: max((needed[operation] for operation in case.operations), default=least)
        for case in cases
    }


def _look(first: int | None, cases: int) -> int:
    """Worlds of the earliest look that can have seen every case; 0 where no look is wanted."""
    while first is not None and first < cases:
        first *= 2
    return first or 0


def jobs_left(
    suite: Suite, options: RunOptions, risks: Mapping[str, str], played: Iterable[TrialRecord]
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
