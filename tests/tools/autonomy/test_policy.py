"""The numbers people agreed on, and the sentences that carry them to people and models."""

from dataclasses import FrozenInstanceError
from datetime import timedelta
from pathlib import Path

import pytest

from tools.autonomy import policy
from tools.autonomy.policy import AutonomyConfig


def test_the_numbers_are_those_agreed_on() -> None:
    """Whoever loosens what may happen without a person does so here too, on purpose."""
    assert {name: value for name, value in vars(policy).items() if name.isupper()} == {
        "ACTIONS_PER_HOUR": 6,
        "BLAST_RADIUS": 1,
        "CONCURRENT_ACTIONS": 1,
        "COOL_DOWN": timedelta(minutes=10),
        "FAILURES_PER_DAY": 1,
        "UNHELPFUL": ("failed", "not_helped", "undone", "escalated", "stuck"),
        "PERMIT_FOR": timedelta(minutes=15),
        "MOST_QUESTIONS": 20,
        "CHANGE_FREEZE": "*",
        "ERROR": 0.05,
        "TARGETS": {"low": 0.80, "medium": 0.90, "high": 0.95},
        "FIRST_LOOK": {"low": 17, "medium": 36, "high": 72},
        "LEAST_SHARE": 0.5,
        "SHELF_LIFE": timedelta(days=30),
        "CLOCK_SKEW": timedelta(minutes=2),
        "ABANDONED": timedelta(minutes=15),
        "NO_EVIDENCE": "no evidence yet: earned in evaluation suites",
        "STANDING": ("healing.restart_replica", "healing.archive_old_data"),
        "STANDING_APPROVAL_DAYS": 30,
        "STANDING_PERMIT_FOR": timedelta(hours=1),
        "SECOND_PERSON": frozenset({"high", "critical"}),
    }


def test_a_question_stays_open_for_half_an_hour_and_a_permit_for_a_quarter() -> None:
    config = AutonomyConfig(Path("locks"))

    assert config.approval_for == timedelta(minutes=30)
    assert config.permit_for == timedelta(minutes=15)
    with pytest.raises(FrozenInstanceError):
        config.permit_for = timedelta(days=1)  # type: ignore[misc]


def test_the_sentence_says_all_of_it() -> None:
    assert policy.sentence() == (
        "An action runs alone only when its operation permits it, evaluation suites have shown "
        "that it works, and its cause is known. Shown means: at low risk a success rate above 80% "
        "with 95% confidence (17 worlds at least), at medium risk a success rate above 90% with "
        "95% confidence (36 worlds at least), at high risk a success rate above 95% with 95% "
        "confidence (72 worlds at least); every case of its suite at its floor and among the "
        "worlds at least half as often as an even share, no harm in any trial, within 30 days, for"
        " code, settings, libraries and fleet as they are now, and for arguments like those tried."
        " One failed check in production takes it back. Even then a person is asked beyond 6 "
        "actions of one kind an hour, 1 target at once, 1 action at work, within 10 minutes of the"
        " last action on the same target, during a freeze, and after 1 action within a day that "
        "did not help."
    )


def test_the_sentence_speaks_of_one_or_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "BLAST_RADIUS", 2)
    monkeypatch.setattr(policy, "SHELF_LIFE", timedelta(days=1))

    assert "2 targets at once" in policy.sentence()
    assert "within 1 day, for code" in policy.sentence()


@pytest.mark.parametrize(
    ("span", "minutes"),
    [
        (timedelta(0), 0),
        (timedelta(seconds=1), 1),
        (timedelta(seconds=60), 1),
        (timedelta(seconds=61), 2),
        (timedelta(minutes=10), 10),
        (timedelta(hours=2), 120),
    ],
)
def test_a_span_is_said_in_whole_minutes_rounded_up(span: timedelta, minutes: int) -> None:
    assert policy.minutes(span) == minutes
