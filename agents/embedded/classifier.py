"""A text classifier in numpy: hashed word and character n-grams, TF-IDF, ridge regression.

Fitting is one linear solve over the examples (half a second for a thousand). Probabilities
are calibrated on leave-one-out scores, which ridge regression gives in closed form: example i's
score without itself is y_i - a_i / (G^-1)_ii with G = K + lambda W^-1 and a = G^-1 y
(Rifkin and Lippert, Notes on Regularized Least Squares, 2007). So no example vouches for itself.
"""

import math
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DIMENSIONS = 8192
RIDGE = 0.25
"""Best of 0.05 ... 1 by leave-one-out log loss on the examples."""
MAX_CHARACTERS = 2_000
"""More of one text isn't looked at: a request is said well before that."""

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_REPLICA = re.compile(r"\b([a-z][a-z_]*)-\d+\b")


def plain(text: str) -> str:
    """Lower case without accents, replica numbers dropped (`catalog-2` is a catalog)."""
    bare = unicodedata.normalize("NFKD", text[:MAX_CHARACTERS].lower())
    bare = "".join(c for c in bare if not unicodedata.combining(c)).replace("\u2019", "'")
    return _REPLICA.sub(r"\1", bare)


def words(text: str) -> list[str]:
    """The words of *text*, plain."""
    return _WORD.findall(plain(text))


def _features(text: str) -> Counter[str]:
    found = words(text)
    grams = Counter(f"w:{w}" for w in found)
    marked = ["<", *found, ">"]
    grams.update(f"b:{a} {b}" for a, b in pairwise(marked))
    for word in found:
        edged = f"<{word[:40]}>"
        grams.update(f"c:{edged[i : i + n]}" for n in (3, 4) for i in range(len(edged) - n + 1))
    return grams


@lru_cache(maxsize=65_536)
def _slot(gram: str) -> int:
    return zlib.crc32(gram.encode()) % DIMENSIONS


@dataclass(frozen=True)
class Judgement:
    """Probabilities of the labels for one text, and how familiar the text is."""

    probabilities: dict[str, float]
    familiarity: float
    """Share of its character trigrams that occur in the examples: low for noise, 1 at most."""

    @property
    def ranked(self) -> list[tuple[str, float]]:
        """Labels with probabilities, likeliest first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])


class Classifier:
    """Fitted on labelled texts; immutable afterwards."""

    def __init__(
        self, texts: Sequence[str], labels: Sequence[str], *, ridge: float = RIDGE
    ) -> None:
        if len(texts) != len(labels) or len(set(labels)) < 2:
            raise ValueError("A classifier needs one label per text and at least two labels.")
        self.labels = tuple(sorted(set(labels)))
        counts = [_features(text) for text in texts]
        self._trigrams = {
            gram for count in counts for gram in count if len(gram) == 5 and gram[0] == "c"
        }
        seen = Counter(slot for count in counts for slot in {_slot(gram) for gram in count})
        frequency = np.array([seen.get(slot, 0) for slot in range(DIMENSIONS)])
        self._idf = np.log((1 + len(texts)) / (1 + frequency)) + 1
        examples = np.empty((len(texts), DIMENSIONS), dtype=np.float32)
        for row, count in enumerate(counts):
            examples[row] = self._vector(count)
        target = np.array([[1.0 if y == label else -1.0 for label in self.labels] for y in labels])
        sizes = Counter(labels)
        balance = np.array([sizes[y] * len(self.labels) / len(labels) for y in labels])
        # A slot of one example alone adds nothing off the diagonal, and the diagonal is known: 1.
        shared = examples[:, frequency > 1]
        gram = shared @ shared.T
        np.fill_diagonal(gram, np.square(examples).sum(axis=1) + ridge * balance)
        inverse = np.linalg.inv(gram).astype(np.float64)
        mean = 2 / len(self.labels) - 1
        dual = inverse @ (target - mean)
        self._bias = mean
        self._weights = (examples.T @ dual.astype(np.float32)).astype(np.float64)
        left_out = target - dual / np.diag(inverse)[:, None]
        truth = np.array([self.labels.index(y) for y in labels])
        self.scale = _best_scale(left_out, truth)
        self.left_out = softmax(left_out * self.scale)
        """Leave-one-out probabilities of the examples, a row each, columns as `labels`."""

    def judge(self, text: str) -> Judgement:
        """The labels' probabilities for *text*; work is bounded whatever its length."""
        count = _features(text)
        vector = self._vector(count)
        chances = softmax((vector @ self._weights + self._bias)[None, :] * self.scale)[0]
        trigrams = [(g, n) for g, n in count.items() if len(g) == 5 and g[0] == "c"]
        total = sum(n for _, n in trigrams)
        known = sum(n for g, n in trigrams if g in self._trigrams)
        return Judgement(
            probabilities={k: float(p) for k, p in zip(self.labels, chances, strict=True)},
            familiarity=known / total if total else 0.0,
        )

    def _vector(self, count: Counter[str]) -> Floats:
        slots = [_slot(gram) for gram in count]
        weights = [
            (1 + math.log(n)) * (1.0 if gram[0] == "c" else 2.0) for gram, n in count.items()
        ]
        vector: Floats = np.bincount(
            np.array(slots, dtype=np.intp), np.array(weights, dtype=float), minlength=DIMENSIONS
        ).astype(np.float64)
        vector *= self._idf
        length = np.linalg.norm(vector)
        return vector / length if length else vector


def softmax(scores: Any) -> Floats:
    """Rows of scores as rows of probabilities."""
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def _best_scale(scores: Floats, truth: NDArray[np.intp]) -> float:
    """The factor on scores that makes held-out probabilities most honest (least log loss)."""
    rows = np.arange(len(truth))

    def loss(scale: float) -> float:
        return float(-np.log(softmax(scores * scale)[rows, truth] + 1e-12).mean())

    return min((float(s) for s in np.geomspace(0.5, 20, 40)), key=loss)
