"""How the commands show lists, moments and durations to a person."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tools.kit.plain import visible

STYLES = {
    "healthy": "green",
    "running": "green",
    "verified": "green",
    "approved": "green",
    "closed": "green",
    "slow": "yellow",
    "starting": "yellow",
    "pending": "yellow",
    "asking": "yellow",
    "waiting": "yellow",
    "backoff": "yellow",
    "hung": "red",
    "dead": "red",
    "fatal": "red",
    "stuck": "red",
    "escalated": "red",
    "failed": "red",
}


def show_table(console: Console, titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A plain table; cells that are states get their colour."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    console.print(table)


def show_fields(console: Console, fields: Iterable[tuple[str, Any]]) -> None:
    """Name and value a line; empty values are left out."""
    for name, value in fields:
        if value not in (None, "", [], {}):
            console.print(Text(f"{name:<12}", style="bold").append(_cell(value)), soft_wrap=True)


def when(text: str | None) -> str:
    """A moment in local time, and how long ago that is."""
    if not text:
        return ""
    moment = datetime.fromisoformat(text)
    local = moment.astimezone().strftime("%d %b %H:%M:%S")
    return f"{local} ({ago(moment)})"


def ago(moment: datetime) -> str:
    """`12 s ago`, `in 5 min`, `3 days ago`."""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    size = abs(seconds)
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if size >= length * (2 if unit == "days" else 1) or unit == "s":
            words = f"{size / length:.0f} {unit}"
            return f"{words} ago" if seconds >= 0 else f"in {words}"
    raise AssertionError("the last unit always fits")


def _cell(value: Any) -> Text:
    text = "" if value is None else visible(str(value))
    return Text(text, style=STYLES.get(text, ""))
