"""The official conformance suite, small: our saver on the session's PostgreSQL."""

from collections.abc import AsyncGenerator
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance.capabilities import BASE_CAPABILITIES
from langgraph.checkpoint.memory import InMemorySaver

from evals.benchmarks import checkpointer
from memory.database import Database


class Forgetful(InMemorySaver):
    """A saver that drops every pending write."""

    async def aput_writes(self, *_: object, **__: object) -> None:
        return None


async def test_our_saver_passes_and_a_lost_lease_lets_no_write_through(
    tenant_db: Database,
) -> None:
    found = await checkpointer.on_database(tenant_db)

    assert found["tests_failed"] == 0
    assert all(found["capabilities"][c.value]["state"] == "passed" for c in BASE_CAPABILITIES)
    assert found["extended"]["failed"] == []
    assert found["written_after_the_lease_was_lost"] == []


async def test_a_saver_that_forgets_is_found_out() -> None:
    async def forgetful() -> AsyncGenerator[BaseCheckpointSaver[Any], None]:
        yield Forgetful()

    found = await checkpointer.conformance("Forgetful", forgetful)

    assert found["capabilities"]["put_writes"]["state"] == "failed"
    assert found["capabilities"]["put_writes"]["failures"]
