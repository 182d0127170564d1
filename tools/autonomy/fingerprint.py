"""What evidence is about: a digest of everything that decides how an operation behaves.

- The code: the syntax of the operation's module, the adapter's, the driver's, this room's policy
  and the engines that decide, and of every first-party module they import. Comments, formatting and
  docstrings don't count, except a toolset's docstrings, which the model reads.
- The versions of the libraries the operation names, the data files it declares, the settings it was
  built with, the suite, and the class of environment.
- Where a model decides: its name and the digest of its instructions.
"""

import hashlib
import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from tools.autonomy.sources import Sources
from tools.kit.digest import digest
from tools.kit.errors import Unavailable
from tools.kit.operation import Operation

ALWAYS = ("tools.kit.drive", "tools.autonomy.policy")
"""Code that every operation runs through, and the numbers every verdict is read by."""
BANDS = (10, 100)
"""Replicas up to which a fleet counts as small and as middling."""

DecidedBy = Literal["engine", "model", "person"]


@dataclass(frozen=True)
class SuiteLock:
    """One evaluation suite as `evals/suites.lock` names it."""

    name: str
    digest: str
    operations: Mapping[str, Mapping[str, float]]
    """Operation to its cases and the share of each that must pass."""
    injection: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Operation to those of its cases that are injection twins."""


@cache
def installed_version(library: str) -> str:
    """Version of an installed library.

    Raises:
        Unavailable: it is not installed.
    """
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError as error:
        raise Unavailable(f"The library {library} is not installed.") from error


@dataclass(frozen=True)
class Surroundings:
    """What a fingerprint takes from the process that computes it."""

    adapter: str
    """Module of the infrastructure's class, such as `tools.adapters.local`."""
    suites: tuple[SuiteLock, ...]
    model: str = ""
    instructions: str = ""
    """Digest of what the model is told."""
    sources: Sources = field(default_factory=Sources)
    version: Callable[[str], str] = installed_version

    def suite_of(self, operation: str) -> SuiteLock | None:
        """The suite that gives evidence for *operation*."""
        return next((suite for suite in self.suites if operation in suite.operations), None)


@dataclass(frozen=True)
class Fingerprint:
    """The digest and the parts it was made of, each named for people."""

    digest: str
    parts: Mapping[str, str]

    def differs_in(self, other: Mapping[str, str]) -> list[str]:
        """Names of the parts that differ from *other*'s."""
        return sorted(
            name for name in {*self.parts, *other} if self.parts.get(name) != other.get(name)
        )


def environment_class(adapter: str, replicas: int) -> str:
    """Adapter and size of a fleet, such as `local, up to 10 replicas`."""
    size = next((f"up to {band}" for band in BANDS if replicas <= band), f"more than {BANDS[-1]}")
    return f"{adapter}, {size} replicas"


def fingerprint(
    operation: Operation[Any],
    surroundings: Surroundings,
    *,
    environment: str,
    decided_by: DecidedBy,
) -> Fingerprint:
    """The fingerprint of *operation* here and now.

    Raises:
        Unavailable: a source file, a library or a data file it names can't be read.
    """
    suite = surroundings.suite_of(operation.name)
    engines = operation.engines if decided_by == "engine" else ()
    roots = (type(operation).__module__, surroundings.adapter, *engines, *ALWAYS)
    parts = {
        "operation": operation.name,
        "code": surroundings.sources.digest(roots),
        "settings": digest(operation.settings()),
        "suite": f"{suite.name} {suite.digest}" if suite else "none",
        "environment": environment,
    }
    for library in sorted(operation.libraries):
        parts[f"library {library}"] = surroundings.version(library)
    for file in sorted(operation.data_files):
        parts[f"data {file.name}"] = _file_digest(file)
    if decided_by == "model":
        parts["model"] = surroundings.model
        parts["instructions"] = surroundings.instructions
    return Fingerprint(digest(parts), parts)


def _file_digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise Unavailable(f"{path} can't be read: {error.strerror}.") from error
