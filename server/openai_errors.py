"""Errors of the OpenAI-compatible door: `{"error": {message, type, param, code}}`, and no other.

Existing clients read the status first and `code` second; `x-should-retry` tells the official
clients whether sending the same again can help.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

PATH = "/v1/"
"""Where the door is; every failure below it has this module's shape."""

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
}
"""Error types by status; other 4xx are `invalid_request_error`, 5xx `server_error`."""


class Failure(BaseModel):
    """What went wrong and what would be right."""

    message: str
    type: str = Field(examples=["invalid_request_error"])
    param: str | None = Field(default=None, examples=["model"])
    code: str | None = Field(default=None, examples=["model_not_found"])
    """Stable name of the error for programs."""


class ErrorBody(BaseModel):
    """One error."""

    error: Failure


class Declined(Exception):
    """The door won't serve this request, or the run behind it failed."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        param: str | None = None,
        again: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.again = again
        """Whether sending the same again can help; None leaves it to the client."""


def error_body(status: int, message: str, *, code: str, param: str | None = None) -> ErrorBody:
    """The error as the body of an answer, or of an event within a stream."""
    kind = TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return ErrorBody(error=Failure(message=message, type=kind, param=param, code=code))


def error_response(
    status: int,
    message: str,
    *,
    code: str,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
    again: bool | None = None,
) -> JSONResponse:
    """One error as a whole answer; a body that doesn't fit is 400 here, as clients expect."""
    status = 400 if status == 422 else status
    more = {} if again is None else {"x-should-retry": str(again).lower()}
    return JSONResponse(
        error_body(status, message, code=code, param=param).model_dump(),
        status_code=status,
        headers={**(headers or {}), **more},
    )


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that may answer these errors, 401, 403, 421 and 503."""
    return {
        status: {"description": HTTPStatus(status).phrase, "model": ErrorBody}
        for status in sorted({401, 403, 421, 503, *statuses})
    }
