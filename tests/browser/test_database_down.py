"""With the database stopped, whoever was signed in still reads what the healer found."""

import pytest
from playwright.async_api import expect

from evals.worlds.academy import AcademyUnderTest
from tests.browser.conftest import Visiting
from tests.browser.visitors import academy_break, until_healthy

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(180),
]
BACK = 45_000
"""Milliseconds for the page to be itself again: the database starts, the page looks every four."""


async def test_a_stopped_database_is_said_and_the_page_comes_back_by_itself(
    academy: AcademyUnderTest, visiting: Visiting
) -> None:
    await until_healthy(academy, "catalog-1")
    visit = await visiting()
    visit.expected = ["503", "ERR_INCOMPLETE_CHUNKED_ENCODING"]
    for path in ("/", "/incidents", "/audit", "/account"):
        await visit.open(path)  # as somebody who is at work: both replicas have seen them
    page = await visit.open("/fleet")
    await expect(page.get_by_role("heading", name="Fleet", exact=True)).to_be_visible()
    await academy_break(academy, "postgres", "stop")
    try:
        await page.reload()
        await expect(page.get_by_role("heading", name="The database is down")).to_be_visible(
            timeout=BACK
        )
        await expect(page.locator(".notice.bad")).to_contain_text("database")
        await expect(page.get_by_role("region", name="Course catalog")).to_contain_text("catalog-1")
    finally:
        await academy_break(academy, "postgres", "start")
    await expect(page.get_by_role("heading", name="Fleet", exact=True)).to_be_visible(timeout=BACK)
    await expect(page.get_by_role("region", name="PostgreSQL")).to_be_visible()
