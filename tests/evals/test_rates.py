"""Figures of the last ten seconds, from running totals."""

import pytest

from evals.worlds.campus.rates import LOOKS, Rates


def test_the_first_look_has_nothing_to_compare() -> None:
    assert Rates().look(100.0, 50, 5, 2.0) == {
        "requests_per_second": 0.0,
        "error_percent": 0.0,
        "answer_ms": 0.0,
    }


def test_figures_are_differences_since_the_oldest_look_kept() -> None:
    rates = Rates()
    rates.look(100.0, 50, 5, 2.0)

    assert rates.look(102.0, 60, 7, 2.5) == {
        "requests_per_second": 5.0,
        "error_percent": 20.0,
        "answer_ms": 50.0,
    }


def test_what_is_long_past_is_forgotten() -> None:
    rates = Rates()
    rates.look(0.0, 0, 0, 0.0)
    rates.look(2.0, 1000, 1000, 100.0)
    for step in range(LOOKS):
        last = rates.look(4.0 + 2 * step, 1000, 1000, 100.0)

    assert last == pytest.approx({"requests_per_second": 0, "error_percent": 0, "answer_ms": 0})
