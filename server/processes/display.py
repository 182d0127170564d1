"""What the launcher shows on the console."""

import asyncio
import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.text import Text

from graphs.settings import Settings, default_home

ALERT_SECONDS = 0.5

T = TypeVar("T")


class Display:
    """Lines on a console: a phase and its time, what is served, alerts, the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begun = time.monotonic()

    def say(self, text: str, *, style: str = "") -> None:
        """One line, never wrapped or read as markup: links and paths stay whole.

        A terminal that is gone is no reason to stop serving, nor to stop stopping in order.
        """
        with contextlib.suppress(OSError):
            self._console.print(Text(text, style=style), soft_wrap=True)

    async def phase(self, title: str, work: Callable[[], Awaitable[T]]) -> T:
        """Run *work* while its title is shown; then a line with the seconds it took."""
        begun = time.monotonic()
        shown = self._console.status(title) if self._console.is_terminal else None
        with shown or contextlib.nullcontext():
            result = await work()
        self.say(f"  {title:<24}{time.monotonic() - begun:6.1f} s", style="dim")
        return result

    def serving(self, settings: Settings, url: str, link: str, minutes: int, *, hint: str) -> None:
        """What a person can do now."""
        seconds = time.monotonic() - self._begun
        self.say("")
        self.say(f"The academy is up after {seconds:.1f} s.", style="bold green")
        self.say(f"  Open    {link}")
        self.say(f"          signs you in once, within {minutes} minutes; later: {url}")
        self.say(f"  Home    {settings.paths.path}")
        if hint:
            self.say(f"  Try     {command(settings, hint)}   (in another terminal)")
            self.say("          and watch it being found and explained; then approve the repair")
        self.say("  Stop    Ctrl-C")
        self.say("")

    async def alerts(self, file: Path) -> None:
        """Show each line appended to *file* from now on, until cancelled."""
        tail = Tail(file)
        while True:
            await asyncio.sleep(ALERT_SECONDS)
            for line in tail.read():
                self.alert(line)

    def alert(self, line: str) -> None:
        """One alert of the healer."""
        self.say(line, style="yellow")


class JsonDisplay(Display):
    """The same for programs: one JSON object a line, `event` first, on standard output.

    Events are `phase` (title, seconds), `serving` (url, link, link_minutes, home, try, seconds),
    `alert` and `note` (text).
    """

    def say(self, text: str, *, style: str = "") -> None:
        """A `note`; its style is for people. Empty lines say nothing."""
        if text:
            self._write("note", text=text)

    async def phase(self, title: str, work: Callable[[], Awaitable[T]]) -> T:
        """Run *work*; then a `phase` with the seconds it took."""
        begun = time.monotonic()
        result = await work()
        self._write("phase", title=title, seconds=round(time.monotonic() - begun, 1))
        return result

    def serving(self, settings: Settings, url: str, link: str, minutes: int, *, hint: str) -> None:
        """What a program needs to go on."""
        self._write(
            "serving",
            url=url,
            link=link,
            link_minutes=minutes,
            home=str(settings.paths.path),
            **({"try": command(settings, hint)} if hint else {}),
            seconds=round(time.monotonic() - self._begun, 1),
        )

    def alert(self, line: str) -> None:
        """An `alert`, as the healer worded it."""
        self._write("alert", text=line)

    def _write(self, event: str, **data: object) -> None:
        with contextlib.suppress(OSError):
            sys.stdout.write(json.dumps({"event": event, **data}, ensure_ascii=False) + "\n")
            sys.stdout.flush()


class Tail:
    """What is appended to a file from now on, line by line; the file may be emptied or rotated."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._rest = b""
        self._position = file.stat().st_size if file.exists() else 0

    def read(self) -> list[str]:
        """The whole lines appended since the last call."""
        try:
            if self._file.stat().st_size < self._position:
                self._position, self._rest = 0, b""
            with self._file.open("rb") as opened:
                opened.seek(self._position)
                read = opened.read()
        except FileNotFoundError:
            return []
        self._position += len(read)
        *lines, self._rest = (self._rest + read).split(b"\n")
        return [line.decode(errors="replace") for line in lines]


def command(settings: Settings, words: str) -> str:
    """How a person types `academy WORDS` for this academy, from the folder they are in."""
    own = Path(sys.executable).parent / "academy"
    found = shutil.which("academy")
    if found and Path(found) == own:
        program = "academy"
    else:
        relative = os.path.relpath(own)
        program = str(own) if relative.startswith("..") else relative
    home = settings.paths.path
    prefix = "" if home == default_home().resolve() else f"ACADEMY_HOME={_quoted(home)} "
    return f"{prefix}{_quoted(program)} {words}"


def _quoted(word: Path | str) -> str:
    text = str(word)
    return f"'{text}'" if " " in text else text
