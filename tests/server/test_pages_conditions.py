"""What the gate found, on the question itself: all seven conditions, the missing ones first."""

import re
from pathlib import Path

import pytest
from sqlalchemy import select

from memory.database import Database
from memory.tables.autonomy import Action
from server.web import words
from tests.fakes.clock import FakeClock
from tests.fakes.embedded import TENANT_ID
from tests.fakes.gatekeeping import Desk
from tests.server.conftest import Browser
from tools.kit.deps import Caller

SEVEN = ("allowed", "evidence", "fresh", "covered", "budget", "clean", "warranted")
LINE = re.compile(
    r'<li><span class="pill (?P<tone>\w+)">.*?<strong>(?P<name>[^<]+):</strong> (?P<reason>[^<]+)',
    re.DOTALL,
)


@pytest.fixture
async def desk(control_db: Database, clock: FakeClock, tmp_path: Path, ada: Browser) -> Desk:
    caller = Caller(
        tenant_id=TENANT_ID, tenant_slug="dynasty", person_id=ada.person.id, name="ada",
        roles=frozenset({"staff"}), fleet=True,
    )  # fmt: skip
    return Desk(control_db, clock, tmp_path / "locks", caller)


def lines(page: str) -> list[tuple[str, str, str]]:
    """Tone, name and sentence of each condition a page shows, from top to bottom."""
    shown = page.split('class="conditions"')[1].split("</details>")[0]
    return [(m["tone"], m["name"], m["reason"].strip()) for m in LINE.finditer(shown)]


@pytest.mark.parametrize("missing", SEVEN)
async def test_each_condition_that_is_missing_stands_first_with_its_sentence(
    ada: Browser, desk: Desk, control_db: Database, missing: str
) -> None:
    proposed = await desk.propose()
    async with control_db.unit_of_work() as session:
        action = (await session.scalars(select(Action))).one()
        action.conditions = [
            {"name": name, "holds": name != missing, "reason": f"what was found about {name}"}
            for name in SEVEN
        ]

    page = (await ada.client.get(f"/approvals/{proposed.approval_id}")).text

    shown = lines(page)
    named = words.condition(missing)
    assert shown[0] == ("warn", named, f"what was found about {missing}")
    assert sorted(name for _, name, _ in shown) == sorted(words.condition(name) for name in SEVEN)
    assert {tone for tone, _, _ in shown[1:]} == {"good"}
    assert "1 of 7 conditions missing" in page


async def test_a_question_opens_what_the_gate_found_and_a_card_beside_a_chat_folds_it(
    ada: Browser, desk: Desk
) -> None:
    proposed = await desk.propose()

    page = (await ada.client.get(f"/approvals/{proposed.approval_id}")).text
    card = (await ada.client.get(f"/approvals/{proposed.approval_id}/card?place=side")).text

    assert '<details class="conditions" open>' in page
    assert '<details class="conditions">' in card
    assert len(lines(page)) == len(lines(card)) == len(SEVEN)
