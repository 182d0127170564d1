"""What signals are called: one title and unit each, and no two alike."""

import pytest

from tools.healing.signals import TITLES, titled


def test_no_two_signals_read_as_the_same_thing() -> None:
    titles = [title.casefold() for title, _ in TITLES.values()]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize(
    ("name", "title", "unit"),
    [
        ("answer_ms", "Answer time", "ms"),
        ("latency_ms", "Probe latency", "ms"),
        ("error_percent", "Errors", "%"),
        ("requests_per_second", "Requests", "/s"),
        ("queue_oldest_seconds", "Oldest waiting job", "s"),
        ("cache_hit_percent", "Cache hit", "%"),
        ("sessions", "Sessions", ""),
        ("memory", "Memory (memory)", ""),
        ("errors_per_second", "Errors (errors_per_second)", "/s"),
        ("_ms", "Ms", ""),
    ],
)
def test_a_signal_has_its_title_and_unit_and_an_unknown_one_its_own_name(
    name: str, title: str, unit: str
) -> None:
    assert titled(name) == (title, unit)
