"""The roster: six specialists, each with its folder of examples."""

from pathlib import Path

from agents.roster import ROSTER, specialist

AGENTS = Path(__file__).parent.parent.parent / "agents"


def test_there_are_six_and_the_healer_is_ready() -> None:
    assert [one.name for one in ROSTER] == [
        "reviewer",
        "healer",
        "patcher",
        "onboarder",
        "author",
        "tutor",
    ]
    assert [one.name for one in ROSTER if one.ready] == ["healer"]


def test_who_is_not_ready_says_what_is_coming() -> None:
    for one in ROSTER:
        assert bool(one.coming) is not one.ready
        assert one.summary.endswith(".")


def test_everyone_has_examples_and_a_room_belongs_to_one() -> None:
    assert all((AGENTS / one.name / "examples.yaml").is_file() for one in ROSTER)
    rooms = [room for one in ROSTER for room in one.rooms]
    assert len(rooms) == len(set(rooms))


def test_a_name_finds_its_specialist() -> None:
    assert specialist("healer") in ROSTER
    assert specialist("gardener") is None
