"""Errors as RFC 9457 problem details: the one shape every API error has."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from tools.kit.errors import ErrorKind

MEDIA_TYPE = "application/problem+json"

STATUS_OF_KIND: dict[ErrorKind, int] = {
    "invalid": 422,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "unavailable": 503,
}


class Problem(BaseModel):
    """What went wrong and what would be right (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str = Field(examples=["Conflict"])
    status: int = Field(examples=[409])
    detail: str = Field(examples=["The approval was already decided."])
    kind: str = Field(examples=["conflict"])
    """Stable name of the error for programs."""
    instance: str | None = Field(default=None, examples=["/api/approvals/apr-7k2m9qh4xw3c"])
    request_id: str | None = None


def problem_response(
    status: int,
    detail: str,
    *,
    kind: str,
    instance: str | None = None,
    request_id: str | None = None,
    headers: dict[str, str] | None = None,
    members: Mapping[str, object] | None = None,
) -> JSONResponse:
    """One problem-details answer with further *members*; one that a problem has already is left."""
    own = Problem.model_fields
    more: dict[str, Any] = {k: v for k, v in (members or {}).items() if k not in own}
    problem = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        kind=kind,
        instance=instance,
        request_id=request_id,
        **more,
    )
    return JSONResponse(
        problem.model_dump(mode="json", exclude_none=True),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers=headers,
    )


def declared(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that may answer these errors, 401, 403, 421, 422 and 503."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted({401, 403, 421, 422, 503, *statuses})
    }
