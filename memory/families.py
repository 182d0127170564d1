"""The two families of databases, and the range of schema revisions this release runs on.

Revisions are numbered. Within one hundred (0001 to 0099, 0100 to 0199 ...) a revision only adds:
code that knows an earlier one of the same hundred goes on working, so a release can be rolled back
after its migration. A revision that takes away or renames what older code reads starts a new
hundred, and no release before the one that stopped reading it runs there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData

import memory.tables.autonomy
import memory.tables.evidence
import memory.tables.healing
import memory.tables.identity
import memory.tables.leases
import memory.tables.libraries
import memory.tables.standing
import memory.tables.threads
import memory.tables.trials  # noqa: F401 (importing a module registers its tables)
from memory.tables.base import Control, Shared, Tenant

REVISIONS = Path(__file__).parent / "revisions"


@dataclass(frozen=True)
class Family:
    """One kind of database: its tables, its revisions and the range this release runs on."""

    name: str
    metadata: Sequence[MetaData]
    lowest: int
    """Lowest revision this release's code can work with."""
    highest: int
    """Highest one; beyond the newest revision it knows itself, as far as additions may go."""

    @property
    def folder(self) -> Path:
        """Alembic's script folder."""
        return REVISIONS / self.name

    @property
    def head(self) -> int:
        """The newest revision this release brings."""
        return max(int(path.name[:4]) for path in (self.folder / "versions").glob("[0-9]*.py"))

    def includes(self, name: str | None, kind: str, _parents: Any) -> bool:
        """Whether Alembic compares this object: tables of ours only, not those of libraries."""
        if kind != "table":
            return True
        return any(name in metadata.tables for metadata in self.metadata)


FAMILIES = {
    "control": Family("control", (Control.metadata, Shared.metadata), lowest=4, highest=99),
    "tenant": Family("tenant", (Tenant.metadata, Shared.metadata), lowest=2, highest=99),
}
