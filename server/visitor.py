"""Who stands at the door: the caller, with what a page needs to greet and to protect them."""

import re
from dataclasses import dataclass
from typing import Any

from memory.tables.identity import TenantRecord
from tools.identity.schemas import SessionInfo
from tools.kit.deps import Caller

DEFAULT_ACCENT = "#1f5fbf"
COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True)
class TenantFace:
    """The part of a tenant that pages show."""

    id: str
    slug: str
    name: str
    accent: str
    """`#rrggbb`; a theme that holds anything else gets the default."""

    @classmethod
    def of(cls, record: TenantRecord) -> "TenantFace":
        """The face of *record*, detached from its session."""
        theme: dict[str, Any] = record.theme or {}
        accent = str(theme.get("accent", ""))
        return cls(
            id=record.id,
            slug=record.slug,
            name=record.name,
            accent=accent if COLOUR.fullmatch(accent) else DEFAULT_ACCENT,
        )


@dataclass(frozen=True)
class Visitor:
    """A caller as this request proved them."""

    caller: Caller
    tenant: TenantFace
    csrf: str | None = None
    """The session's token against forged requests; None for a key, which needs none."""
    session: SessionInfo | None = None
    """The browser session; None for a key."""
