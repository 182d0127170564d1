"""What changed in the databases between two moments, table by table.

Every table of every database counts, so that no table can be forgotten; left out are only columns
that say when somebody was last seen, and the tables of the job queue.
"""

import json
from collections import Counter
from collections.abc import Sequence

from sqlalchemy import text

from memory.database import Database

SEEN_COLUMNS = ("last_used_at",)
"""Columns that any request with a key may touch."""
LEFT_OUT = frozenset({"audit_head", "lease", "heartbeat"})
"""The counter beside the audit log, which moves with it, and locks."""

Rows = Counter[tuple[str, str]]
Changes = dict[str, int]


class Snapshots:
    """Takes pictures of some databases."""

    def __init__(self, databases: Sequence[Database]) -> None:
        self._databases = databases
        self._queries: dict[str, str] = {}

    async def take(self) -> Rows:
        """Every row there is, by table."""
        found: Rows = Counter()
        for database in self._databases:
            async with database.unit_of_work() as session:
                if database.name not in self._queries:
                    names = await session.scalars(
                        text(
                            "SELECT table_name FROM information_schema.tables"
                            " WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
                        )
                    )
                    self._queries[database.name] = _query(sorted(names))
                for table, row in await session.execute(text(self._queries[database.name])):
                    found[f"{table}", json.dumps(row, sort_keys=True)] += 1
        return found


def _query(tables: Sequence[str]) -> str:
    seen = ", ".join(f"'{column}'" for column in SEEN_COLUMNS)
    return " UNION ALL ".join(
        f"SELECT '{table}' AS name, to_jsonb(t) - ARRAY[{seen}] AS row FROM \"{table}\" t"  # noqa: S608 - names from the catalogue
        for table in tables
        if table not in LEFT_OUT and not table.startswith("procrastinate")
    )


def changes(before: Rows, after: Rows) -> Changes:
    """Rows added or changed (or removed, where more went than came), by table."""
    came: Counter[str] = Counter()
    went: Counter[str] = Counter()
    for (table, _), number in (after - before).items():
        came[table] += number
    for (table, _), number in (before - after).items():
        went[table] += number
    return {table: max(came[table], went[table]) for table in sorted(came.keys() | went.keys())}
