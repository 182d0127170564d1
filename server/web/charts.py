"""Signals as small line charts: server-drawn SVG without inline styles, and a text beside it.

The line's shape says what happened, the caption says it in words, and a table holds the figures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tools.healing.schemas import Series

WIDTH, HEIGHT, MARGIN = 120.0, 24.0, 2.0
MOST_POINTS = 40
"""What a line of some 120 pixels can show; the page of a whole fleet stays below its budget."""
LEAST_SPREAD = 0.2
"""The axis spans at least this share of the highest value, so that noise doesn't look like news."""
FIRST = ("latency_ms", "error_percent", "queue_depth", "cpu_percent", "rss_mb", "disk_free_percent")
ALWAYS_CLIMBING = frozenset({"uptime_seconds"})
"""Not drawn: a clock's line says nothing."""


@dataclass(frozen=True)
class Chart:
    """One series, ready to draw and to read."""

    name: str
    title: str
    unit: str
    minutes: int
    """How far back it goes."""
    latest: str
    lowest: str
    highest: str
    line: str
    """The `points` of a polyline in a box of 120 by 24."""
    summary: str


def number(value: float) -> str:
    """A value with as many digits as are worth reading."""
    if value == int(value) and abs(value) < 100_000:
        return str(int(value))
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def thinned(points: list[tuple[datetime, float]]) -> list[tuple[datetime, float]]:
    """At most `MOST_POINTS` of *points*: the highest of each stretch, so that no peak is lost."""
    stretch = -(-len(points) // MOST_POINTS)
    if stretch <= 1:
        return points
    return [
        max(points[start : start + stretch], key=lambda point: point[1])
        for start in range(0, len(points), stretch)
    ]


def scale(low: float, high: float, unit: str) -> tuple[float, float]:
    """Bottom and top of the axis: percentages stand on 0 to 100, a small change stays small."""
    if unit == "%" and low >= 0 and high <= 100:
        return 0.0, 100.0
    if low >= 0 and low <= high / 2:
        return 0.0, high or 1.0
    room = max(abs(high) * LEAST_SPREAD - (high - low), 0.0) or (0.0 if high > low else 1.0)
    return low - room / 2, high + room / 2


def charts(series: Sequence[Series], *, most: int | None = None) -> list[Chart]:
    """A chart of each signal worth one, those that show trouble first first; at most *most*."""
    rank = {name: place for place, name in enumerate(FIRST)}
    shown = [one for one in series if one.name not in ALWAYS_CLIMBING]
    shown.sort(key=lambda one: (rank.get(one.name, len(rank)), one.title))
    return [drawn for one in shown[:most] if (drawn := chart(one)) is not None]


def chart(series: Series) -> Chart | None:
    """The chart of *series*; None where nothing was measured yet."""
    if not series.points:
        return None
    points = thinned(series.points)
    values = [value for _, value in series.points]
    low, high = min(values), max(values)
    floor, ceiling = scale(low, high, series.unit)
    spread = ceiling - floor
    begin, end = points[0][0], points[-1][0]
    length = (end - begin).total_seconds() or 1.0
    placed = [
        (
            MARGIN + (at - begin).total_seconds() / length * (WIDTH - 2 * MARGIN),
            HEIGHT - MARGIN - (value - floor) / spread * (HEIGHT - 2 * MARGIN),
        )
        for at, value in points
    ]
    if len(placed) == 1:
        placed = [(MARGIN, placed[0][1]), (WIDTH - MARGIN, placed[0][1])]
    line = " ".join(f"{x:.0f},{y:.1f}" for x, y in placed)
    latest, minutes = number(values[-1]), max(1, round(length / 60))
    unit = f" {series.unit}" if series.unit else ""
    return Chart(
        name=series.name,
        title=series.title,
        unit=series.unit,
        minutes=minutes,
        latest=latest,
        lowest=number(low),
        highest=number(high),
        line=line,
        summary=(
            f"Now {latest}{unit}; between {number(low)} and {number(high)}{unit} "
            f"in the last {minutes} min."
        ),
    )
