"""Messages as HTML: a small Markdown, with no HTML of the writer's own.

Rendering escapes raw HTML, and a sanitiser with a short allow-list goes over the result: what an
agent wrote is outside content. Pictures are left out; links open with no referrer and no opener.
"""

from functools import cache

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup

TAGS = {
    "a", "blockquote", "br", "code", "del", "em", "h3", "h4", "hr", "li", "ol", "p", "pre",
    "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
HEADINGS = {"h1": "h3", "h2": "h3", "h5": "h4", "h6": "h4"}
SCHEMES = {"http", "https", "mailto"}
MOST_CHARACTERS = 20_000
"""Longest message shown, as long as the longest one taken: more would bury what stands below."""


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True})
    parser.enable(["table", "strikethrough"])
    parser.disable(["image"])
    return parser


def to_html(text: str) -> Markup:
    """*text* as safe HTML; headings start at level 3, below the page's own."""
    if len(text) > MOST_CHARACTERS:
        text = f"{text[:MOST_CHARACTERS]}…\n\n(Cut: it has {len(text):,} characters.)"
    tokens = _parser().parse(text)
    for token in tokens:
        token.tag = HEADINGS.get(token.tag, token.tag)
    html = _parser().renderer.render(tokens, _parser().options, {})
    clean = nh3.clean(
        html,
        tags=TAGS,
        attributes={"a": {"href"}},
        url_schemes=SCHEMES,
        link_rel="noopener noreferrer nofollow",
    )
    return Markup(clean)  # noqa: S704 - sanitised on the line above
