"""Autonomy's pages while they change: what a person is writing stays, what others do is seen."""

import asyncio

import pytest
from playwright.async_api import Page, expect

from evals.worlds.academy import AcademyUnderTest
from tests.browser.conftest import Visiting

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(180),
]
OPERATION = "healing.restart_replica"
DETAIL = f"/autonomy/operations/{OPERATION}"
POLLS = 2


async def outlast(page: Page, path: str) -> None:
    """Wait until the page has asked for its changing part again, and again."""
    for _ in range(POLLS):
        async with page.expect_response(f"**{path}/now"):
            pass


@pytest.mark.parametrize("path", ["/autonomy", DETAIL])
async def test_a_freeze_that_is_being_written_outlasts_the_pages_polls(
    visiting: Visiting, path: str
) -> None:
    visit = await visiting()
    page = await visit.open(path)
    form = page.locator(f"details.freeze:has(form[action*='{OPERATION}'])")
    await form.locator("summary").click()
    reason = form.get_by_label("Why; everybody who is asked reads it")
    await reason.press_sequentially("launch w")
    await outlast(page, path)
    await page.keyboard.type("eek")

    await expect(reason).to_be_focused()
    await expect(reason).to_have_value("launch week")
    await expect(form.get_by_role("button", name="Freeze it now")).to_be_visible()


async def test_a_freeze_by_the_command_line_is_seen_on_an_open_page_and_lifted_there(
    academy: AcademyUnderTest, visiting: Visiting
) -> None:
    visit = await visiting()
    page = await visit.open(DETAIL)
    await expect(page.get_by_text("Asks a person")).to_be_visible()

    done = await asyncio.to_thread(
        academy.run, "autonomy", "freeze", OPERATION, "--reason", "launch week"
    )

    assert done.returncode == 0, done.stderr or done.stdout
    await expect(page.locator(".head").get_by_text("Frozen")).to_be_visible()
    await expect(page.get_by_text("launch week").first).to_be_visible()
    await page.get_by_role("button", name="Lift the freeze").click()
    await page.wait_for_url("**/autonomy")
    await page.goto(DETAIL)
    await expect(page.locator(".head").get_by_text("Asks a person")).to_be_visible()
