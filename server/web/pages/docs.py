"""The API's reference, written from its own contract: no script, nothing from elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from server.auth import Member, ServicesDep
from server.web.rendering import html
from server.web.surroundings import surroundings

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Endpoint:
    """One operation of the API as its reference shows it."""

    method: str
    path: str
    summary: str
    description: str
    who: str
    """`anyone`, `member`, `fleet` or `operator`."""
    parameters: list[dict[str, Any]]
    example: Any
    """A body that would be taken; None where none is sent."""
    answers: list[tuple[str, str]]
    """Status and what it means."""


def resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """*schema* itself, or what its `$ref` names in *document*."""
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    return document["components"]["schemas"][name] if name else schema


def example_of(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Any:
    """The first example of a body, as the contract gives it."""
    content = operation.get("requestBody", {}).get("content", {})
    for media in content.values():
        return next(iter(resolved(document, media["schema"]).get("examples", ())), None)
    return None


def endpoints(document: Mapping[str, Any]) -> dict[str, list[Endpoint]]:
    """Every operation of an OpenAPI *document*, by its tag, in the document's order."""
    found: dict[str, list[Endpoint]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            endpoint = Endpoint(
                method=method.upper(),
                path=path,
                summary=operation.get("summary", ""),
                description=operation.get("description", ""),
                who=operation.get("x-who", "anyone"),
                parameters=operation.get("parameters", []),
                example=example_of(document, operation),
                answers=[(s, a.get("description", "")) for s, a in operation["responses"].items()],
            )
            for tag in operation.get("tags", ()):
                found.setdefault(tag, []).append(endpoint)
    return {tag: listed for tag, listed in found.items() if listed}


@router.get("/docs")
async def docs_page(request: Request, services: ServicesDep, visitor: Member) -> Response:
    """Every operation with its parameters, an example and its answers."""
    document = request.app.openapi()
    return html(
        request,
        "docs.html",
        visitor=visitor,
        frame=await surroundings(services, visitor),
        area="docs",
        description=document["info"]["description"],
        about={tag["name"]: tag["description"] for tag in document["tags"]},
        groups=endpoints(document),
    )
