"""Times as people read them: how long ago, and exactly when in UTC."""

from datetime import UTC, datetime

from markupsafe import Markup

MINUTE, HOUR, DAY = 60, 3600, 86400


def ago(moment: datetime, now: datetime) -> str:
    """How far *moment* lies from *now*, in the largest whole unit: `12 s ago`, `in 5 min`."""
    seconds = (now - moment).total_seconds()
    span = span_text(abs(seconds))
    if abs(seconds) < 1:
        return "just now"
    return f"{span} ago" if seconds > 0 else f"in {span}"


def span_text(seconds: float) -> str:
    """A length of time in its largest whole unit: `45 s`, `12 min`, `3 h`, `2 d`."""
    if seconds < MINUTE:
        return f"{int(seconds)} s"
    if seconds < HOUR:
        return f"{int(seconds // MINUTE)} min"
    if seconds < DAY:
        return f"{int(seconds // HOUR)} h"
    return f"{int(seconds // DAY)} d"


def exact(moment: datetime) -> str:
    """`23 Nov 2026, 14:05:09 UTC`."""
    utc = moment.astimezone(UTC)
    return f"{utc.day} {utc:%b %Y, %H:%M:%S} UTC"


def clock_time(moment: datetime) -> str:
    """`14:05:09`, in UTC."""
    return f"{moment.astimezone(UTC):%H:%M:%S}"


def time_tag(moment: datetime | None, now: datetime, *, shown: str = "ago") -> Markup:
    """A `<time>` element; *shown* is `ago`, `span`, `exact` or `clock`."""
    if moment is None:
        return Markup("never")
    texts = {
        "ago": ago(moment, now),
        "exact": exact(moment),
        "clock": clock_time(moment),
        "span": span_text(abs((now - moment).total_seconds())),
    }
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        moment.astimezone(UTC).isoformat(timespec="seconds"), exact(moment), texts[shown]
    )
