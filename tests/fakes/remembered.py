"""A vector memory without vectors: what shares a word with the question is found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class Remembered:
    """One memory."""

    id: str
    text: str
    similarity: float
    at: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass
class WordMemory:
    """`tools.recall.service.Store` in a dictionary."""

    kept: dict[tuple[str, str, str], Remembered] = field(default_factory=dict)

    async def add(
        self,
        tenant_id: str,
        kind: str,
        memory_id: str,
        text: str,
        *,
        at: datetime,
        metadata: Mapping[str, str] | None = None,
    ) -> int:
        self.kept[tenant_id, kind, memory_id] = Remembered(memory_id, text, 1.0, at, metadata or {})
        return 0

    async def query(
        self, tenant_id: str, kind: str, text: str, *, limit: int, least: float
    ) -> Sequence[Remembered]:
        words = set(text.lower().split())
        return [
            one
            for (tenant, of, _), one in self.kept.items()
            if (tenant, of) == (tenant_id, kind) and words & set(one.text.lower().split())
        ][:limit]

    async def delete(self, tenant_id: str, kind: str, memory_id: str) -> bool:
        return self.kept.pop((tenant_id, kind, memory_id), None) is not None
