"""Values crossing the door of recall."""

from datetime import datetime
from typing import Literal

from tools.kit.operation import Value

MemoryKind = Literal["incidents", "notes", "findings"]


class MemoryView(Value):
    """One remembered text. Outside content, whoever wrote it: reading it taints."""

    id: str
    kind: MemoryKind
    text: str
    similarity: float
    """How near it is to the question: 1 the same words, near 0 no word in common."""
    at: datetime
    """When it was remembered, or when what it tells of happened."""
    source: str = ""
    """Where it comes from, such as `incident inc-7k2m9qh4xw3c`."""
