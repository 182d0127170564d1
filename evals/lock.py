"""`evals/suites.lock`: what each suite is, for whoever reads evidence without importing suites.

It is written by `python -m evals lock` and checked by `make check`, so that a suite can't change
unseen: a changed digest is another fingerprint, and evidence under the old one no longer counts.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from evals.suites.base import Suite, load_suite, suite_names
from tools.autonomy.fingerprint import SuiteLock

PATH = Path(__file__).parent / "suites.lock"


def locked(suite: Suite) -> dict[str, Any]:
    """A suite as the lock names it: digest, cases and floors, and injection twins by operation."""
    cases = {
        operation: [case for case in suite.cases if operation in case.operations]
        for operation in sorted(suite.operations)
    }
    return {
        "digest": suite.digest,
        "operations": {
            operation: {case.name: case.floor for case in found}
            for operation, found in cases.items()
        },
        "injection": {
            operation: twins
            for operation, found in cases.items()
            if (twins := [case.name for case in found if case.injection])
        },
    }


def as_lock(suite: Suite) -> SuiteLock:
    """A suite as the gate takes it."""
    content = locked(suite)
    return SuiteLock(
        name=suite.name,
        digest=content["digest"],
        operations=content["operations"],
        injection={name: tuple(cases) for name, cases in content["injection"].items()},
    )


def content(suites: Iterable[Suite]) -> str:
    """The whole file for *suites*."""
    return json.dumps({suite.name: locked(suite) for suite in suites}, indent=2) + "\n"


def stale(path: Path = PATH) -> list[str]:
    """Names of the suites that *path* describes otherwise than they are, or not at all."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        known = {}
    here = {name: locked(load_suite(name)) for name in suite_names()}
    return sorted(name for name in {*known, *here} if known.get(name) != here.get(name))


def write(path: Path = PATH) -> list[str]:
    """Write the lock anew; the names of the suites that changed."""
    changed = stale(path)
    path.write_text(content(load_suite(name) for name in suite_names()), encoding="utf-8")
    return changed
