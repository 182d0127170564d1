"""Remembers texts of a tenant and finds those that resemble a question.

Secrets are taken out before a text is stored. Chroma blocks, so each call runs in a thread, one at
a time. What comes back is outside content to whoever reads it, whoever wrote it.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from memory.errors import StoreError
from memory.vectors.collections import Kind, VectorStore
from memory.vectors.redaction import redact

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection

MAX_TEXT = 8_000
"""Characters of one memory: as many as its vector takes in."""
MAX_QUERY = 2_000
MAX_ID = 200
MAX_RESULTS = 50
MAX_PER_COLLECTION = 20_000
"""At 1,024 numbers of 4 bytes each, about 80 MB a collection; then the oldest tenth is dropped."""

T = TypeVar("T")


@dataclass(frozen=True)
class Recalled:
    """One remembered text and how near it is to what was asked."""

    id: str
    text: str
    similarity: float
    """Cosine, -1 to 1; texts that share no word are near 0."""
    at: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)


class Recall:
    """The memories of all tenants, each in collections of its own."""

    def __init__(self, store: VectorStore, *, limit: int = MAX_PER_COLLECTION) -> None:
        self._store = store
        self._limit = limit
        self._turn = asyncio.Lock()

    async def open(self) -> None:
        """Open the store.

        Raises:
            StoreUnavailable: another process holds it, or it can't be opened.
        """
        await self._alone(self._store.open)

    async def close(self) -> None:
        """Let go of the store."""
        await self._alone(self._store.close)

    async def add(
        self,
        tenant_id: str,
        kind: Kind,
        memory_id: str,
        text: str,
        *,
        at: datetime,
        metadata: Mapping[str, str] | None = None,
    ) -> int:
        """Remember *text* under *memory_id*, replacing what was there; answers secrets removed.

        Raises:
            StoreError: the text or id is empty or too long, or the store failed.
            StoreUnavailable: the store isn't open.
        """
        if not text.strip() or len(text) > MAX_TEXT:
            raise StoreError(f"A memory has 1 to {MAX_TEXT:,} characters; this has {len(text):,}.")
        if not memory_id or len(memory_id) > MAX_ID:
            raise StoreError(f"A memory's id has 1 to {MAX_ID} characters.")
        clean = redact(text)
        kept: dict[str, Any] = {
            "at": at.astimezone(UTC).timestamp(),
            **{f"x-{key}": redact(value).text for key, value in (metadata or {}).items()},
        }

        def work() -> int:
            collection = self._store.collection(tenant_id, kind)
            collection.upsert(ids=[memory_id], documents=[clean.text], metadatas=[kept])
            self._make_room(collection)
            return clean.count

        return await self._alone(work)

    async def query(
        self, tenant_id: str, kind: Kind, text: str, *, limit: int = 5, least: float = 0.0
    ) -> list[Recalled]:
        """The tenant's memories nearest to *text*, best first, none below similarity *least*.

        Raises:
            StoreError: the limit is out of range, or the store failed.
            StoreUnavailable: the store isn't open.
        """
        if not 1 <= limit <= MAX_RESULTS:
            raise StoreError(f"Ask for 1 to {MAX_RESULTS} memories, not {limit}.")
        if not text.strip():
            return []

        def work() -> list[Recalled]:
            collection = self._store.collection(tenant_id, kind)
            found = collection.query(
                query_texts=[text[:MAX_QUERY]],
                n_results=limit,
                include=["documents", "metadatas", "distances"],
            )
            rows = zip(
                found["ids"][0],
                (found["documents"] or [[]])[0],
                (found["metadatas"] or [[]])[0],
                (found["distances"] or [[]])[0],
                strict=True,
            )
            return [_recalled(one, text, dict(meta), 1 - far) for one, text, meta, far in rows]

        recalled = await self._alone(work)
        return sorted(
            (one for one in recalled if one.similarity >= least),
            key=lambda one: (-one.similarity, one.id),
        )

    async def delete(self, tenant_id: str, kind: Kind, memory_id: str) -> bool:
        """Forget one memory; whether it was there.

        Raises:
            StoreError: the store failed.
            StoreUnavailable: the store isn't open.
        """

        def work() -> bool:
            collection = self._store.collection(tenant_id, kind)
            there = bool(collection.get(ids=[memory_id], include=[])["ids"])
            if there:
                collection.delete(ids=[memory_id])
            return there

        return await self._alone(work)

    async def count(self, tenant_id: str, kind: Kind) -> int:
        """How many memories of that kind the tenant has.

        Raises:
            StoreError: the store failed.
            StoreUnavailable: the store isn't open.
        """
        return await self._alone(lambda: self._store.collection(tenant_id, kind).count())

    async def forget_tenant(self, tenant_id: str) -> None:
        """Delete everything remembered of a tenant.

        Raises:
            StoreError: the store failed.
            StoreUnavailable: the store isn't open.
        """
        await self._alone(lambda: self._store.forget_tenant(tenant_id))

    def _make_room(self, collection: "Collection") -> None:
        if collection.count() <= self._limit:
            return
        everything = collection.get(include=["metadatas"])
        dated = zip(everything["metadatas"] or [], everything["ids"], strict=True)
        oldest = sorted((float(str(meta["at"])), one) for meta, one in dated)
        collection.delete(ids=[one for _, one in oldest[: max(1, self._limit // 10)]])

    async def _alone(self, work: Callable[[], T]) -> T:
        """Run blocking *work* in a thread while nobody else does."""
        async with self._turn:
            try:
                return await asyncio.to_thread(work)
            except StoreError:
                raise
            except Exception as error:
                raise StoreError(f"The vector store failed: {error}") from error


def _recalled(one: str, text: str, meta: dict[str, Any], similarity: float) -> Recalled:
    return Recalled(
        id=one,
        text=text,
        similarity=float(similarity),
        at=datetime.fromtimestamp(float(meta["at"]), UTC),
        metadata={k.removeprefix("x-"): str(v) for k, v in meta.items() if k.startswith("x-")},
    )
