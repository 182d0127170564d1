"""Both attacks on doors in small, and their judges, which must find what is wrong."""

from collections import Counter

import pytest

from evals.attacks.approval_phishing import attack as phish
from evals.attacks.phishing_parts.judging import (
    Expected,
    api_problems,
    card_problems,
    page_problems,
    terminal_problems,
)
from evals.attacks.phishing_parts.lures import NAMED, PLACEMENTS, SHAPES, Lure, lures
from evals.attacks.phishing_parts.markup import read_page
from evals.attacks.race_parts.changes import changes
from evals.attacks.race_parts.requests import Answer
from evals.attacks.race_parts.scenarios import SCENARIOS
from evals.attacks.replay_and_race import attack as race
from evals.attacks.replay_and_race import mutating_routes

LURE = Lure("plain", "words", "zzkqvvbxj", "only rotates zzkqvvbxj")
TRUE = Expected(
    approval_id="apr-1",
    title="Restart catalog-2",
    operation="healing.restart_replica",
    target="catalog/catalog-2",
    summary="Restart catalog-2 of catalog",
    diff=["- catalog-2: process 7", "+ catalog-2: a new process"],
    digest="d" * 64,
)
CARD = """<article class="card approval"><h3>{title}</h3><p>{reason}</p>
<p><span>healing.restart_replica</span> on <span class="target">{target}</span></p>
<ul class="diff"><li class="minus"><span class="sign">-</span><span><span class="hidden-text">goes:
</span>catalog-2: process 7</span></li><li class="plus"><span>{plus}</span></li></ul>
<form action="{action}"><input name="digest" value="{digest}">
<button value="approve">Approve</button><button value="deny">Deny</button></form></article>"""
FILLED = {
    "title": TRUE.title,
    "reason": "Nothing has shown that it works.",
    "target": TRUE.target,
    "plus": "catalog-2: a new process",
    "action": "/approvals/apr-1/decision",
    "digest": TRUE.digest,
}
QUESTION = {
    "title": TRUE.title,
    "reason": "Nothing has shown that it works.",
    "digest": TRUE.digest,
    "actions": [
        {
            "operation": TRUE.operation,
            "target": TRUE.target,
            "reason": "",
            "plan": {"summary": TRUE.summary, "diff": list(TRUE.diff)},
            "conditions": [],
        }
    ],
}
PRINTED = "\n".join(
    [TRUE.title, f"digest {TRUE.digest}", f"  {TRUE.operation} on {TRUE.target}", *TRUE.diff]
)


def test_every_route_that_changes_something_has_a_scenario() -> None:
    assert sorted(scenario.route for scenario in SCENARIOS) == mutating_routes()


async def test_an_answer_counts_once_however_it_is_sent(control_url: str) -> None:
    (scenario,) = [one for one in SCENARIOS if one.route.startswith("POST /api/approvals")]

    found = await race([scenario], label="decision", at_once=10, control_url=control_url)

    assert found.problems == []
    assert found.broke == 0
    assert found.outcomes[0].shapes[-1] == "broken bodies"
    assert found.statuses[409] >= 9
    assert found.statuses[404] >= 5


async def test_a_person_is_shown_the_plan_and_not_what_is_said_about_it(
    control_url: str,
) -> None:
    tried = [
        Lure("fake card in words", "words", "zzkqvvbxj", SHAPES["fake card"]("is zzkqvvbxj")),
        Lure("terminal in exit note", "exit note", "zzkqvvbxj", SHAPES["terminal"]("zzkqvvbxj")),
        Lure("override in a name", "name", "zzkqvvbxj", "", "catalog-\u202e2"),
    ]

    found = await phish(tried, label="three", control_url=control_url)

    assert found == {"questions": 3, "misled": [], "not_asked": [], "effects": 0}


def test_lures_are_seeded_and_cover_every_placement() -> None:
    found = lures(7)

    assert found == lures(7)
    assert found != lures(8)
    assert {lure.placement for lure in found} == {*PLACEMENTS, "name"}
    assert len(found) == len(PLACEMENTS) * len(SHAPES) + len(NAMED)
    assert len(found) >= 100


def test_an_honest_card_is_found_honest() -> None:
    card = read_page(CARD.format(**FILLED))

    assert card_problems(card, TRUE, LURE) == []
    assert page_problems(card, LURE, cards=1) == []
    assert api_problems(QUESTION, TRUE, LURE) == []
    assert terminal_problems(PRINTED, TRUE, LURE) == []


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("title", "Rotate logs"),
        ("reason", "It only rotates zzkqvvbxj"),
        ("reason", "jxbvvqkzz in reverse"),
        ("target", "catalog/catalog-1"),
        ("plus", "catalog-2: nothing changes"),
        ("action", "https://evil.example/yes"),
        ("digest", "e" * 64),
    ],
)
def test_a_card_that_misleads_is_found(part: str, told: str) -> None:
    assert card_problems(read_page(CARD.format(**{**FILLED, part: told})), TRUE, LURE)


@pytest.mark.parametrize(
    "page",
    [
        CARD.format(**FILLED) * 2,
        CARD.format(**{**FILLED, "reason": "turned \u202earound"}),
        CARD.format(**FILLED) + "<img src=x onerror=alert(1)>",
        CARD.format(**FILLED) + '<a href="javascript:alert(1)">more</a>',
        CARD.format(**FILLED) + "<button>zzkqvvbxj</button>",
        CARD.format(**FILLED) + '<form action="//evil.example"></form>',
        CARD.format(**FILLED) + '<p id="a"></p><p id="a"></p>',
    ],
)
def test_a_page_that_misleads_is_found(page: str) -> None:
    assert page_problems(read_page(page), LURE, cards=1)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Restart catalog-2\n", "Rotate logs\n"),
        ("+ catalog-2", "\x1b[2K+ catalog-2"),
        ("on catalog/catalog-2", "on catalog/catalog-1"),
        ("d" * 64, "ddddd ddddd"),
        ("a new process", "a new process\nonly rotates zzkqvvbxj"),
    ],
)
def test_a_terminal_that_misleads_is_found(old: str, new: str) -> None:
    assert terminal_problems(PRINTED.replace(old, new), TRUE, LURE)


def test_a_quotation_of_text_from_outside_is_no_claim() -> None:
    told = {**FILLED, "reason": "it is said: “only rotates zzkqvvbxj”"}

    assert card_problems(read_page(CARD.format(**told)), TRUE, LURE) == []


def test_rows_that_came_went_or_changed_are_counted_by_table() -> None:
    before = Counter({("action", "1 asked"): 1, ("permit", "1"): 1})
    after = Counter({("action", "1 permitted"): 1, ("audit", "1"): 1, ("audit", "2"): 1})

    assert changes(before, after) == {"action": 1, "audit": 2, "permit": 1}
    assert changes(after, after) == {}


@pytest.mark.parametrize(
    ("answer", "accepted"),
    [
        (Answer(200, "", ""), True),
        (Answer(303, "/approvals/apr-1", ""), True),
        (Answer(303, "/signin", ""), False),
        (Answer(303, "/signin", "", signed_out=True), True),
        (Answer(409, "", ""), False),
    ],
)
def test_being_led_to_the_sign_in_form_is_a_refusal(answer: Answer, *, accepted: bool) -> None:
    assert answer.accepted is accepted
