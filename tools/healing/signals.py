"""Title and unit of every signal: the one table that pages, files and programs name them by."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from tools.healing.schemas import Series

TITLES: Mapping[str, tuple[str, str]] = {
    "answer_ms": ("Answer time", "ms"),
    "latency_ms": ("Probe latency", "ms"),
    "error_percent": ("Errors", "%"),
    "requests_per_second": ("Requests", "/s"),
    "cpu_percent": ("CPU", "% of a core"),
    "rss_mb": ("Memory", "MB"),
    "open_files": ("Open files", ""),
    "queue_depth": ("Waiting jobs", ""),
    "queue_oldest_seconds": ("Oldest waiting job", "s"),
    "disk_free_percent": ("Disk free", "%"),
    "uptime_seconds": ("Uptime", "s"),
    "requests": ("Requests since its start", ""),
    "repeated": ("Requests repeated since its start", ""),
    "failed": ("Requests failed since its start", ""),
}
"""Answer time is what a service measures of its own clients, probe latency what the healer does."""

UNITS: Mapping[str, str] = {
    "_per_second": "/s",
    "_percent": "%",
    "_seconds": "s",
    "_bytes": "bytes",
    "_ms": "ms",
    "_mb": "MB",
}
"""Endings that name the unit of a signal the table doesn't have."""

_TAKEN = frozenset(title for title, _ in TITLES.values())


def titled(name: str) -> tuple[str, str]:
    """Title and unit; a signal nobody knows is called by its name, never by another one's title."""
    if name in TITLES:
        return TITLES[name]
    ending = next((e for e in UNITS if name.endswith(e) and name != e), "")
    title = name.removesuffix(ending).replace("_", " ").strip().capitalize() or name
    return (f"{title} ({name})" if title in _TAKEN else title), UNITS.get(ending, "")


def series_of(name: str, points: Sequence[tuple[datetime, float]]) -> Series:
    """One signal's points under its title."""
    title, unit = titled(name)
    return Series(name=name, title=title, unit=unit, points=list(points))
