"""Templates: one environment, the filters pages use, and answers made of them."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

from server.auth import services_of
from server.visitor import DEFAULT_ACCENT, TenantFace, Visitor
from server.web import assets, charts, markdown, moments, words
from tools.kit import plain

TEMPLATES = Path(__file__).parent / "templates"
NOBODYS = TenantFace(id="", slug="", name="Dynasty Academy", accent=DEFAULT_ACCENT)
"""What a page shows before the tenant is known."""


def shown(value: Any) -> Any:
    """What a template fills in, without characters that make a page read other than it is."""
    if isinstance(value, Markup):
        return Markup(plain.visible(value))  # noqa: S704 - characters go, none becomes markup
    return plain.visible(value) if isinstance(value, str) else value


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
        finalize=shown,
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
    return answer(fragment(request, template, **context), status=status, headers=headers)


def answer(
    text: str, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> HTMLResponse:
    """HTML that no cache may keep."""
    return HTMLResponse(
        text,
        status_code=status,
        headers={"cache-control": "no-store", "vary": "HX-Request", **(headers or {})},
    )


def asked_by_htmx(request: Request) -> bool:
    """Whether a script asks for part of a page, rather than a person for a whole one."""
    return "hx-request" in request.headers
