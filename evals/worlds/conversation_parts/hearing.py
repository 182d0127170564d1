"""The academy's memory, with what was looked up in it written down."""

from collections.abc import Sequence

from tools.kit.deps import Caller
from tools.kit.tool_deps import Note
from tools.recall.service import RecallService


class HeardRecall(RecallService):
    """Recall as the product has it; `found` holds the ids it gave out, each once, in order."""

    found: tuple[str, ...] = ()

    async def search(self, caller: Caller, query: str, *, limit: int = 5) -> Sequence[Note]:
        """What recall finds."""
        notes = await super().search(caller, query, limit=limit)
        self.found = tuple(dict.fromkeys((*self.found, *(note.id for note in notes))))
        return notes
