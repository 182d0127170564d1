"""What every benchmark and attack says in the same words: bars, versions, and data it lacks."""

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any


class NeedsData(ValueError):
    """It measures on data that was not given; the message says which and how to give it."""


def bar(what: str, value: Any, target: str, *, holds: bool) -> dict[str, Any]:
    """One bar a benchmark must reach.

    Args:
        what: what was measured, in words.
        value: the figure measured, in the unit *what* names.
        target: the bar in words, such as `<= 0.05`.
        holds: whether *value* reaches it.
    """
    return {"what": what, "value": value, "target": target, "holds": bool(holds)}


def all_hold(result: Mapping[str, Any]) -> bool:
    """Whether *result* names at least one bar and every one of them holds."""
    bars = result.get("bars") or []
    return bool(bars) and all(one["holds"] for one in bars)


def versions(*packages: str) -> dict[str, str]:
    """Python's version and those of *packages*, `not installed` where one is missing."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
