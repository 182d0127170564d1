"""What a threshold buys: in-scope accuracy against out-of-scope recall, at every threshold."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ACCURACIES = (0.92, 0.91, 0.90, 0.89, 0.88, 0.87, 0.86, 0.85, 0.80, 0.75, 0.70)
"""In-scope accuracies at which the curve is told."""


@dataclass(frozen=True)
class Scored:
    """Scores of held-out texts: how sure the engine is that one is in scope, on its own scale."""

    right: NDArray[np.bool_]
    """Whether each in-scope text got its own label."""
    inside: Floats
    """Scores of the in-scope texts."""
    outside: Floats
    """Scores of the texts out of scope."""

    def at(self, threshold: float) -> dict[str, float]:
        """In-scope accuracy (a refused text counts as wrong) and out-of-scope recall."""
        return {
            "threshold": round(threshold, 4),
            "in_scope_accuracy": round(float((self.right & (self.inside >= threshold)).mean()), 4),
            "out_of_scope_recall": round(float((self.outside < threshold).mean()), 4),
        }

    def curve(self) -> list[dict[str, float]]:
        """The highest threshold, and what it catches, for each accuracy that can be reached."""
        sure = np.sort(self.inside[self.right])
        points = []
        for accuracy in ACCURACIES:
            spare = len(sure) - int(np.ceil(accuracy * len(self.inside)))
            if spare >= 0:
                points.append(self.at(float(sure[spare])))
        return points


def threshold_that_catches(outside: Floats, share: float) -> float:
    """The lowest threshold under which at least *share* of the scores *outside* fall."""
    place = min(int(np.ceil(share * len(outside))), len(outside) - 1)
    return float(np.sort(outside)[place])
