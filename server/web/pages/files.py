"""Static files under their content's hash, and each tenant's few colours."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from memory.errors import StoreUnavailable
from server.auth import Unchecked, UnknownHost, tenant_of
from server.visitor import DEFAULT_ACCENT
from server.web.assets import FOREVER, assets
from server.web.theme import stylesheet
from tools.kit.errors import NotFound

router = APIRouter(include_in_schema=False, dependencies=[Unchecked])


@router.get("/static/{path:path}")
async def static_file(request: Request, path: str) -> Response:
    """One static file; under an address of another release it is sent, but not to be kept."""
    asset = assets().get(path.rpartition("/")[2])
    if asset is None:
        raise NotFound("There is no such file.")
    packed = "gzip" in request.headers.get("accept-encoding", "")
    headers = {
        "cache-control": FOREVER if asset.address == f"/static/{path}" else "no-cache",
        "vary": "Accept-Encoding",
    }
    if packed:
        headers["content-encoding"] = "gzip"
    body = asset.packed if packed else asset.body
    return Response(body, media_type=asset.media_type, headers=headers)


@router.get("/theme.css")
async def theme(request: Request) -> Response:
    """The colours of the tenant this host names; its own accent is in the address, so it keeps.

    While the store can't say which tenant that is, they are the academy's own, and aren't kept.
    """
    kept = "public, max-age=3600"
    try:
        accent = (await tenant_of(request)).accent
    except UnknownHost:
        accent = DEFAULT_ACCENT
    except StoreUnavailable:
        accent, kept = DEFAULT_ACCENT, "no-store"
    return Response(stylesheet(accent), media_type="text/css", headers={"cache-control": kept})


@router.get("/favicon.ico")
async def favicon(request: Request) -> Response:
    """Browsers ask for it by habit; the icon is a static file."""
    asset = assets()["icon.svg"]
    return Response(asset.body, media_type=asset.media_type, headers={"cache-control": FOREVER})
