"""The README's picture, taken from the academy itself; `make screenshot` asks for it."""

import re
from pathlib import Path

import pytest
from playwright.async_api import expect

from evals.worlds.academy import AcademyUnderTest
from tests.browser.conftest import Visiting
from tests.browser.visitors import hung, verified

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(180),
]
PICTURE = Path(__file__).parents[2] / "server" / "web" / "static" / "screenshot.png"
MOST_BYTES = 200 * 1024


async def test_a_screenshot_shows_an_incident_its_repair_and_the_chat(
    academy: AcademyUnderTest, visiting: Visiting
) -> None:
    visit = await visiting(color_scheme="light")
    page = await visit.open("/threads/new")
    await expect(page.locator("#mode")).to_contain_text("Embedded")
    approval = await hung(academy, "catalog-1")
    await page.get_by_label("Your message").fill("What is wrong, and why?")
    await page.get_by_role("button", name="Send").click()
    await expect(page.locator(".said.agent:not([aria-busy])").first).to_be_visible()
    await expect(page.locator(".doing")).to_have_count(0)
    button = page.get_by_role("button", name=re.compile("Approve.*Restart catalog-1"))
    await expect(button).to_be_visible()
    await page.screenshot(path=PICTURE, animations="disabled")
    assert PICTURE.stat().st_size <= MOST_BYTES
    await button.click()
    await verified(academy, approval["id"])
