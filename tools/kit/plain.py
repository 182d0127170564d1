"""Text from anywhere, made so that it can't pretend to be something else where it is shown.

Unicode has characters that no reader sees and that change what is read: controls move a terminal's
cursor, direction overrides turn words around, zero-width ones hide in the middle of a name. What
can't be seen and does nothing is dropped; what would act is shown by its number.
"""

import re

LINE_CHARACTERS = 300
"""Longest line of a plan: three lines of a card."""
QUOTE_CHARACTERS = 120
"""Longest quotation of text from outside."""

_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2060-\u2064\u206a-\u206f"
    "\u3164\ufe00-\ufe0e\ufeff\uffa0\U000e0000-\U000e0fff]"
    "|(?<=[\x00-\u024f])[\u200c\u200d]|[\u200c\u200d](?=[\x00-\u024f]|$)|^[\u200c\u200d]"
)
"""Invisible characters. A joiner stays between letters of scripts (or emoji) that use it."""
_ACTS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufff9-\ufffb]"
)
"""Controls of terminals, of direction and of annotation; not tab and line feed."""


def visible(text: str) -> str:
    """*text* without invisible characters, and with those that act shown as `⟨202E⟩`."""
    if text.isascii() and text.isprintable():
        return text
    return _ACTS.sub(_numbered, _UNSEEN.sub("", text.replace("\r\n", "\n")))


def one_line(text: str, most: int = LINE_CHARACTERS) -> str:
    """*text* as one visible line of at most *most* characters; leading blanks stay."""
    line = re.sub(r"[\n\t]+", " ", visible(text)).rstrip()
    return line if len(line) <= most else f"{line[: most - 1]}…"


def quoted(text: str, most: int = QUOTE_CHARACTERS) -> str:
    """*text* from outside as a quotation that it can't leave."""
    inner = re.sub("[“”]", "'", one_line(text.strip(), most))
    return f"“{inner}”"


def _numbered(found: re.Match[str]) -> str:
    return f"⟨{ord(found.group()):04X}⟩"
