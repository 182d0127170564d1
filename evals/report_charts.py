"""Charts of a report as inline SVG that stretches: marks only, so that words keep their size.

Colours are the page's CSS variables, so that one chart serves light and dark.
"""

from collections.abc import Sequence

from markupsafe import Markup, escape

from evals.report import Rate

WIDTH, HEIGHT = 200, 20


def interval(ours: Rate, control: Rate | None = None, floor: float | None = None) -> Markup:
    """A rate on a line from 0 to 1: its exact interval, a tick at the rate, and the control's."""
    said = f"{ours.passed} of {ours.of}, 95 % interval {ours.low:.2f} to {ours.high:.2f}"
    marks = [_rect(0, 9.5, WIDTH, 1, "rail")]
    if floor is not None:
        marks.append(_rect(_x(floor) - 0.5, 2, 1, 16, "floor"))
        said += f", floor {floor:g}"
    if control is not None and control.rate is not None:
        marks.append(_rect(_x(control.low), 14, _x(control.high) - _x(control.low), 2, "control"))
        marks.append(_rect(_x(control.rate) - 1.5, 11, 3, 8, "control"))
        said += f"; control {control.passed} of {control.of}"
    if ours.rate is not None:
        kind = "good" if ours.passed == ours.of else "bad"
        marks.append(_rect(_x(ours.low), 6, max(1.0, _x(ours.high) - _x(ours.low)), 4, kind))
        marks.append(_rect(_x(ours.rate) - 2, 2, 4, 12, kind))
    return _svg(marks, said)


def chances(values: Sequence[float | None], kind: str = "good") -> Markup:
    """pass^1 to pass^4 as bars; a gap where too few worlds were played."""
    slot = WIDTH / len(values)
    marks = []
    for number, value in enumerate(values):
        left = number * slot + 2
        marks.append(_rect(left, 0, slot - 4, 40, "rail"))
        if value is not None:
            height = max(1.0, 40 * value)
            marks.append(_rect(left, 40 - height, slot - 4, height, kind))
    told = ", ".join(
        f"pass^{k} {'not known' if value is None else format(value, '.2f')}"
        for k, value in enumerate(values, start=1)
    )
    return _svg(marks, told, height=40)


def moments(seconds: Sequence[float], most: float, what: str) -> Markup:
    """Each duration as a tick on a line from 0 to *most* seconds."""
    marks = [_rect(0, 9.5, WIDTH, 1, "rail")]
    marks += [_rect(WIDTH * one / most - 0.6, 3, 1.2, 14, "tick") for one in seconds if most > 0]
    return _svg(marks, f"{what}: {len(seconds)} values up to {max(seconds, default=0):.1f} s")


def _x(share: float) -> float:
    return share * WIDTH


def _rect(x: float, y: float, width: float, height: float, kind: str) -> str:
    left = min(max(x, 0.0), WIDTH - width)
    return (
        f'<rect class="{kind}" x="{left:.1f}" y="{y:.1f}" width="{width:.1f}"'
        f' height="{height:.1f}"/>'
    )


def _svg(marks: Sequence[str], said: str, *, height: int = HEIGHT) -> Markup:
    return Markup(  # noqa: S704 - our own numbers; the words are escaped
        f'<svg role="img" aria-label="{escape(said)}" viewBox="0 0 {WIDTH} {height}"'
        f' preserveAspectRatio="none" style="height:{height}px">{"".join(marks)}</svg>'
    )
