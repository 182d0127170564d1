"""The API's contract: who may call what, and the one shape of every error, added to OpenAPI."""

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from server.auth import COOKIE, Allowed, Open, Public
from server.problems import Problem

DESCRIPTION = """\
People and programs meet the academy here; the command line is a client of this API.

Send an API key as `Authorization: Bearer dak_...`, or use a browser's session: then each request
that changes something carries `X-CSRF-Token` (see `GET /api/session`). The host name says which
academy is meant. Every error is `application/problem+json` with a sentence in `detail` and a
stable name in `kind`; below `/v1/`, where existing chat clients attach, every error has OpenAI's
shape.
"""

TAGS = [
    {"name": "threads", "description": "Talking to the agents; answers stream as AG-UI events."},
    {"name": "openai", "description": "The same for existing chat clients (OpenAI's API)."},
    {"name": "autonomy", "description": "Approvals, actions, the audit log, levels of autonomy."},
    {"name": "healing", "description": "The fleet and its incidents."},
    {"name": "identity", "description": "Sign-in links, sessions, passwords and API keys."},
    {"name": "probes", "description": "What proxies, supervisors and Prometheus ask."},
]

SECURITY = {
    "key": {"type": "http", "scheme": "bearer", "description": "An API key, `dak_...`."},
    "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
}


def access_of(route: APIRoute) -> Allowed | Open | Public | None:
    """What *route* declared about who may pass; None where it declared nothing."""
    for dependant in route.dependant.dependencies:
        if isinstance(dependant.call, Allowed | Open | Public):
            return dependant.call
    return None


def install(app: FastAPI, routers: Iterable[APIRouter]) -> None:
    """Make `app.openapi` answer the completed document."""
    declared = [route for router in routers for route in router.routes]

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                description=DESCRIPTION,
                tags=TAGS,
                routes=app.routes,
            )
            complete(document, [route for route in declared if isinstance(route, APIRoute)])
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def complete(document: dict[str, Any], routes: Iterable[APIRoute]) -> None:
    """Add errors, security and roles to *document*."""
    components = document.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = Problem.model_json_schema(
        ref_template="#/components/schemas/{model}"
    )
    components["securitySchemes"] = SECURITY
    for route in routes:
        access = access_of(route)
        if not route.include_in_schema or access is None:
            continue
        for method in route.methods or ():
            operation = document["paths"][route.path][method.lower()]
            operation["x-who"] = access.who
            operation["security"] = (
                [{name: []} for name in SECURITY] if isinstance(access, Allowed) else []
            )
