"""The growth of evidence as a line: worlds from left to right, the bound upwards."""

from collections.abc import Sequence
from dataclasses import dataclass

from tools.autonomy.trial_schemas import PointView

WIDTH, HEIGHT, MARGIN = 320.0, 96.0, 6.0
MARK = 3.0
"""Half the length of the stroke that marks a look."""


@dataclass(frozen=True)
class BoundLine:
    """The share that passed and the bound as read, ready to draw and to read."""

    passed: str
    """`points` of a polyline in a box of 320 by 96."""
    bound: str
    """The same; empty before the first look."""
    looks: list[tuple[float, float, float]]
    """A stroke where the bound was read anew: how far right, its upper and its lower end."""
    target: float | None
    """Height of the target's line."""
    percent: int | None
    """The target in words."""
    worlds: int
    """How many the line is long."""
    summary: str


def bound_line(points: Sequence[PointView], target: float | None) -> BoundLine | None:
    """The chart of *points*; None before the first world ended.

    The bound stays as it was read until the next look, so it is drawn in steps, never sloping.
    """
    if not points:
        return None
    most = points[-1].worlds

    def across(worlds: int) -> float:
        return MARGIN + (worlds / most) * (WIDTH - 2 * MARGIN)

    def up(share: float) -> float:
        return HEIGHT - MARGIN - share * (HEIGHT - 2 * MARGIN)

    looks = []
    steps: list[tuple[int, float]] = []
    for point in points:
        if point.bound is None:
            continue
        if not steps or point.bound != steps[-1][1]:
            looks.append((round(across(point.worlds), 1), up(point.bound)))
            steps += [(point.worlds, steps[-1][1])] if steps else []
        steps.append((point.worlds, point.bound))
    last = points[-1]
    said = f"{last.passed} of {last.worlds} distinct worlds passed"
    if last.bound is not None:
        said += f"; the rate is known to be above {100 * last.bound:.1f} %"
    if target is not None:
        said += f"; above {100 * target:.0f} % must be shown"
    return BoundLine(
        passed=" ".join(f"{across(p.worlds):.1f},{up(p.passed / p.worlds):.1f}" for p in points),
        bound=" ".join(f"{across(worlds):.1f},{up(bound):.1f}" for worlds, bound in steps),
        looks=[(right, round(at - MARK, 1), round(at + MARK, 1)) for right, at in looks],
        target=round(up(target), 1) if target is not None else None,
        percent=round(100 * target) if target is not None else None,
        worlds=last.worlds,
        summary=f"{said}.",
    )
