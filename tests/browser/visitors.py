"""A person at a browser: what they open, what it weighs, and what its console complained about."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Locator,
    Page,
    Response,
)

from evals.worlds.academy import AcademyUnderTest

SECONDS = 30.0
"""How long a test waits for what the healer does every few seconds."""


@dataclass
class Visit:
    """One window with a profile of its own."""

    academy: AcademyUnderTest
    context: BrowserContext
    page: Page
    expected: list[str] = field(default_factory=list)
    """Parts of console errors that this test means to cause."""
    console: list[str] = field(default_factory=list)
    answers: list[Response] = field(default_factory=list)

    @classmethod
    async def begin(cls, browser: Browser, academy: AcademyUnderTest, **options: Any) -> "Visit":
        options.setdefault("viewport", {"width": 1280, "height": 800})
        context = await browser.new_context(base_url=academy.url, **options)
        context.set_default_timeout(SECONDS * 1000)
        visit = cls(academy, context, await context.new_page())
        visit.page.on("console", visit._said)
        visit.page.on("pageerror", visit._broke)
        visit.page.on("response", visit._answered)
        return visit

    def _said(self, line: ConsoleMessage) -> None:
        if line.type in ("error", "warning"):
            self.console.append(f"{self.page.url}: {line.text}")

    def _broke(self, error: Error) -> None:
        self.console.append(f"{self.page.url}: {error.message}")

    def _answered(self, response: Response) -> None:
        self.answers.append(response)

    def complaints(self) -> list[str]:
        return [line for line in self.console if not any(known in line for known in self.expected)]

    async def open(self, path: str) -> Page:
        await self.page.goto(path, wait_until="load")
        return self.page

    async def end(self) -> None:
        await self.context.close()


async def call(academy: AcademyUnderTest, method: str, path: str, **body: Any) -> Any:
    """One API call as the command line makes it, without holding the browser up."""
    return await asyncio.to_thread(academy.call, method, path, **body)


async def academy_break(academy: AcademyUnderTest, *words: str) -> None:
    """`academy break ...`, which must succeed."""
    done = await asyncio.to_thread(academy.run, "break", *words)
    assert done.returncode == 0, f"academy break {' '.join(words)}: {done.stderr or done.stdout}"


async def sign_in(visit: Visit) -> None:
    """Use a one-time link as a person does: open it, press its button."""
    link = (await call(visit.academy, "POST", "/api/signin-links", minutes=15))["url"]
    await visit.open(link)
    await visit.page.get_by_role("button", name="Sign in").click()
    await visit.page.wait_for_url(f"{visit.academy.url}/")


async def hung(academy: AcademyUnderTest, replica: str) -> dict[str, Any]:
    """Freeze *replica* and wait for the question its repair asks; answers that approval."""
    await until_healthy(academy, replica)
    await academy_break(academy, replica.rpartition("-")[0], "hang", "--replica", replica)
    return await until(f"a question about {replica}", lambda: _question(academy, replica))


async def _question(academy: AcademyUnderTest, replica: str) -> dict[str, Any] | None:
    found = await call(academy, "GET", "/api/approvals?state=pending")
    for approval in found["approvals"]:
        if any(action["target"].endswith(f"/{replica}") for action in approval["actions"]):
            return dict(approval)
    return None


async def until_healthy(academy: AcademyUnderTest, replica: str) -> None:
    """Wait until the healer sees *replica* answer and has closed what was wrong with it before."""
    await until(f"{replica} healthy", lambda: _healthy(academy, replica))


async def _healthy(academy: AcademyUnderTest, replica: str) -> bool:
    known = (await call(academy, "GET", "/api/incidents?open=true"))["incidents"]
    if any(one["target"].endswith(f"/{replica}") for one in known if not one["closed_at"]):
        return False
    fleet = await call(academy, "GET", "/api/fleet")
    return any(
        one["name"] == replica and one["status"] == "healthy"
        for service in fleet["services"]
        for one in service["replicas"]
    )


async def until(what: str, look: Any, *, within: float = SECONDS) -> Any:
    """The first truthy answer of *look*; it fails after *within* seconds naming *what*."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if found := await look():
            return found
        await asyncio.sleep(0.2)
    raise AssertionError(f"{what} did not come within {within:.0f} s")


async def verified(academy: AcademyUnderTest, approval_id: str) -> dict[str, Any]:
    """Wait until every action of an approval is verified; answers the approval."""

    async def look() -> dict[str, Any] | None:
        approval = await call(academy, "GET", f"/api/approvals/{approval_id}")
        states = {action["state"] for action in approval["actions"]}
        return dict(approval) if states == {"verified"} else None

    return dict(await until(f"{approval_id} verified", look))


async def ask(page: Page, text: str) -> Locator:
    """Say *text* in the chat; answers the whole of what the agent replied to it, once it ended."""
    before = await page.locator(".said.agent").count()
    await page.get_by_label("Your message").fill(text)
    await page.get_by_role("button", name="Send").click()
    replies = page.locator(".said.agent:not([aria-busy])")
    await page.wait_for_function(
        "n => document.querySelectorAll('.said.agent:not([aria-busy])').length > n"
        " && !document.querySelector('.doing')",
        arg=before,
    )
    return replies.last
