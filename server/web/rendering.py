"""Templates: one environment, the filters pages use, and what every page's frame needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

from graphs.presence import present
from server.auth import services_of
from server.visitor import DEFAULT_ACCENT, TenantFace, Visitor
from server.web import assets, charts, markdown, moments, words
from tools.autonomy import service as autonomy
from tools.healing import service as healing

TEMPLATES = Path(__file__).parent / "templates"
NOBODYS = TenantFace(id="", slug="", name="Dynasty Academy", accent=DEFAULT_ACCENT)
"""What a page shows before the tenant is known."""


@dataclass(frozen=True)
class Mode:
    """What answers in the chat, as every page says it."""

    state: str
    """`ready`, `starting` or `unknown` (the store is down)."""
    label: str
    detail: str


@dataclass(frozen=True)
class Frame:
    """What surrounds every page of somebody signed in."""

    mode: Mode
    pending: int = 0
    open_incidents: int = 0


NO_STORE = Frame(
    mode=Mode("unknown", "Database down", "Which model answers is unknown until it is back.")
)


@cache
def environment() -> Environment:
    """The one template environment; a name that isn't there is an error, never an empty string."""
    env = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    env.globals.update(
        asset=assets.address,
        charts=charts.charts,
        time_tag=moments.time_tag,
        span_text=moments.span_text,
        words=words,
    )
    env.filters.update(markdown=markdown.to_html, short=words.short_digest)
    return env


def fragment(request: Request, template: str, **context: Any) -> Markup:
    """One template as text, with the moment of the request as `now`."""
    visitor: Visitor | None = context.pop("visitor", getattr(request.state, "visitor", None))
    tenant = getattr(request.state, "tenant", None) or (visitor.tenant if visitor else NOBODYS)
    text = (
        environment()
        .get_template(template)
        .render(
            now=services_of(request).clock.now(),
            visitor=visitor,
            tenant=tenant,
            path=request.url.path,
            **context,
        )
    )
    return Markup(text)  # noqa: S704 - a template's output, escaped where it was filled in


def html(
    request: Request,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: Any,
) -> HTMLResponse:
    """One page or fragment as an answer that no cache may keep."""
    return HTMLResponse(
        fragment(request, template, **context),
        status_code=status,
        headers={"cache-control": "no-store", "vary": "HX-Request", **(headers or {})},
    )


def asked_by_htmx(request: Request) -> bool:
    """Whether a script asks for part of a page, rather than a person for a whole one."""
    return "hx-request" in request.headers


async def frame_of(request: Request, visitor: Visitor) -> Frame:
    """Model mode and what waits for a person, as the frame of every page shows it."""
    services = services_of(request)
    async with services.databases.control.unit_of_work() as session:
        presence = await present(session, "agents", clock=services.clock)
        if presence is None:
            mode = Mode("starting", "Agent starting", "The agents worker isn't there yet.")
        else:
            embedded = presence.model == "embedded"
            label = "Embedded model" if embedded else presence.model
            detail = (
                "A deterministic expert system inside the academy; no outside model is asked."
                if embedded
                else "The configured language model words the answers; it permits nothing."
            )
            ready = presence.state == "ready"
            mode = Mode(presence.state, label if ready else "Agent starting", detail)
        if not visitor.caller.may_fleet:
            return Frame(mode=mode)
        pending = await autonomy.list_approvals(session, visitor.caller, state="pending")
        incidents = await healing.list_incidents(session, visitor.caller, open_only=True)
    return Frame(mode=mode, pending=len(pending), open_incidents=len(incidents))
