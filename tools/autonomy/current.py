"""The fingerprints of an operation at this moment."""

from typing import Any, get_args

from tools.autonomy.evidence_source import EvidenceSource
from tools.autonomy.fingerprint import DecidedBy
from tools.kit.operation import Operation


async def current_fingerprints(
    evidence: EvidenceSource, operation: Operation[Any]
) -> frozenset[str]:
    """One for each who may decide, where this process can tell it; the healer knows no model."""
    who: tuple[DecidedBy, ...] = get_args(DecidedBy)
    found = [await evidence.digest(operation, one) for one in who]
    return frozenset(one for one in found if one)
