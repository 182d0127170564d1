"""Values that cross identity's door."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict


class KeyView(BaseModel):
    """An API key without its secret."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "id": "key-7k2m9qh4xw3c",
                    "name": "nightly report",
                    "created_at": "2026-11-23T09:00:00Z",
                    "expires_at": None,
                    "last_used_at": "2026-11-23T09:30:00Z",
                    "revoked_at": None,
                }
            ]
        },
    )

    id: str
    name: str
    created_at: datetime
    expires_at: datetime | None
    """None: until it is revoked."""
    last_used_at: datetime | None
    """To within a minute."""
    revoked_at: datetime | None


class SessionInfo(BaseModel):
    """When a session began, when its person last proved who they are, and when it ends."""

    model_config = ConfigDict(frozen=True)

    created_at: datetime
    authenticated_at: datetime
    expires_at: datetime
    email: str | None
    """The person's e-mail; None until they have set one."""
    has_password: bool
