"""The growth of evidence as a line: worlds from left to right, the bound upwards."""

from collections.abc import Sequence
from dataclasses import dataclass

from tools.autonomy.trial_schemas import PointView

WIDTH, HEIGHT, MARGIN = 320.0, 96.0, 6.0


@dataclass(frozen=True)
class BoundLine:
    """The share that passed and the bound as read, ready to draw and to read."""

    passed: str
    """`points` of a polyline in a box of 320 by 96."""
    bound: str
    """The same; empty before the first look."""
    target: float | None
    """Height of the target's line."""
    summary: str


def bound_line(points: Sequence[PointView], target: float | None) -> BoundLine | None:
    """The chart of *points*; None before the first world ended."""
    if not points:
        return None
    most = points[-1].worlds

    def across(worlds: int) -> float:
        return MARGIN + (worlds / most) * (WIDTH - 2 * MARGIN)

    def up(share: float) -> float:
        return HEIGHT - MARGIN - share * (HEIGHT - 2 * MARGIN)

    read = [(p.worlds, p.bound) for p in points if p.bound is not None]
    last = points[-1]
    said = f"{last.passed} of {last.worlds} distinct worlds passed"
    if last.bound is not None:
        said += f"; the rate is known to be above {last.bound:.3f}"
    return BoundLine(
        passed=" ".join(f"{across(p.worlds):.1f},{up(p.passed / p.worlds):.1f}" for p in points),
        bound=" ".join(f"{across(worlds):.1f},{up(bound):.1f}" for worlds, bound in read),
        target=round(up(target), 1) if target is not None else None,
        summary=f"{said}.",
    )
