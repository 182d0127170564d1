"""Addresses that hold a NUL are refused before anything is looked up under them.

PostgreSQL can't store a NUL in text, so no id and no filter has one; asked for all the same, it
would be an error of the database's driver and a 500.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from server.problems import problem_response

NULS = (b"\x00", b"%00")


class PlainAddress:
    """Answers 400 to a path or query with a NUL in it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request whose address may be looked up."""
        if scope["type"] != "http" or not holds_nul(scope):
            await self.app(scope, receive, send)
            return
        response = problem_response(
            400,
            "The address holds a NUL character (%00), which no id and no filter has.",
            kind="invalid",
            instance=scope["path"].replace("\x00", "%00"),
        )
        await response(scope, receive, send)


def holds_nul(scope: Scope) -> bool:
    """Whether the path or the query of *scope* has a NUL, encoded or not."""
    return "\x00" in scope["path"] or any(nul in scope["query_string"] for nul in NULS)
