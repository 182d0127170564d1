"""Remembering and recalling for one tenant, which comes from the caller, never from a question.

`Store` is what it needs of a vector memory (`memory.vectors.recall.Recall` is one). It also is
what agents hold as `tools.kit.tool_deps.Memory`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol, get_args

from memory.errors import StoreError, StoreUnavailable
from tools.kit.clock import Clock
from tools.kit.deps import Caller
from tools.kit.errors import Forbidden, Invalid, Unavailable
from tools.kit.tool_deps import Note
from tools.recall.policy import LEAST_SIMILARITY, MAX_TEXT, MOST_RESULTS
from tools.recall.schemas import MemoryKind, MemoryView

KINDS: tuple[MemoryKind, ...] = get_args(MemoryKind)


class StoredMemory(Protocol):
    """One memory as the store gives it back."""

    @property
    def id(self) -> str:
        """Its id within tenant and kind."""
        ...

    @property
    def text(self) -> str:
        """Its text, without secrets."""
        ...

    @property
    def similarity(self) -> float:
        """Cosine to the question."""
        ...

    @property
    def at(self) -> datetime:
        """When it was remembered."""
        ...

    @property
    def metadata(self) -> Mapping[str, str]:
        """What was stored beside it."""
        ...


class Store(Protocol):
    """A vector memory with a place of its own for each tenant and kind."""

    async def add(
        self,
        tenant_id: str,
        kind: MemoryKind,
        memory_id: str,
        text: str,
        *,
        at: datetime,
        metadata: Mapping[str, str] | None = None,
    ) -> int:
        """Remember a text; answers how many secrets were taken out of it."""
        ...

    async def query(
        self, tenant_id: str, kind: MemoryKind, text: str, *, limit: int, least: float
    ) -> Sequence[StoredMemory]:
        """The nearest memories, best first."""
        ...

    async def delete(self, tenant_id: str, kind: MemoryKind, memory_id: str) -> bool:
        """Forget one memory; whether it was there."""
        ...


class RecallService:
    """Memories of the caller's own tenant."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def remember(
        self,
        caller: Caller,
        memory_id: str,
        text: str,
        *,
        kind: MemoryKind,
        source: str = "",
        at: datetime | None = None,
    ) -> None:
        """Keep *text* under *memory_id*, replacing what was there; secrets are taken out.

        Raises:
            Forbidden: the caller is a learner only.
            Invalid: the text is empty, or the kind unknown.
            Unavailable: the vector store can't be used.
        """
        _require_staff(caller)
        _require_kind(kind)
        if not text.strip():
            raise Invalid("There is nothing to remember: the text is empty.")
        try:
            await self._store.add(
                caller.tenant_id,
                kind,
                memory_id,
                _shortened(text),
                at=at or self._clock.now(),
                metadata={"source": source},
            )
        except StoreUnavailable as error:
            raise Unavailable(f"Memory can't be used now: {error}") from error
        except StoreError as error:
            raise Invalid(f"This can't be remembered: {error}") from error

    async def recall(
        self,
        caller: Caller,
        query: str,
        *,
        kinds: Sequence[MemoryKind] = KINDS,
        limit: int = 5,
    ) -> list[MemoryView]:
        """The memories of the caller's tenant that resemble *query*, best first.

        Raises:
            Forbidden: the caller is a learner only.
            Invalid: the limit or a kind is out of range.
            Unavailable: the vector store can't be used.
        """
        _require_staff(caller)
        if not 1 <= limit <= MOST_RESULTS:
            raise Invalid(f"Ask for 1 to {MOST_RESULTS} memories, not {limit}.")
        found: list[MemoryView] = []
        for kind in dict.fromkeys(kinds):
            _require_kind(kind)
            try:
                stored = await self._store.query(
                    caller.tenant_id, kind, query, limit=limit, least=LEAST_SIMILARITY
                )
            except StoreError as error:
                raise Unavailable(f"Memory can't be read now: {error}") from error
            found.extend(
                MemoryView(
                    id=one.id,
                    kind=kind,
                    text=one.text,
                    similarity=round(one.similarity, 3),
                    at=one.at,
                    source=one.metadata.get("source", ""),
                )
                for one in stored
            )
        return sorted(found, key=lambda one: (-one.similarity, one.id))[:limit]

    async def forget(self, caller: Caller, memory_id: str, *, kind: MemoryKind) -> bool:
        """Forget one memory of the caller's tenant; whether it was there.

        Raises:
            Forbidden: the caller is a learner only.
            Invalid: the kind is unknown.
            Unavailable: the vector store can't be used.
        """
        _require_staff(caller)
        _require_kind(kind)
        try:
            return await self._store.delete(caller.tenant_id, kind, memory_id)
        except StoreError as error:
            raise Unavailable(f"Memory can't be used now: {error}") from error

    async def search(self, caller: Caller, query: str, *, limit: int = 5) -> Sequence[Note]:
        """What `recall` finds, as an agent's tools hold it."""
        return [
            Note(id=one.id, text=one.text, at=one.at)
            for one in await self.recall(caller, query, limit=limit)
        ]

    async def keep(self, caller: Caller, note_id: str, text: str, *, kind: str) -> None:
        """What `remember` does, as an agent's tools hold it."""
        await self.remember(caller, note_id, text, kind=_require_kind(kind))


def _require_staff(caller: Caller) -> None:
    if not caller.roles & {"staff", "author", "engineer", "operator"}:
        raise Forbidden("The academy's memory is for its staff, authors and engineers.")


def _require_kind(kind: str) -> MemoryKind:
    known = next((one for one in KINDS if one == kind), None)
    if known is None:
        raise Invalid(f"{kind!r} is no kind of memory; there are {', '.join(KINDS)}.")
    return known


def _shortened(text: str) -> str:
    """The text, its middle left out and said so where it is too long."""
    if len(text) <= MAX_TEXT:
        return text
    half = MAX_TEXT // 2 - 40
    return f"{text[:half]}\n[... {len(text) - 2 * half:,} characters left out ...]\n{text[-half:]}"
