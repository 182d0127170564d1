"""Static files, held in memory with their content's hash in the address, so browsers keep them.

One script holds htmx, its event-stream extension and our few lines, in that order: one request
instead of three. htmx comes from the static folder of an installed wheel; that package itself is
never imported, because it would want Django.
"""

import gzip
import hashlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

STATIC = Path(__file__).parent / "static"
HTMX_FILES = ("htmx-4.min.js", "ext/hx-sse-4.min.js")
FOREVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Asset:
    """One static file as it is served."""

    name: str
    media_type: str
    body: bytes
    packed: bytes
    """The body under gzip; static files hold no secret that compression could leak."""
    address: str


def htmx_folder() -> Path:
    """Where the wheel keeps htmx.

    Raises:
        FileNotFoundError: the wheel isn't installed.
    """
    spec = importlib.util.find_spec("django_htmx")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("django-htmx is not installed; run `make setup`.")
    return Path(spec.submodule_search_locations[0]) / "static" / "django_htmx"


def _asset(name: str, media_type: str, body: bytes) -> Asset:
    digest = hashlib.sha256(body).hexdigest()[:12]
    return Asset(
        name=name,
        media_type=media_type,
        body=body,
        packed=gzip.compress(body, 9, mtime=0),
        address=f"/static/{digest}/{name}",
    )


@cache
def assets() -> Mapping[str, Asset]:
    """Every static file by name, read once."""
    scripts = [(htmx_folder() / name).read_bytes() for name in HTMX_FILES]
    scripts.append((STATIC / "academy.js").read_bytes())
    found = (
        _asset("academy.js", "text/javascript; charset=utf-8", b"\n;\n".join(scripts)),
        _asset(
            "academy.css",
            "text/css; charset=utf-8",
            b"\n".join(path.read_bytes() for path in sorted(STATIC.glob("*.css"))),
        ),
        _asset("icon.svg", "image/svg+xml", (STATIC / "icon.svg").read_bytes()),
    )
    return {asset.name: asset for asset in found}


def address(name: str) -> str:
    """The address of the static file called *name*, its content's hash included."""
    return assets()[name].address
