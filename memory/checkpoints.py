"""LangGraph's checkpoints in a tenant database, written only by whoever holds the thread's lease.

A checkpoint is stored in the same transaction that finds the lease's fencing number unchanged, so
that a worker that was believed dead and wakes up again can't overwrite its successor's progress.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from psycopg import AsyncConnection, OperationalError
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from memory.errors import LeaseLost, StoreUnavailable

POOL_SIZE = 3
"""Connections one tenant's checkpoints may hold; turns write one after the other."""
POOL_SECONDS = 10.0
"""Longest wait for a connection: after a database restart the first took up to 7.7 s."""

CheckpointPool = AsyncConnectionPool[AsyncConnection[DictRow]]


@dataclass(frozen=True)
class Fence:
    """The lease a turn holds: its row's name, the holder, and the number it was given."""

    name: str
    owner: str
    number: int


def strict_serializer() -> JsonPlusSerializer:
    """The serializer that loads plain values and LangGraph's own types, and imports nothing."""
    return JsonPlusSerializer(allowed_msgpack_modules=None)


@asynccontextmanager
async def checkpoint_pool(
    plain_url: str, *, size: int = POOL_SIZE
) -> AsyncIterator[CheckpointPool]:
    """A pool as LangGraph's saver needs it, opened on first use.

    Connections are checked when handed out: without it each one fails once after a restart of the
    database.
    """
    pool: CheckpointPool = AsyncConnectionPool(
        plain_url,
        kwargs={"autocommit": True, "prepare_threshold": None, "row_factory": dict_row},
        min_size=0,
        max_size=size,
        timeout=POOL_SECONDS,
        check=AsyncConnectionPool.check_connection,
        open=False,
        name="checkpoints",
    )
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close()


async def create_tables(plain_url: str) -> None:
    """Bring the checkpoint tables of one database to LangGraph's current version; idempotent."""
    connection = await AsyncConnection.connect(
        plain_url, autocommit=True, prepare_threshold=None, row_factory=dict_row
    )
    async with connection:
        await AsyncPostgresSaver(connection, serde=strict_serializer()).setup()


class FencedSaver(AsyncPostgresSaver):
    """LangGraph's saver for one turn: reads freely, writes only while the fence stands.

    Raises:
        LeaseLost: on a write, when another worker has taken the thread.
        StoreUnavailable: when the database can't be reached.
    """

    def __init__(self, pool: CheckpointPool, fence: Fence) -> None:
        super().__init__(pool, serde=strict_serializer())
        self._pool = pool
        self._fence = fence

    @asynccontextmanager
    async def _fenced(self) -> AsyncIterator[AsyncPostgresSaver]:
        """A saver on one connection, inside a transaction that holds the lease row."""
        try:
            async with self._pool.connection() as connection, connection.transaction():
                held = await connection.execute(
                    "SELECT 1 FROM lease WHERE name = %s AND owner = %s AND fence = %s FOR SHARE",
                    (self._fence.name, self._fence.owner, self._fence.number),
                )
                if await held.fetchone() is None:
                    raise LeaseLost(f"Another worker has taken over {self._fence.name}.")
                yield AsyncPostgresSaver(connection, serde=self.serde)
        except (OperationalError, PoolTimeout) as error:
            raise StoreUnavailable(f"Checkpoints can't be written: {error}") from error

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The newest checkpoint of a thread, or the one *config* names."""
        try:
            return await super().aget_tuple(config)
        except (OperationalError, PoolTimeout) as error:
            raise StoreUnavailable(f"Checkpoints can't be read: {error}") from error

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint under the fence."""
        async with self._fenced() as saver:
            return await saver.aput(config, checkpoint, metadata, new_versions)

    async def forget_older(self, thread_id: str) -> None:
        """Delete all of a thread but its newest checkpoint and what that one needs.

        Only the newest is ever entered again; kept, the others would hold each turn's history many
        times over.
        """
        key = {"thread": thread_id}
        newest = (
            "(SELECT max(checkpoint_id) FROM checkpoints "
            "WHERE thread_id = %(thread)s AND checkpoint_ns = '')"
        )
        async with self._fenced() as saver:
            connection = saver.conn
            assert isinstance(connection, AsyncConnection)
            for table in ("checkpoint_writes", "checkpoints"):
                await connection.execute(
                    f"DELETE FROM {table} WHERE thread_id = %(thread)s "  # noqa: S608 - two names
                    f"AND checkpoint_ns = '' AND checkpoint_id < {newest}",
                    key,
                )
            await connection.execute(
                "DELETE FROM checkpoint_blobs b USING checkpoints c "
                "WHERE b.thread_id = %(thread)s AND c.thread_id = b.thread_id "
                "AND b.checkpoint_ns = '' AND c.checkpoint_ns = '' "
                "AND (c.checkpoint -> 'channel_versions' ->> b.channel) IS DISTINCT FROM b.version",
                key,
            )

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store a task's writes under the fence."""
        async with self._fenced() as saver:
            await saver.aput_writes(config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete all of a thread's checkpoints under the fence."""
        async with self._fenced() as saver:
            await saver.adelete_thread(thread_id)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Prune threads as LangGraph does, while the lease row is held beside it.

        It sets the isolation of its own transactions, so it can't join the fence's.
        """
        async with self._fenced():
            await super().aprune(thread_ids, strategy=strategy)
