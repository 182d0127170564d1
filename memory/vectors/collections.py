"""Opens the vector store and names its collections: one per tenant and kind, never a filter alone.

Embedded Chroma isn't safe across processes (a second writer's vectors go missing), so a file lock
lets one process hold the folder. Every call blocks; `recall.py` moves them off the event loop.
"""

import fcntl
import re
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, get_args

from memory.errors import StoreError, StoreUnavailable

if TYPE_CHECKING:
    from chromadb.api.client import Client
    from chromadb.api.models.Collection import Collection

Kind = Literal["incidents", "notes", "findings"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_TENANT = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")


def collection_name(tenant_id: str, kind: Kind) -> str:
    """The collection of a tenant's memories of one kind, such as `ten-7k2m.notes`.

    Raises:
        StoreError: the tenant's id or the kind isn't one; two tenants never share a name.
    """
    if not _TENANT.fullmatch(tenant_id):
        raise StoreError(f"{tenant_id[:80]!r} is no tenant id: lower-case letters, digits, dashes.")
    if kind not in KINDS:
        raise StoreError(f"{kind!r} is no kind of memory; there are {', '.join(KINDS)}.")
    return f"{tenant_id}.{kind}"


class VectorStore:
    """The one opened folder of vectors. `open` before use, `close` after."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._client: Client | None = None
        self._lock: IO[str] | None = None

    def open(self) -> None:
        """Lock the folder and open it; opening again does nothing.

        Raises:
            StoreUnavailable: another process holds it, or it can't be opened.
        """
        if self._client is not None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = (self.folder / "owner.lock").open("w")
        except OSError as error:
            raise StoreUnavailable(f"{self.folder} can't be used: {error}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise StoreUnavailable(
                f"Another process holds the vector store in {self.folder}; only one may."
            ) from error
        try:
            self._client = _client(self.folder)
        except Exception as error:
            lock.close()
            raise StoreUnavailable(f"{self.folder} can't be opened: {error}") from error
        self._lock = lock

    def close(self) -> None:
        """Let go of the folder."""
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def collection(self, tenant_id: str, kind: Kind) -> "Collection":
        """The tenant's collection of that kind, made if need be.

        Raises:
            StoreUnavailable: the store isn't open.
            StoreError: the name is wrong, or the collection was made with another embedding.
        """
        name = collection_name(tenant_id, kind)
        from memory.vectors.chroma_embedding import LexicalEmbedding

        try:
            return self._opened().get_or_create_collection(
                name,
                embedding_function=LexicalEmbedding(),  # type: ignore[arg-type]
                configuration={"hnsw": {"space": "cosine"}},
            )
        except ValueError as error:
            raise StoreError(f"Collection {name} can't be used: {error}") from error

    def forget_tenant(self, tenant_id: str) -> None:
        """Delete all collections of a tenant.

        Raises:
            StoreUnavailable: the store isn't open.
        """
        names = {collection_name(tenant_id, kind) for kind in KINDS}
        client = self._opened()
        for collection in client.list_collections():
            if collection.name in names:
                client.delete_collection(collection.name)

    def _opened(self) -> "Client":
        if self._client is None:
            raise StoreUnavailable("The vector store isn't open.")
        return self._client


def _client(folder: Path) -> "Client":
    import chromadb
    from chromadb.api.client import Client
    from chromadb.config import Settings

    client = chromadb.PersistentClient(
        path=str(folder), settings=Settings(anonymized_telemetry=False)
    )
    assert isinstance(client, Client)
    return client
