"""Other ways to the same decision: by keyboard alone, by two people at once, without JavaScript."""

import asyncio
import re

import pytest
from playwright.async_api import Page, expect

from evals.worlds.academy import AcademyUnderTest
from tests.browser.conftest import Visiting
from tests.browser.visitors import Visit, call, hung, sign_in, verified

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(180),
]
FOCUS = """() => {
    const one = document.activeElement, style = getComputedStyle(one);
    return {
        id: one.id, name: (one.innerText || one.id || one.tagName).trim(),
        seen: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0,
    };
}"""


async def tab_to(page: Page, wanted: str, *, most: int = 60) -> list[str]:
    """Press Tab until the focus is on what is called *wanted*; answers the names passed."""
    passed: list[str] = []
    for _ in range(most):
        await page.keyboard.press("Tab")
        focus = await page.evaluate(FOCUS)
        assert focus["seen"], f"the focus on {focus['name']!r} can't be seen"
        passed.append(focus["name"])
        if re.search(wanted, focus["name"]):
            return passed
    raise AssertionError(f"Tab never came to {wanted!r}: {passed}")


async def test_the_chat_and_a_decision_work_by_keyboard_alone(
    academy: AcademyUnderTest, visiting: Visiting
) -> None:
    visit = await visiting()
    page = await visit.open("/threads/new")
    await page.keyboard.press("Tab")
    assert (await page.evaluate(FOCUS))["name"] == "Skip to the content"
    await expect(page.get_by_text("Skip to the content")).to_be_in_viewport()
    await page.keyboard.press("Enter")
    await expect(page.locator("#main")).to_be_focused()
    await tab_to(page, "^text$")
    await page.keyboard.type("what is wrong?")
    await tab_to(page, "Send")
    await page.keyboard.press("Enter")
    await page.locator(".said.agent:not([aria-busy])").first.wait_for()

    approval = await hung(academy, "player-1")
    button = page.get_by_role("button", name=re.compile("Approve.*Restart player-1"))
    await expect(button).to_be_visible()
    await page.locator("#main").focus()
    await tab_to(page, "(?s)^Approve.*player-1")
    await page.keyboard.press("Enter")
    assert (await verified(academy, approval["id"]))["state"] == "approved"


async def test_two_people_who_approve_at_once_cause_one_effect_and_both_learn_who_decided(
    academy: AcademyUnderTest, visiting: Visiting
) -> None:
    approval = await hung(academy, "player-2")
    visits: list[Visit] = [await visiting(), await visiting()]
    for visit in visits:
        visit.expected = ["409"]
        await visit.open(f"/approvals/{approval['id']}")
    buttons = [visit.page.get_by_role("button", name=re.compile("^Approve")) for visit in visits]
    await asyncio.gather(*(button.click(no_wait_after=True) for button in buttons))
    done = await verified(academy, approval["id"])
    for visit in visits:
        await expect(visit.page.get_by_text(f"Approved by {done['decided_by']}")).to_be_visible()
    answers = [
        answer.status
        for visit in visits
        for answer in visit.answers
        if answer.url.endswith("/decision")
    ]
    assert sorted(answers) == [200, 409]
    action = done["actions"][0]["id"]
    rows = (await call(academy, "GET", "/api/audit?kind=action.&limit=200"))["entries"]
    kinds = [row["kind"] for row in rows if row["subject"] == action]
    assert kinds.count("action.intended") == 1


async def test_a_double_click_begins_one_conversation(
    academy: AcademyUnderTest, visiting: Visiting
) -> None:
    visit = await visiting(java_script_enabled=False)
    page = await visit.open("/threads/new")
    text, csrf, key = "how is the fleet doing?", "input[name=csrf]", "input[name=key]"
    form = {
        "text": text,
        "csrf": await page.locator(f".composer {csrf}").input_value(),
        "key": await page.locator(f".composer {key}").input_value(),
    }
    first, second = await asyncio.gather(
        visit.context.request.post("/threads", form=form),
        visit.context.request.post("/threads", form=form),
    )
    assert first.url == second.url
    await page.goto(first.url)
    assert await page.locator(".said.user").count() == 1


async def test_without_javascript_one_signs_in_sees_the_fleet_and_decides(
    academy: AcademyUnderTest, visiting: Visiting
) -> None:
    visit = await visiting(signed_in=False, java_script_enabled=False)
    await sign_in(visit)
    page = await visit.open("/fleet")
    await expect(page.get_by_role("region", name="Course catalog")).to_contain_text("catalog-1")
    approval = await hung(academy, "worker-1")
    await visit.open("/")
    await page.get_by_role("button", name=re.compile("Approve.*Restart worker-1")).click()
    await expect(page.get_by_text("Approved by")).to_be_visible()
    await verified(academy, approval["id"])
    await page.reload()
    await expect(page.get_by_text("Verified").first).to_be_visible()
