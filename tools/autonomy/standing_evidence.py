"""Where evidence carries an operation alone, it carries it without the database as well.

The verdict is the one the gate would give, taken in advance: level and regions are sealed into the
permit, and the fingerprint is compared once more when it is used.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from tools.autonomy.evidence_source import EvidenceSource, StoredEvidence
from tools.autonomy.gate import level
from tools.autonomy.standing_renewal import Carried
from tools.autonomy.standing_schemas import Basis, Covered
from tools.kit.errors import CapabilityError
from tools.kit.operation import Operation

log = structlog.get_logger(__name__)


class GateInAdvance:
    """Asks the stored evidence what the gate would say of an engine's decision."""

    def __init__(self, evidence: EvidenceSource, tenant_id: Callable[[], Awaitable[str]]) -> None:
        self._evidence = evidence
        self._tenant_id = tenant_id

    async def would_run(self, operation: Operation[Any]) -> Carried | None:
        """What a permit would rest on; None where the gate would ask."""
        facts = await self._evidence.about(operation, {}, "engine")
        stands, _ = level(
            risk=operation.risk,
            reversibility=operation.reversibility,
            autonomous=operation.autonomous,
            freezes=(),
            evidence=facts,
        )
        if stands != "runs" or facts.evidence is None or not facts.fingerprint:
            return None
        return Carried(
            tenant_id=await self._tenant_id(),
            covered=[
                Covered(labels=dict(region.labels), figures=dict(region.figures))
                for region in facts.evidence.regions
            ],
            fingerprint=facts.fingerprint,
            basis=Basis(
                kind="evidence",
                id=facts.fingerprint,
                granted_by="gate",
                text=f"earned in {facts.evidence.trials} trials ({facts.fingerprint[:12]})",
            ),
        )


def fingerprint_of(evidence: StoredEvidence) -> Callable[[Operation[Any]], str]:
    """What tells the fingerprint of an operation in this process; empty where it can't."""

    def told(operation: Operation[Any]) -> str:
        try:
            return evidence.fingerprint(operation, "engine").digest
        except (CapabilityError, OSError) as error:
            log.warning("standing.fingerprint_unknown", operation=operation.name, why=str(error))
            return ""

    return told
