"""What evidence is about: a digest of everything that decides how an operation behaves.

- The code: the syntax of the operation's module, the adapter's, the driver's, this room's policy
  and the engines that decide, and of every first-party module they import. Comments, formatting and
  docstrings don't count, except a toolset's docstrings, which the model reads.
- Python's version, and those of the libraries that this code imports and of all that they need;
  the data files the operation declares, the settings it was built with, the suite, and the class of
  environment.
- Where a model decides: its name, the digest of its instructions, and the code and files it is
  asked and answers through: toolsets with their docstrings, the gate around them, the embedded
  model's router and playbooks. Rooms may not import these, so the runtime hands them in.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tools.autonomy.libraries import Libraries, installed
from tools.autonomy.sources import Sources, running
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


@dataclass(frozen=True)
class Decider:
    """What a model decides through."""

    roots: tuple[str, ...]
    """Modules that stand between the model and the gate; what they import counts too."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Digests of the data the embedded model is made of, by name, as the process has read it."""


@dataclass(frozen=True)
class Surroundings:
    """What a fingerprint takes from the process that computes it."""

    adapter: str
    """Module of the infrastructure's class, such as `tools.adapters.local`."""
    suites: tuple[SuiteLock, ...]
    model: str = ""
    instructions: str = ""
    """Digest of what the model is told."""
    deciders: Mapping[str, Decider] = field(default_factory=dict)
    """By room, what its specialist decides through; none in a process without agents."""
    sources: Sources = field(default_factory=Sources)
    libraries: Libraries | None = None
    """What is installed; read when it is first asked for where None."""

    def as_started(self) -> "Surroundings":
        """The same with the code and libraries this process started with; see `read_running`."""
        return replace(self, sources=running(), libraries=installed())

    def suite_of(self, operation: str) -> SuiteLock | None:
        """The suite that gives evidence for *operation*."""
        return next((suite for suite in self.suites if operation in suite.operations), None)


def read_running() -> None:
    """Read code and libraries now, at the start of a process that decides or signs (about 0.4 s).

    An upgrade in place afterwards changes what is on disk and not what runs.

    Raises:
        Unavailable: a source can't be read.
    """
    running()
    installed()


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
        Unavailable: a source file or a data file it names can't be read, or a model would decide
            in a process that has none.
    """
    suite = surroundings.suite_of(operation.name)
    decider = _decider(operation, surroundings) if decided_by == "model" else Decider(())
    engines = operation.engines if decided_by == "engine" else ()
    roots = (
        type(operation).__module__,
        surroundings.adapter,
        *engines,
        *decider.roots,
        *ALWAYS,
    )
    libraries = surroundings.libraries or installed()
    parts = {
        "operation": operation.name,
        "code": surroundings.sources.digest(roots),
        "settings": digest(operation.settings()),
        "suite": f"{suite.name} {suite.digest}" if suite else "none",
        "environment": environment,
        "python": libraries.python,
    }
    imported = surroundings.sources.libraries(roots)
    for library, version in libraries.behind(imported, operation.libraries).items():
        parts[f"library {library}"] = version
    for file in sorted(operation.data_files):
        parts[f"data {file.name}"] = file_digest(file)
    if decided_by == "model":
        parts["model"] = surroundings.model
        parts["instructions"] = surroundings.instructions
        parts |= {f"data {name}": found for name, found in decider.files.items()}
    return Fingerprint(digest(parts), parts)


def _decider(operation: Operation[Any], surroundings: Surroundings) -> Decider:
    room = operation.name.partition(".")[0]
    found = surroundings.deciders.get(room)
    if found is None:
        raise Unavailable(f"No model decides on {operation.name} in this process.")
    return found


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content.

    Raises:
        Unavailable: it can't be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise Unavailable(f"{path} can't be read: {error.strerror}.") from error
