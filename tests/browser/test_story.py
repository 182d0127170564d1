"""The story: a frozen replica is found, explained, repaired on a person's word, and recorded."""

import re

import pytest
from playwright.async_api import expect

from evals.worlds.academy import AcademyUnderTest
from tests.browser.conftest import Visiting
from tests.browser.visitors import academy_break, ask, sign_in, until_healthy

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(180),
]
SOON = 20_000
"""Milliseconds for what the issue calls `within seconds`, on a machine that does other things."""


async def test_a_frozen_replica_is_found_explained_repaired_and_accounted_for(
    academy: AcademyUnderTest, visiting: Visiting
) -> None:
    visit = await visiting(signed_in=False)
    page = visit.page
    await sign_in(visit)
    await until_healthy(academy, "catalog-1")
    await expect(page.locator("#mode")).to_contain_text("Embedded", timeout=SOON)

    await academy_break(academy, "catalog", "hang", "--replica", "catalog-1")
    waiting = page.get_by_role("region", name="Waiting for you")
    await expect(waiting.get_by_role("heading", name="Restart catalog-1")).to_be_visible(
        timeout=SOON
    )
    await expect(waiting.get_by_text("comes:")).to_be_attached()

    await page.get_by_role("link", name=re.compile("Incidents")).first.click()
    await page.get_by_role("link", name=re.compile("catalog-1")).click()
    cause = page.get_by_role("region", name="Cause")
    await expect(cause).to_contain_text("catalog-1")
    await expect(cause.get_by_role("list", name="Evidence")).to_contain_text("For:")
    await page.get_by_role("button", name=re.compile("^Approve")).click()
    await expect(page.get_by_text("Verified").first).to_be_visible(timeout=SOON)
    await expect(page.get_by_role("region", name="Cause")).to_contain_text("Closed", timeout=SOON)
    await expect(page.get_by_role("region", name="Action", exact=True)).to_contain_text(
        "Approved by"
    )

    await page.goto("/threads/new")
    person = await page.locator(".me").get_attribute("title") or ""
    name = person.removeprefix("Account of ")
    await page.get_by_label("Your message").fill("why did catalog-1 fail?")
    await page.get_by_role("button", name="Send").click()
    await expect(page.locator(".said.agent:not([aria-busy])").last).to_contain_text(
        "catalog-1", timeout=SOON
    )
    answer = await ask(page, "who approved the last action?")
    await expect(answer).to_contain_text(name)

    await page.get_by_role("link", name="Audit").first.click()
    trail = page.get_by_role("list", name="Entries, newest first")
    for kind in ("Approval approved", "Action intended", "Action verified", "Incident closed"):
        await expect(trail.get_by_text(kind).first).to_be_visible()
    await trail.locator("summary", has_text="Action verified").first.click()
    await expect(trail.locator("details[open] pre")).to_contain_text("{")
    await expect(page.locator(".notice.bad")).to_have_count(0)
