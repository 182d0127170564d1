"""What the front says when no replica can: problem details for programs, a page for people.

Chat clients of OpenAI's API get their own shape, and are told to send it again: their clients then
say that they do, and a message that arrived is not said twice.
"""

import html
import json

from server.proxy.wire import Headers

TITLES = {
    413: "Too large",
    431: "Too many headers",
    502: "The answer was lost",
    503: "Not ready",
    504: "No answer in time",
}
REFRESH_SECONDS = 2
CHAT_PATH = "/v1/"
"""Below it clients of OpenAI's API read answers."""


def answer(
    status: int, detail: str, *, wants_page: bool, path: str = "/", safe: bool = False
) -> tuple[Headers, bytes]:
    """Headers and body of an answer of our own; *safe*: its page may ask again by itself."""
    title = TITLES[status]
    headers: Headers = [(b"cache-control", b"no-store")]
    if status == 503:
        headers.append((b"retry-after", str(REFRESH_SECONDS).encode()))
    if path.startswith(CHAT_PATH):
        kind = "invalid_request_error" if status < 500 else "server_error"
        code = TITLES[status].lower().replace(" ", "_")
        error = {"message": detail, "type": kind, "param": None, "code": code}
        body = json.dumps({"error": error}).encode()
        headers.append((b"content-type", b"application/json"))
        headers.append((b"x-should-retry", b"true" if status >= 500 else b"false"))
    elif wants_page:
        again = status == 503 and safe
        refresh = f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">' if again else ""
        after = "<p>This page asks again by itself.</p>" if again else ""
        body = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">'
            f'<meta name="color-scheme" content="light dark">{refresh}'
            f"<title>{title}</title></head><body><h1>{title}</h1>"
            f"<p>{html.escape(detail)}</p>{after}</body></html>"
        ).encode()
        headers.append((b"content-type", b"text/html; charset=utf-8"))
        headers.append((b"content-security-policy", b"default-src 'none'"))
    else:
        body = json.dumps(
            {"type": "about:blank", "title": title, "status": status, "detail": detail}
        ).encode()
        headers.append((b"content-type", b"application/problem+json"))
    headers.append((b"content-length", str(len(body)).encode()))
    return headers, body
