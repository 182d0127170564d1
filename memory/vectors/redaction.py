"""Takes secrets out of text before it is remembered, prompted or logged.

Patterns of well-known credentials and of `password = ...`. It errs towards taking out too much:
a lost word costs a worse memory, a kept key an incident.
"""

import re
from dataclasses import dataclass

_NAMES = (
    r"pass(?:word|wd|phrase)?|pwd|contrase\u00f1a|secret|token|api[_-]?key|access[_-]?key|"
    r"secret[_-]?key|private[_-]?key|client[_-]?secret|auth(?:orization)?|credential|session[_-]?id|"
    r"cookie|csrf"
)

_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "private key",
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S
        ),
    ),
    ("token", re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*")),
    ("authorization", re.compile(r"\b(Bearer|Basic|Digest)\s+[\w.~+/=-]{8,}", re.I)),
    (
        "key",
        re.compile(
            r"\b(?:dak_|sk-|pk-|rk_|sk_|whsec_|xox[abprs]-|gh[pousr]_|github_pat_|glpat-|npm_|"
            r"hf_|pypi-|AKIA|ASIA|AIza)[\w-]{8,}"
        ),
    ),
    ("password", re.compile(r"(?<=://)[^\s:/@]*:[^\s/@]+(?=@)")),
    ("sign-in link", re.compile(r"(?<=/signin/)[\w-]{8,}")),
    (
        "secret",
        re.compile(
            rf"(?i)\b(?:[\w-]*[_-])?(?:{_NAMES})\b[\"']?\s*(?:[:=]|\bis\b|\bes\b)\s*"
            r"(?:\"[^\"\n]+\"|'[^'\n]+'|[^\s,;\"']+)"
        ),
    ),
    ("key", re.compile(r"\b[0-9a-fA-F]{40,}\b")),
    (
        "key",
        re.compile(r"\b(?=[A-Za-z0-9+/_-]*\d)(?=[A-Za-z0-9+/_-]*[A-Z])[A-Za-z0-9+/_-]{40,}={0,2}"),
    ),
)


@dataclass(frozen=True)
class Redacted:
    """A text without the secrets it held, and how many there were."""

    text: str
    count: int


def redact(text: str) -> Redacted:
    """*text* with every recognised secret replaced by `[redacted <what>]`."""
    total = 0
    for what, pattern in _PATTERNS:
        text, found = pattern.subn(f"[redacted {what}]", text)
        total += found
    return Redacted(text, total)
