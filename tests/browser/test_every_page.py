"""Every page at a desk and on a phone, light and dark: for everybody, quick to load, in bounds."""

import asyncio
import re
import signal
from asyncio.subprocess import DEVNULL
from pathlib import Path
from typing import Any

import axe_core_python
import pytest
from playwright.async_api import Page

from evals.worlds.academy import AcademyUnderTest
from tests.browser.conftest import Visiting
from tests.browser.visitors import ask, call, hung

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(300),
]
WORLD = 150.0
"""Seconds that one world may take, its database and fleet included; 35 where nothing else runs."""
AXE = Path(axe_core_python.__file__).with_name("axe.min.js").read_text()
MOST_BYTES = 100 * 1024
MOST_REQUESTS = 8
LEAST_TARGET = 24
"""Pixels a finger needs at least, as WCAG 2.2 says under 2.5.8; links within a text are exempt."""
SMALL_TARGETS = """least => [...document.querySelectorAll(
    'button, summary, select, input:not([type=hidden]), textarea, nav a, a.button, .me, .threads a,'
    + 'a.cell'
)].filter(one => {
    const box = one.getBoundingClientRect();
    return box.width && box.height && one.checkVisibility() && !one.closest('.skip')
        && (box.width < least || box.height < least);
}).map(one => one.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    """What the first of these tests broke, for the others to look at."""
    return {}


async def addresses(
    academy: AcademyUnderTest, visiting: Visiting, kept: dict[str, Any]
) -> list[str]:
    """Every page's address, with an incident that asks and a conversation that was answered."""
    if not kept:
        run, trial = await one_world(academy)
        approval = await hung(academy, "catalog-2")
        visit = await visiting()
        page = await visit.open("/threads/new")
        await page.get_by_label("Your message").fill("what is wrong?")
        await page.get_by_role("button", name="Send").click()
        await page.wait_for_url("**/threads/thr-*")
        await page.locator(".said.agent:not([aria-busy])").first.wait_for()
        await ask(page, "restart player-1")
        kept["paths"] = [
            page.url.removeprefix(academy.url),
            "/threads/new",
            "/fleet",
            "/incidents",
            f"/incidents/{approval['incident_id']}",
            f"/approvals/{approval['id']}",
            "/autonomy",
            "/autonomy/operations/healing.restart_replica",
            f"/autonomy/runs/{run}",
            f"/autonomy/trials/{trial}",
            "/autonomy/standing",
            "/audit",
            "/account",
            "/docs",
            "/incidents/nothing-here",
        ]
    paths: list[str] = kept["paths"]
    return paths


async def one_world(academy: AcademyUnderTest) -> tuple[str, str]:
    """Play one world; answers the ids of its run and its trial, however it ended."""
    words = ("eval", "run", "healing", "--only", "tuesday", "--trials", "1", "--no-controls")
    playing = await asyncio.create_subprocess_exec(*academy.command(*words), stdout=DEVNULL)
    try:
        assert await asyncio.wait_for(playing.wait(), WORLD) in (0, 1)
    finally:
        if playing.returncode is None:
            playing.send_signal(signal.SIGINT)
    run = (await call(academy, "GET", "/api/evaluations"))["runs"][0]["id"]
    played = await call(academy, "GET", f"/api/evaluations/{run}")
    return run, played["trials"][0]["id"]


async def axe(page: Page) -> list[str]:
    """What axe-core finds, a line each; put in by the debugger, which no page's policy binds."""
    await page.evaluate(AXE)
    found = await page.evaluate("async () => (await axe.run()).violations")
    return [
        f"{page.url}: {one['id']}: {node['target']} {node.get('failureSummary', '')}"
        for one in found
        for node in one["nodes"]
    ]


async def out_of_bounds(page: Page) -> list[str]:
    """Whether the page scrolls sideways, and controls too small for a finger."""
    wide = await page.evaluate(
        "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    small = await page.evaluate(SMALL_TARGETS, LEAST_TARGET)
    sideways = [f"{page.url} scrolls {wide} px sideways"] if wide > 0 else []
    return [*sideways, *(f"{page.url}: too small: {one}" for one in small)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
async def test_every_page_is_for_everybody(
    academy: AcademyUnderTest, visiting: Visiting, kept: dict[str, Any], width: int, scheme: str
) -> None:
    paths = await addresses(academy, visiting, kept)
    visit = await visiting(viewport={"width": width, "height": 800}, color_scheme=scheme)
    visit.expected = ["404"]
    wrong: list[str] = []
    for path in paths:
        page = await visit.open(path)
        wrong += await axe(page)
        wrong += await out_of_bounds(page)
    assert wrong == [], "\n".join(wrong)


@pytest.mark.parametrize("width", [1280, 360])
async def test_a_strangers_pages_are_for_everybody(visiting: Visiting, width: int) -> None:
    visit = await visiting(signed_in=False, viewport={"width": width, "height": 800})
    visit.expected = ["404"]
    wrong: list[str] = []
    for path in ("/signin", "/signin/some-token", "/nothing-here"):
        page = await visit.open(path)
        wrong += await axe(page)
        wrong += await out_of_bounds(page)
    assert wrong == [], "\n".join(wrong)


async def test_a_first_load_is_light(
    academy: AcademyUnderTest, visiting: Visiting, kept: dict[str, Any]
) -> None:
    heavy: list[str] = []
    for path in await addresses(academy, visiting, kept):
        visit = await visiting()
        visit.expected = ["404"]
        await visit.open(path)
        answers = [one for one in visit.answers if "/stream" not in one.url]
        sizes = [(await one.request.sizes())["responseBodySize"] for one in answers]
        if sum(sizes) > MOST_BYTES or len(answers) > MOST_REQUESTS:
            heavy.append(f"{path}: {sum(sizes)} bytes in {len(answers)} requests")
        await visit.end()
    assert heavy == [], "\n".join(heavy)


async def test_what_was_broken_here_is_repaired_and_the_rest_denied(
    academy: AcademyUnderTest, visiting: Visiting, kept: dict[str, Any]
) -> None:
    paths = await addresses(academy, visiting, kept)
    visit = await visiting()
    page = await visit.open(next(path for path in paths if path.startswith("/approvals/")))
    await page.get_by_role("button", name=re.compile("Approve.*Restart catalog-2")).click()
    await page.get_by_text("Verified").first.wait_for()
    pending = await call(academy, "GET", "/api/approvals?state=pending")
    for approval in pending["approvals"]:
        await page.goto(f"/approvals/{approval['id']}")
        await page.get_by_role("button", name="Deny").click()
        await page.get_by_text("Denied by").wait_for()
