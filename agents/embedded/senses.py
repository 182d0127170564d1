"""What words mean, as far as the company they keep tells: a text's mean word vector.

The vectors are GloVe's of 30,000 English words (Pennington, Socher and Manning, GloVe: Global
Vectors for Word Representation, 2014; public domain), kept in `senses.npz`, which
`evals/word_vectors.py` makes. Words are weighed by rarity, and what all texts have in common, their
mean and first principal direction, is taken away (Arora, Liang and Ma, A Simple but Tough-to-Beat
Baseline for Sentence Embeddings, 2017). "reboot" comes near "restart"; a word of another language
has no vector and counts for nothing.
"""

import math
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FILE = Path(__file__).with_name("senses.npz")
DIGEST = "99156f6fae28529555cf1d5c72bfe82e7b95dc7414873f914caa000ac0a4ab58"
"""SHA-256 of the file; a test holds the two together."""

Floats32 = NDArray[np.float32]


class Senses:
    """Fitted on the words of the examples; immutable afterwards."""

    def __init__(self, counted: Sequence[Counter[str]]) -> None:
        """*counted*: how often each example has each word, as `grams.words` gives them."""
        self._rows, self._vectors = _read()
        size = len(counted)
        often = Counter(part for words in counted for part in {p for w in words for p in _split(w)})
        self._rarity = {word: math.log((1 + size) / (1 + n)) for word, n in often.items()}
        self._unseen = math.log(1 + size)
        sums = np.array([self._sum(words) for words in counted], dtype=np.float32)
        self._mean = sums.mean(axis=0)
        centred = sums - self._mean
        self._common = np.linalg.eigh(centred.T @ centred)[1][:, -1]
        self.vectors = np.stack([self._finished(row) for row in sums])
        """The examples' vectors, a row each, of length 1, or 0 where no word is known."""

    def vector(self, words: Counter[str]) -> Floats32:
        """The vector of a text: length 1, or 0 where no word is known."""
        return self._finished(self._sum(words))

    def _sum(self, words: Counter[str]) -> Floats32:
        parts = [(part, n) for word, n in words.items() for part in _split(word)]
        known = [(part, n) for part, n in parts if part in self._rows]
        weights = [n * (1 + self._rarity.get(part, self._unseen)) / 127 for part, n in known]
        rows = self._vectors[np.array([self._rows[part] for part, _ in known], dtype=np.intp)]
        return np.asarray(weights, dtype=np.float32) @ rows.astype(np.float32)

    def _finished(self, total: Floats32) -> Floats32:
        if not total.any():
            return total
        centred = total - self._mean
        centred = centred - (centred @ self._common) * self._common
        length = float(np.linalg.norm(centred))
        return np.asarray(centred / length if length else centred, dtype=np.float32)


def _split(word: str) -> tuple[str, ...]:
    """A word as GloVe counts it: "isn't" is "is" and "n't", "what's" is "what" and "'s"."""
    if word.endswith("n't"):
        return (word[:-3], "n't")
    stem, mark, tail = word.partition("'")
    return (stem, mark + tail) if mark else (word,)


@cache
def _read() -> tuple[dict[str, int], NDArray[np.int8]]:
    with np.load(FILE) as kept:
        words = kept["words"].tobytes().decode().split("\n")
        return {word: row for row, word in enumerate(words)}, kept["vectors"]
