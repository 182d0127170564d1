"""What a sentence to the healer is about, in English and in the main Spanish forms."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "thanks",
    "help",
    "approve",
    "approvals",
    "approver",
    "undo",
    "notes",
    "restart",
    "archive",
    "log",
    "autonomy",
    "audit",
    "actions",
    "why",
    "incidents",
    "status",
    "unclear",
]
Language = Literal["en", "es"]

LONG = 1_500
"""A longer message is read by its first and last words only; nothing in it is an instruction."""

_PATTERNS: tuple[tuple[Kind, str], ...] = (
    ("thanks", r"^(?:many )?(?:thanks?|thank you|thx|cheers|gracias|muchas gracias)\b.{0,30}$"),
    ("help", r"what can you do|what do you do|^help\b|how do you work|que puedes hacer|^ayuda\b"),
    (
        "approver",
        r"who (?:has )?(?:approved|denied|allowed|decided|permitted)|quien (?:aprobo|dio)",
    ),
    ("restart", r"^(?:please |por favor )?(?:restart|reboot|reinicia)\b"),
    ("approve", r"^(?:please )?(?:approve|deny|reject|confirm|aprueba|rechaza)\b"),
    (
        "approvals",
        r"approv|waiting for me|to decide|decision|pendiente|aprobacion|open questions",
    ),
    ("undo", r"\bundo|revert|roll (?:it |that )?back|take (?:it|that) back|deshac|deshaz|revierte"),
    (
        "autonomy",
        r"autonom|run alone|on (?:your|its) own|without (?:asking|approval)|por tu cuenta",
    ),
    (
        "notes",
        r"\bremember|\b(?:our|any|your) notes\b|\bnotes? say\b|\bseen (?:[\w-]+ ){0,4}before\b|"
        r"happened before|recuerd|recordamos|(?:nuestras|dicen las) notas",
    ),
    ("audit", r"\baudit|auditoria"),
    ("log", r"\blogs?\b|registros? de"),
    ("why", r"^(?:but |and |y )?(?:why|por ?que)\b"),
    (
        "actions",
        r"what (?:did|have) (?:you|we)|last action|actions?\b|have you done|did you do|done today|"
        r"(?:which|what) repairs (?:did|have) you|que (?:hiciste|has hecho|se hizo)|acciones",
    ),
    ("why", r"\bwhy\b|\bcauses?\b|\breason|explain|explica|por ?que|what happened|que paso"),
    ("restart", r"restart|reboot|relaunch|bounce|reinici|rearranc"),
    ("archive", r"archiv|free (?:up )?(?:some )?(?:disk|space)|clean up|libera"),
    ("incidents", r"incident|outage|alerts?\b|went wrong|crash|incidente|averia"),
    (
        "status",
        r"wrong|broken|status|health|how (?:is|are)|doing|up\b|down\b|slow|ok\b|okay|alright|fine|"
        r"fleet|services?|replicas?|signals?|metrics?|figures|metricas|cifras|running|latency|memory|cpu|disk|overview|check|worry|errors?|"
        r"que (?:esta|anda|va) mal|que pasa\b|todo (?:va )?bien|todo en orden|"
        r"como (?:esta|estan|va|van)|estado|funciona|lento|caido|disco",
    ),
)
_COMPILED = tuple((kind, re.compile(pattern)) for kind, pattern in _PATTERNS)
_SPANISH = re.compile(
    r"[¿¡ñ]|\b(?:que|como|esta|estan|reinicia\w*|deshaz\w*|deshac\w*|quien|aprobo|por ?que|hola|"
    r"gracias|estado|archiva|libera|puedes|el|los|las|una?|cual|mal|servicios?|pendientes?)\b"
)
_ENGLISH = re.compile(
    r"\b(?:the|is|are|what|how|why|who|you|that|did|restart|please|and|of|my|doing)\b"
)


@dataclass(frozen=True)
class Intent:
    """What a sentence is about, and the language it is in."""

    kind: Kind
    language: Language


def plain(text: str) -> str:
    """Lower case, no accents, one space between words."""
    bare = unicodedata.normalize("NFKD", text.lower())
    return " ".join("".join(c for c in bare if not unicodedata.combining(c)).split())


def intent_of(text: str) -> Intent:
    """The first kind whose words occur in *text*; `unclear` when none does."""
    shortened = text if len(text) <= LONG else f"{text[:300]} {text[-300:]}"
    said = plain(shortened).strip(" .!?¿¡")
    kind = next((kind for kind, pattern in _COMPILED if pattern.search(said)), None)
    return Intent(kind=kind or "unclear", language=language_of(shortened))


def language_of(text: str) -> Language:
    """Spanish where its words outnumber the English ones, else English."""
    said = f"{plain(text)} {'¿' if '¿' in text or '¡' in text or 'ñ' in text.lower() else ''}"
    return "es" if len(_SPANISH.findall(said)) > len(_ENGLISH.findall(said)) else "en"
