"""Composes where the gate gets its evidence from: suites, fingerprints, files and stored trials."""

import json
from collections.abc import Mapping
from pathlib import Path

from graphs.settings import Settings
from memory.database import Database
from tools.autonomy.evidence_source import EvidenceFiles, StoredEvidence
from tools.autonomy.fingerprint import Decider, SuiteLock, Surroundings
from tools.kit.clock import Clock
from tools.kit.errors import Invalid
from tools.kit.infrastructure import Infrastructure

SUITES = Path(__file__).parents[1] / "evals" / "suites.lock"
"""What each suite is: digest, operations, cases and floors; written by `python -m evals lock`."""


def read_suites(path: Path = SUITES) -> tuple[SuiteLock, ...]:
    """The suites this release comes with; none where the file is missing.

    Raises:
        Invalid: the file is malformed.
    """
    if not path.exists():
        return ()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return tuple(
            SuiteLock(
                name=name,
                digest=str(suite["digest"]),
                operations=suite["operations"],
                injection={op: tuple(cases) for op, cases in suite["injection"].items()},
            )
            for name, suite in sorted(content.items())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Invalid(f"{path.name} is malformed ({error}); write it anew.") from error


def stored_evidence(
    settings: Settings,
    control: Database,
    infrastructure: Infrastructure,
    clock: Clock,
    *,
    model: str = "",
    instructions: str = "",
    deciders: Mapping[str, Decider] | None = None,
    decides: bool = True,
) -> StoredEvidence:
    """The evidence of the academy that *settings* name.

    *model* (its name), *instructions* (a digest of what the specialists are told) and *deciders*
    (what they decide through, by room) count where a model decides. A process that *decides* reads
    its code and libraries here, at its start; one that only shows levels, when first asked.
    """
    home = settings.paths
    surroundings = Surroundings(
        adapter=type(infrastructure).__module__,
        suites=read_suites(),
        model=model,
        instructions=instructions,
        deciders=deciders or {},
    )
    return StoredEvidence(
        control,
        EvidenceFiles(home.evidence / "heads.json", home.keys / "evidence.pub"),
        surroundings.as_started() if decides else surroundings,
        infrastructure,
        clock,
    )
