"""Audit: every decision and effect, newest first, and whether the signed head still matches."""

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from memory.audit_heads import check_last_head
from server.auth import FleetVisitor, ServicesDep
from server.lifespan import Services
from server.visitor import Visitor
from server.web.rendering import html
from server.web.surroundings import surroundings
from tools.autonomy import service as autonomy

router = APIRouter(include_in_schema=False)

ROWS = 50
KINDS = (
    ("", "Everything"),
    ("action.", "Actions"),
    ("approval.", "Approvals"),
    ("permit.", "Permits"),
    ("incident.", "Incidents"),
    ("signin.", "Sign-in"),
    ("key.", "API keys"),
)
"""What the filter offers; any other prefix of a kind works in the address."""


@dataclass(frozen=True)
class HeadCheck:
    """Whether the last signed head is still what the log says at its row."""

    tone: str
    text: str


async def head_check(services: Services, visitor: Visitor) -> HeadCheck:
    """Compare the last line of the signed heads with the row it names.

    Cheap on purpose (one line, one row); `academy audit verify` walks the whole chain.
    """
    paths = services.settings.paths
    name = services.databases.control.name
    file, key = paths.audit / f"{name}.heads.jsonl", paths.keys / "audit.pub"
    if not await asyncio.to_thread(key.exists):
        return HeadCheck("warn", "There is no audit key yet, so no head has been signed.")
    public = await asyncio.to_thread(key.read_bytes)
    head, problem = await asyncio.to_thread(check_last_head, file, public)
    if problem:
        return HeadCheck("bad", problem)
    if head is None:
        return HeadCheck("warn", "No head has been signed yet; the healer signs every few seconds.")
    async with services.databases.control.unit_of_work() as session:
        rows = await autonomy.list_audit(session, visitor.caller, limit=1, before_seq=head.seq + 1)
        newest = await autonomy.list_audit(session, visitor.caller, limit=1)
    if not rows or rows[0].seq != head.seq:
        return HeadCheck("bad", f"Row {head.seq}, whose head was signed, is gone from the log.")
    if rows[0].hash != head.hash:
        return HeadCheck("bad", f"Row {head.seq} is no longer what was signed.")
    unsigned = newest[0].seq - head.seq
    rest = f"; {unsigned} newer rows wait for the next signature" if unsigned else ""
    return HeadCheck("good", f"The last signed head matches row {head.seq}{rest}.")


@router.get("/audit")
async def audit_page(
    request: Request,
    services: ServicesDep,
    visitor: FleetVisitor,
    kind: Annotated[str, Query(max_length=80)] = "",
    before: Annotated[int | None, Query(ge=1)] = None,
) -> Response:
    """One page of the log, each row with its whole content behind a click."""
    async with services.databases.control.unit_of_work() as session:
        entries = await autonomy.list_audit(
            session, visitor.caller, limit=ROWS, before_seq=before, kind_prefix=kind or None
        )
    return html(
        request,
        "audit.html",
        visitor=visitor,
        frame=await surroundings(services, visitor),
        area="audit",
        entries=entries,
        kinds=KINDS if kind in dict(KINDS) else (*KINDS, (kind, kind)),
        kind=kind,
        older=entries[-1].seq if len(entries) == ROWS else None,
        first_page=before is None,
        check=await head_check(services, visitor),
    )
