"""One real academy and one real browser for this folder, started once, used last.

The tests need Debian's chromium (or `ACADEMY_CHROMIUM`). Without it each is skipped and the
summary ends with how many did not run, because a page nobody opened is not a page that works.
"""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, StorageState, async_playwright

from evals.worlds.academy import AcademyUnderTest
from tests.browser.visitors import Visit, sign_in

FOLDER = Path(__file__).parent
CHROMIUM = os.environ.get("ACADEMY_CHROMIUM") or shutil.which("chromium") or ""
ARGUMENTS = [
    "--no-sandbox",  # chromium refuses to run as root otherwise
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LINES = 12
"""Of each log, shown with a failure."""
NOT_RUN = pytest.StashKey[int]()


def _ours(item: pytest.Item) -> bool:
    return item.path.is_relative_to(FOLDER)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Ours come last: their academy would take the others' processors."""
    ours = [item for item in items if _ours(item)]
    if os.environ.get("ACADEMY_SCREENSHOT") != "1":
        left_out = [item for item in ours if item.path.name == "test_screenshot.py"]
        config.hook.pytest_deselected(items=left_out)
        ours = [item for item in ours if item not in left_out]
    items[:] = [*(item for item in items if not _ours(item)), *ours]
    if not CHROMIUM:
        for item in ours:
            item.add_marker(pytest.mark.skip(reason="no chromium; set ACADEMY_CHROMIUM"))
        config.stash[NOT_RUN] = len(ours)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say plainly what was not looked at."""
    if missing := config.stash.get(NOT_RUN, 0):
        terminalreporter.write_line(
            f"{missing} browser tests NOT RUN (no chromium; set ACADEMY_CHROMIUM)", red=True
        )


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failure comes with the last lines that the academy's own programs wrote."""
    outcome: Any = yield
    report = outcome.get_result()
    started = getattr(item, "funcargs", {}).get("academy")
    if not _ours(item) or not report.failed or not isinstance(started, AcademyUnderTest):
        return
    for name in ("supervisord", "postgres", "web-1", "agents", "healer"):
        log = started.home / "logs" / f"{name}.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else ["(none)"]
        report.sections.append((f"{name}.log", "\n".join(line[:300] for line in lines[-LINES:])))


@pytest.fixture(scope="session")
def academy() -> Iterator[AcademyUnderTest]:
    """`academy up` with the sample fleet in a folder of its own; stopped after the last test."""
    folder = Path(tempfile.mkdtemp(prefix="academy-browser-"))
    if os.geteuid() == 0:
        folder.chmod(0o711)  # the database's own user must pass through
    home = folder / "home"
    started = AcademyUnderTest(home)
    try:
        started.up()
        yield started
    finally:
        data = (home / "postgres").resolve()
        if started.launcher is not None and started.launcher.poll() is None:
            started.down()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(data, ignore_errors=True)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """The browser; each visit has a profile of its own."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def session_state(academy: AcademyUnderTest, chromium: Browser) -> StorageState:
    """The cookies of a browser that used a one-time link."""
    visit = await Visit.begin(chromium, academy)
    await sign_in(visit)
    state = await visit.context.storage_state()
    await visit.end()
    return state


Visiting = Callable[..., Awaitable[Visit]]


@pytest_asyncio.fixture(loop_scope="session")
async def visiting(
    academy: AcademyUnderTest, chromium: Browser, session_state: StorageState
) -> AsyncIterator[Visiting]:
    """Opens a browser window of somebody signed in (`signed_in=False`: of a stranger).

    After the test each must have an empty console: no error, nothing the content security policy
    blocked, unless the visit's `expected` names it.
    """
    opened: list[Visit] = []

    async def visit(*, signed_in: bool = True, **options: Any) -> Visit:
        state = session_state if signed_in else None
        begun = await Visit.begin(chromium, academy, storage_state=state, **options)
        opened.append(begun)
        return begun

    yield visit
    for one in opened:
        await one.end()
    assert [line for one in opened for line in one.complaints()] == []
