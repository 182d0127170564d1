"""A deterministic lexical embedding: no model, no download, the same text the same vector anywhere.

Each word, each pair of neighbouring words and each character trigram within a word is hashed
(CRC-32) to one of 1,024 dimensions with a sign from the hash, weighted by kind and by the root of
its count; small words weigh a tenth. The sum has length 1, so cosine similarity is a dot product.
It finds texts that share words and word stems; it knows no synonyms.
"""

import math
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

DIMENSIONS = 1024
NAME = "academy-lexical-1"
"""Changes whenever the same text would get another vector."""
MAX_CHARACTERS = 8_000
"""More of one text doesn't enter its vector."""

_WORD = re.compile(r"[^\W_]+")
_SMALL = frozenset(
    [
        *("the", "a", "an", "of", "to", "in", "on", "at", "is", "are", "was", "were", "it", "and"),
        *("or", "for", "by", "with", "that", "this", "from", "as", "be", "has", "had", "have"),
        *("el", "la", "los", "las", "de", "del", "en", "un", "una", "y", "que", "es", "por"),
    ]
)
_WORD_WEIGHT, _PAIR_WEIGHT, _TRIGRAM_WEIGHT, _SMALL_WEIGHT = 1.0, 0.5, 0.3, 0.1


def embed(text: str) -> list[float]:
    """The vector of *text*: 1,024 numbers of length 1, or all zero where there is no word."""
    bare = unicodedata.normalize("NFKD", text[:MAX_CHARACTERS].lower())
    found = _WORD.findall("".join(c for c in bare if not unicodedata.combining(c)))
    weighed: dict[str, float] = {}
    for word, n in Counter(found).items():
        weight = _SMALL_WEIGHT if word in _SMALL else 1.0
        weighed[f"w {word}"] = _WORD_WEIGHT * weight * math.sqrt(n)
        edged = f"<{word[:40]}>"
        for gram, k in Counter(edged[i : i + 3] for i in range(len(edged) - 2)).items():
            key = f"t {gram}"
            weighed[key] = weighed.get(key, 0.0) + _TRIGRAM_WEIGHT * weight * math.sqrt(k * n)
    for (a, b), n in Counter(pairwise(found)).items():
        weighed[f"p {a} {b}"] = _PAIR_WEIGHT * math.sqrt(n)
    vector = [0.0] * DIMENSIONS
    for feature, weight in weighed.items():
        slot = zlib.crc32(feature.encode())
        vector[slot % DIMENSIONS] += weight if slot & 0x8000_0000 else -weight
    length = math.sqrt(sum(x * x for x in vector))
    return [x / length for x in vector] if length else vector


def similarity(a: Sequence[float], b: Sequence[float]) -> float:
    """Cosine of two vectors of length 1: -1 to 1."""
    return sum(x * y for x, y in zip(a, b, strict=True))
