"""The plans of runs bring operations to looks at which no case is scarce."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from evals.planning import jobs_left, trials_per_case
from evals.records import RunOptions
from evals.suites.base import load_suite
from tests.fakes.suites import OPERATION, lamp_case
from tools.autonomy.evidence import TrialFact, weigh
from tools.catalogue import build_operations
from tools.kit.operation import Risk

ANOTHER = "healing.archive_old_data"


def verdicts(operation: str, runs: Sequence[str]) -> dict[int, str]:
    """Why an operation may run at each of its looks, or not, after these runs of healing."""
    suite = load_suite("healing")
    operations = build_operations(archive_folder=Path("archive"))
    risks = {name: one.risk for name, one in operations.items()}
    cases = [
        job.case
        for run in runs
        for job in jobs_left(suite, RunOptions(quick=run == "quick"), risks, [])
    ]
    floors = {case.name: 1.0 for case in suite.cases if operation in case.operations}
    trials = [
        TrialFact(case.name, seed, True, False, False, {}, datetime(2026, 11, 1, tzinfo=UTC))
        for seed, case in enumerate(cases)
        if operation in case.operations
    ]
    found = {}
    for number in range(1, len(trials) + 1):
        weighed = weigh(risks[operation], trials[:number], floors)
        if weighed.look_trials == number:
            found[number] = weighed.reason
    return found


@pytest.mark.parametrize(
    "runs",
    [
        ["quick"],
        ["whole"],
        ["quick", "whole"],
        ["quick", "quick", "whole"],
        ["whole", "quick", "whole", "whole"],
        ["whole"] * 5,
    ],
)
def test_each_look_of_the_healers_plans_from_the_first_that_can_be_enough_is_enough(
    runs: list[str],
) -> None:
    restart, archive = verdicts(OPERATION, runs), verdicts(ANOTHER, runs)

    assert "was not among the worlds" in restart.pop(17)
    assert restart
    assert all("distinct worlds passed" in reason for reason in restart.values())
    assert bool(archive) is ("whole" in runs)
    assert all("distinct worlds passed" in reason for reason in archive.values())


def test_a_case_shared_with_an_operation_that_needs_more_draws_the_others_along() -> None:
    own = [lamp_case(f"own-{n}", operations=(OPERATION,)) for n in range(9)]
    shared = lamp_case("shared", operations=(OPERATION, ANOTHER))
    risks: dict[str, Risk] = {OPERATION: "low", ANOTHER: "high"}
    wanted = trials_per_case([*own, shared], RunOptions(), risks)

    assert wanted.pop("shared") == 72
    assert set(wanted.values()) == {7}
    assert 7 * 2 * 10 >= 9 * 7 + 72 > 6 * 2 * 10
