"""Splits a message into the things it asks for, in order, without cutting inside one of them.

Items of a list and semicolons always separate. Sentences, "then", "and" and commas separate only
where both sides begin as a request of their own and the second doesn't point back with "it":
"restart player, then tell me how catalog is", but neither "restart catalog and player", "what is
wrong and why", nor "player hangs. Please restart it".
"""

import re

MAX_PARTS = 12
"""More are not looked at one by one; the router asks back long before."""

_HARD = re.compile(r"\s*;\s*|(?m:^\s*(?:\d{1,2}[.)]|[-*\u2022])\s+)")
_SOFT = re.compile(
    r"\s*(?:[,.]\s*)?\b(?:and\s+then|and\s+after\s+that|after\s+that|afterwards|then)\b,?\s+"
    r"|\s*(?:,\s*)?\b(?:y\s+luego|y\s+despu[eé]s|luego|despu[eé]s)\b,?\s+"
    r"|(?<=[.!?])\s+(?=\S)"
    r"|\n+",
    re.IGNORECASE,
)
_WEAK = re.compile(r"\s*,\s*(?:and\s+|y\s+)?|\s+and\s+|\s+y\s+|\s+as\s+well\s+as\s+", re.IGNORECASE)

_LEAD = re.compile(
    r"^(?:(?:hi|hello|hey|ok|okay|so|well|please|pls|kindly|now|also|finally|first|firstly|second|"
    r"secondly|next|lastly|plus|and|but|then|just|maybe|por favor|primero|adem[aá]s|tambi[eé]n|y|"
    r"luego|despu[eé]s)\b[\s,:!]*"
    r"|(?:can|could|would|will)\s+you\s+(?:please\s+)?(?:be\s+so\s+kind\s+and\s+)?"
    r"|i\s+(?:want|need|would\s+like|'d\s+like)\s+you\s+to\s+|go\s+ahead\s+and\s+"
    r"|(?:puedes|podr[ií]as)\s+)+",
    re.IGNORECASE,
)


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_VERBS = _set(
    "restart reboot relaunch bounce kick start stop kill recycle repair fix heal recover bring "
    "tell show list give check verify look see find explain describe summarize summarise report "
    "say undo revert restore archive free clean approve deny reject review scan lint write draft "
    "create make generate produce compose update upgrade bump patch plan migrate add remove delete "
    "set connect install send invite export translate teach quiz test book order play draw sing "
    "scale roll shift turn put let inform watch ping notify rewrite improve "
    "reinicia dime muestra muestrame explica archiva libera deshaz revierte arregla levanta revisa "
    "crea escribe actualiza cuentame comprueba"
)
_ASKS = _set(
    "what why how who when where which is are was were did does do has have any can could should "
    "que como quien cuando donde cual por esta estan hay"
)
_TAKE_BACK = _set("undo revert deshaz revierte")
"""What these point back to is the step before, which is what the next step should see done."""
_POINTS_BACK = _set("it its that this them they those lo la eso esto")
_NEAR = 200
"""Characters beside a separator that decide whether it separates."""


def split(text: str) -> list[str]:
    """The parts of *text* in order, each stripped; at least one unless *text* is blank."""
    parts: list[str] = []
    for item in _HARD.split(text):
        for piece in _split_at(item, _SOFT):
            parts.extend(_split_at(piece, _WEAK))
            if len(parts) > MAX_PARTS:
                break
    # A part without a letter or digit is punctuation, not a request.
    return [part for part in parts if re.search(r"\w", part)][:MAX_PARTS]


def opening(text: str) -> str:
    """The text without greeting, "please" and the like in front."""
    return _LEAD.sub("", text, count=1).strip()


def _first(text: str) -> str:
    words = re.findall(r"[^\W\d_]+", opening(text).lower(), re.UNICODE)
    return _bare(words[0]) if words else ""


def _bare(word: str) -> str:
    return word.translate(str.maketrans("áéíóúñ", "aeioun"))


def _split_at(text: str, separator: re.Pattern[str]) -> list[str]:
    parts: list[str] = []
    start = 0
    for match in separator.finditer(text):
        left = text[start : min(match.start(), start + _NEAR)]
        right = text[match.end() : match.end() + _NEAR]
        if _own_request(left) and _own_request(right) and not _points_back(right):
            parts.append(text[start : match.start()])
            start = match.end()
    parts.append(text[start:])
    return [part.strip(" \t\n,") for part in parts]


def _own_request(text: str) -> bool:
    """Whether *text* begins with a verb, or asks about something named."""
    first = _first(text)
    return first in _VERBS or (first in _ASKS and len(text.split()) > 2)


def _points_back(text: str) -> bool:
    words = [_bare(w) for w in re.findall(r"[^\W\d_]+", text.lower())]
    return _first(text) not in _TAKE_BACK and bool(set(words[:6]) & _POINTS_BACK)
