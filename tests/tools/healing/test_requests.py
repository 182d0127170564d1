"""Reading instructions out of a person's words: narrow, and never out of anything else."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.clock import FakeClock
from tests.fakes.small_fleet import SmallFleet
from tools.healing.requests import names_in, read_requests

FLEET = SmallFleet(FakeClock()).fleet()


def read(words: str, before: str = "") -> list[tuple[str, str | None, str | None]]:
    reading = read_requests(words, FLEET, before=before)
    return [(r.operation, r.service, r.replica) for r in reading.requests]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("restart catalog", [("restart", "catalog", None)]),
        ("Please restart the player.", [("restart", "player", None)]),
        ("can you restart catalog 1?", [("restart", "catalog", "catalog-1")]),
        (
            "restart Catalog-2 and player",
            [("restart", "catalog", "catalog-2"), ("restart", "player", None)],
        ),
        ("restart catalog but not player", [("restart", "catalog", None)]),
        ("restart catalog, not player", [("restart", "catalog", None)]),
        ('restart "catalog"', [("restart", "catalog", None)]),
        ("catalog is slow, restart catalog please", [("restart", "catalog", None)]),
        ("reinicia catalog", [("restart", "catalog", None)]),
        ("¿puedes reiniciar catalog?", [("restart", "catalog", None)]),
        ("sí, reinicia catalog", [("restart", "catalog", None)]),
        ("archive the old files of the player", [("archive", "player", None)]),
        ("I would like a restart of catalog", [("restart", "catalog", None)]),
        ("undo that", [("undo", None, None)]),
        ("deshazlo", [("undo", None, None)]),
        (
            "restart the player, then archive old data of catalog",
            [("restart", "player", None), ("archive", "catalog", None)],
        ),
    ],
)
def test_an_instruction_names_its_target(words: str, found: object) -> None:
    assert read(words) == found


@pytest.mark.parametrize(
    "words",
    [
        "don't restart catalog",
        "do not restart catalog",
        "please never restart catalog",
        "I don\u2019t want you to restart catalog",
        "no reinicies catalog",
        "why did you restart catalog?",
        "should I restart catalog?",
        "what happens if you restart catalog?",
        "restart catalog?",
        "restart catalog if it hangs",
        "if it hangs, restart catalog",
        "restart catalog tomorrow",
        "he said, restart catalog",
        'the log says "restart catalog"',
        "he said \u2018restart catalog\u2019",
        "> restart catalog",
        "```\nrestart catalog\n```",
        "2026-11-23 09:00:01 restart catalog",
        "ERROR: restart catalog now",
        '{"do": "restart catalog"}',
        "the runbook: restart catalog",
        "restarting catalog helped last time",
        "would a restart of catalog help?",
        "the restart of catalog took five minutes",
        "reinícialo",
        "restart it",
        "restart catalg",
        "restart catalog. " * 200,
    ],
)
def test_anything_else_is_no_instruction(words: str) -> None:
    assert read(words) == []


@pytest.mark.parametrize(
    ("words", "question"),
    [
        ("restart catalg", "There is no “catalg”; did you mean catalog?"),
        ("restart it", "Which service do you mean? There are catalog, player."),
        ("restart catalog when it is quiet", "can't wait for a condition or a time"),
        ("restart catalog?", "a question, or shall I do it?"),
    ],
)
def test_what_is_unclear_is_asked_back(words: str, question: str) -> None:
    (unsure,) = read_requests(words, FLEET).unsure

    assert question in unsure


@pytest.mark.parametrize(
    ("before", "words", "found"),
    [
        ("please restart", "player", [("restart", "player", None)]),
        ("restart catalg", "yes please", [("restart", "catalog", None)]),
        ("restart catalg", "the player", [("restart", "player", None)]),
        ("restart catalg", "no", []),
        ("restart catalg", "yes, how is it doing", []),
        ("please restart", "player?", []),
        ("please restart", "yes", []),
        ("how is catalog", "player", []),
        ("restart catalog", "yes", []),
    ],
)
def test_the_next_message_may_complete_an_instruction(
    before: str, words: str, found: object
) -> None:
    assert read(words, before) == found


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("how is catlaog", ["catalog"]),
        ("how is the playr doing", ["player"]),
        ("catalogue?", ["catalog"]),
        ("what does the label on the dialog say", []),
        ("a player and its prayer", ["player"]),
    ],
)
def test_a_misspelt_name_is_found_and_another_word_is_none(words: str, found: list[str]) -> None:
    assert [service for service, _ in names_in(words, FLEET)] == found


def test_an_ordinary_word_is_no_misspelt_name_though_it_shares_its_letters() -> None:
    (service, *_) = FLEET.services
    exports = replace(FLEET, services=(replace(service, name="exports", replicas=()),))

    assert names_in("status report please", exports) == []
    assert names_in("how is exprots", exports) == [("exports", None)]


@given(st.text(max_size=400))
def test_no_text_breaks_the_reading(words: str) -> None:
    read_requests(words, FLEET, before=words)
    names_in(words, FLEET)


@given(st.sampled_from(["restart catalog", "undo that", "archive player"]), st.text(max_size=40))
def test_nothing_quoted_is_an_instruction(order: str, around: str) -> None:
    quoted = around.replace("`", "").replace("\n", " ")

    assert read(f"```\n{quoted} {order}\n```") == []
