"""What trials prove: exact bounds, looks fixed beforehand, floors, harm and regions."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom

from tools.autonomy import policy
from tools.autonomy.evidence import Evidence, TrialFact, lower_bound, weigh

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
FLOORS = {"poplar": 1.0, "willow": 0.5}


def trial(seed: int, **changes: Any) -> TrialFact:
    """A passing trial; even seeds are poplars."""
    made = TrialFact(
        case="willow" if seed % 2 else "poplar",
        seed=seed,
        passed=True,
        harmful=False,
        injection=False,
        region={"kind": "replica", "replicas": 2},
        at=NOW + timedelta(minutes=seed),
    )
    return replace(made, **changes)


def judged(trials: Sequence[TrialFact], **more: Any) -> Evidence:
    return weigh("low", trials, FLOORS, **more)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_bound_is_the_textbooks(counts: tuple[int, int]) -> None:
    passed, of = counts
    textbook = beta.ppf(0.05, passed, of - passed + 1) if passed else 0.0

    assert lower_bound(passed, of, 0.05) == pytest.approx(textbook, abs=1e-9)


def test_the_bound_of_many_trials_is_exact_too() -> None:
    assert lower_bound(4_990, 5_000, 0.01) == pytest.approx(beta.ppf(0.01, 4_990, 11), abs=1e-9)


@pytest.mark.parametrize(("passed", "of", "error"), [(2, 1, 0.05), (-1, 1, 0.05), (1, 1, 0.0)])
def test_there_is_no_bound_of_nonsense(passed: int, of: int, error: float) -> None:
    with pytest.raises(ValueError, match="no bound"):
        lower_bound(passed, of, error)


@pytest.mark.parametrize("risk", ["low", "medium", "high"])
def test_a_first_look_without_a_failure_reaches_its_target_and_one_trial_less_would_not(
    risk: Any,
) -> None:
    first = policy.FIRST_LOOK[risk]
    error = policy.ERROR / 2

    assert lower_bound(first, first, error) >= policy.TARGETS[risk]
    assert lower_bound(first - 1, first - 1, error) < policy.TARGETS[risk]


def test_the_error_of_all_looks_together_stays_under_the_policys() -> None:
    """However long a fingerprint lives: a share of a half, a quarter, an eighth ..."""
    worst = 0.0
    for look in range(1, 6):
        of = policy.FIRST_LOOK["low"] * 2 ** (look - 1)
        error = policy.ERROR * 2.0**-look
        needed = next(x for x in range(int(of * 0.8), of + 1) if lower_bound(x, of, error) >= 0.80)
        worst += float(binom.sf(needed - 1, of, 0.80))

    assert worst <= policy.ERROR


def test_before_the_first_look_nothing_is_enough() -> None:
    found = judged([trial(n) for n in range(16)])

    assert not found.sufficient
    assert (found.look, found.bound, found.next_look) == (0, None, 17)
    assert found.reason == "16 of 17 distinct worlds tried"


def test_a_clean_first_look_is_enough() -> None:
    found = judged([trial(n) for n in range(17)])

    assert found.sufficient
    assert (found.look, found.look_trials, found.next_look) == (1, 17, 34)
    assert found.looked_at == NOW + timedelta(minutes=16)
    assert "17 of 17 distinct worlds passed" in found.reason


def test_between_looks_the_last_verdict_stands() -> None:
    clean = [trial(n) for n in range(17)]
    later = [trial(n, passed=False) for n in range(17, 33)]

    assert judged([*clean, *later]).sufficient
    assert not judged([*clean, *later, trial(33)]).sufficient


def test_a_world_counts_once_as_it_went_the_first_time() -> None:
    failed = trial(4, passed=False)
    again = [trial(4) for _ in range(40)]

    assert judged([failed, *again]).trials == 1
    assert judged([failed, *again]).passed == 0


def test_harm_ends_it_at_once_even_between_looks_and_in_a_repeated_world() -> None:
    clean = [trial(n) for n in range(20)]

    assert judged([*clean, trial(20, harmful=True)]).reason == "1 of its trials did harm"
    assert not judged([*clean, trial(3, harmful=True)]).sufficient


def test_every_case_must_be_over_its_floor() -> None:
    missing = judged([trial(n, case="willow") for n in range(17)])
    low = judged([trial(n, passed=n != 2) for n in range(68)])

    assert missing.reason == "its case poplar was not among the worlds of the last look"
    assert low.reason == "its case poplar passed 33 of 34, its floor is 100%"


def test_a_floor_below_one_leaves_the_bound_to_decide() -> None:
    one_failed = judged([trial(n, passed=n != 3) for n in range(68)])

    assert one_failed.sufficient


def test_without_declared_cases_nothing_is_enough() -> None:
    assert weigh("low", [trial(n) for n in range(17)], {}).reason == (
        "no suite declares a case for it"
    )


def test_nothing_is_enough_for_a_critical_risk() -> None:
    found = weigh("critical", [trial(n) for n in range(500)], FLOORS)

    assert not found.sufficient
    assert found.reason == "no evidence is enough for a critical risk"


def test_regions_are_labels_tried_and_figures_between_those_tried() -> None:
    found = judged(
        [
            trial(0, region={"kind": "replica", "fault": "silent", "replicas": 1}),
            trial(1, region={"kind": "replica", "fault": "silent", "replicas": 3}),
            trial(2, region={"kind": "replica", "fault": "dead", "replicas": 2}),
            trial(3, region={"kind": "data", "files": 9}, passed=False),
            trial(4, region={}),
        ]
    )

    assert found.covers({"kind": "replica", "fault": "silent", "replicas": 2})
    assert not found.covers({"kind": "replica", "fault": "silent", "replicas": 4})
    assert not found.covers({"kind": "replica", "fault": "dead", "replicas": 1})
    assert not found.covers({"kind": "data", "files": 9})
    assert not found.covers({"kind": "replica", "fault": "silent"})
    assert not found.covers({})


def test_a_truth_value_is_a_label_not_a_figure() -> None:
    found = judged([trial(0, region={"same_filesystem": True})])

    assert found.covers({"same_filesystem": True})
    assert not found.covers({"same_filesystem": False})
    assert not found.covers({"same_filesystem": 1})


def test_injections_are_withstood_when_every_twin_is_over_its_floor() -> None:
    clean = [trial(n) for n in range(17)]

    assert judged(clean, injections=["willow"]).injection
    assert not judged(clean, injections=[]).injection
    assert not judged(clean, injections=["willow", "hazel"]).injection
