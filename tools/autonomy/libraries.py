"""Distributions that code imports and those that they need, at the versions this process runs.

Read once and kept: a later upgrade in place changes no code that is already running.
"""

import importlib.metadata
import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

OURS = "dynasty-academy-autonomy"
"""This distribution: its own requirements say with which extras a library is installed."""
MISSING = "not installed"
"""Version of what is imported and isn't there: installing it changes what runs."""
REQUIREMENT = re.compile(r"\s*([A-Za-z0-9._-]+)\s*(?:\[([^\]]*)\])?")
EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")


class Need(NamedTuple):
    """One requirement of a distribution."""

    name: str
    extras: frozenset[str]
    """Extras it asks of *name*."""
    only_with: frozenset[str]
    """Extras of the requiring distribution under which it counts; always, where empty."""


@dataclass(frozen=True)
class Distribution:
    """One installed distribution."""

    version: str
    needs: tuple[Need, ...] = ()


@dataclass(frozen=True)
class Libraries:
    """What is installed: Python, distributions by normalised name, and who provides a package."""

    python: str
    """Implementation and full version: a patch release changes the standard library too."""
    distributions: Mapping[str, Distribution]
    providers: Mapping[str, tuple[str, ...]]
    """Distributions by the top-level package they provide; a namespace has several."""

    def behind(self, packages: Iterable[str], named: Iterable[str] = ()) -> dict[str, str]:
        """Versions of *named*, of what provides *packages*, and of all that those need, by name.

        A requirement counts where it is installed, and one behind an extra where that was asked
        for: what merely lies in the same environment doesn't count.
        """
        asked = {need.name: need.extras for need in self._needs(OURS)}
        found: dict[str, str] = {}
        left: list[tuple[str, frozenset[str]]] = [(normal(name), frozenset()) for name in named]
        for package in packages:
            left += [(one, frozenset()) for one in self.providers.get(package, (normal(package),))]
        for name, _ in left:
            found[name] = MISSING
        seen: set[tuple[str, frozenset[str]]] = set()
        while left:
            name, extras = left.pop()
            wanted = (name, extras | asked.get(name, frozenset()))
            if wanted in seen:
                continue
            seen.add(wanted)
            distribution = self.distributions.get(name)
            if distribution is None:
                continue
            found[name] = distribution.version
            left += [
                (need.name, need.extras)
                for need in distribution.needs
                if not need.only_with or need.only_with & wanted[1]
            ]
        return dict(sorted(found.items()))

    def with_version(self, name: str, version: str) -> "Libraries":
        """The same, but *name* is installed at *version*."""
        before = self.distributions.get(normal(name), Distribution(""))
        changed = {**self.distributions, normal(name): replace(before, version=version)}
        return replace(self, distributions=changed)

    def _needs(self, name: str) -> tuple[Need, ...]:
        found = self.distributions.get(name)
        return found.needs if found else ()


@cache
def installed() -> Libraries:
    """What is installed, as it was when this process asked first (about 0.4 s)."""
    distributions: dict[str, Distribution] = {}
    for one in importlib.metadata.distributions():
        told = one.metadata
        if not told["Name"]:  # a folder that a broken removal left behind
            continue
        needs = tuple(need for text in told.get_all("Requires-Dist") or () if (need := _need(text)))
        # The first on the path is the one that is imported.
        distributions.setdefault(normal(told["Name"]), Distribution(told["Version"], needs))
    providers = {
        package: tuple(sorted({normal(name) for name in names}))
        for package, names in importlib.metadata.packages_distributions().items()
    }
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return Libraries(python, distributions, providers)


def normal(name: str) -> str:
    """A distribution's name as all spellings of it compare equal."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _need(text: str) -> Need | None:
    requirement, _, marker = text.partition(";")
    match = REQUIREMENT.match(requirement)
    if match is None:
        return None
    extras = frozenset(one.strip() for one in (match[2] or "").split(",") if one.strip())
    return Need(normal(match[1]), extras, frozenset(EXTRA.findall(marker)))
