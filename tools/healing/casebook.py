"""The incidents under care and the last closed ones; at most one open per target and kind."""

from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from tools.healing.findings import Picture
from tools.healing.incidents import Case, continued, newest
from tools.healing.schemas import IncidentView


class CaseBook:
    """Every incident the healer holds in memory; keeps the last *closed* closed ones."""

    def __init__(self, *, closed: int) -> None:
        self._open: dict[str, Case] = {}
        self._closed: deque[Case] = deque(maxlen=closed)

    def __iter__(self) -> Iterator[Case]:
        yield from self._open.values()
        yield from self._closed

    @property
    def under_care(self) -> list[Case]:
        """Those that are open, or whose last call is still under way."""
        return list(self._open.values())

    @property
    def views(self) -> list[IncidentView]:
        """All of them as everybody sees them, newest first."""
        return sorted((c.view for c in self), key=lambda v: v.opened_at, reverse=True)

    def add(self, case: Case) -> None:
        """Take a case in, open or closed."""
        if case.is_open:
            self._open[case.id] = case
        else:
            self._closed.append(case)

    def find(self, kind: str, target: str) -> Case | None:
        """The open incident of this fault."""
        return next(
            (
                c
                for c in self._open.values()
                if c.is_open and c.view.kind == kind and c.view.target == target
            ),
            None,
        )

    def other_on(self, target: str, *, than: str) -> Case | None:
        """An open incident on *target* of another kind than *than*."""
        return next(
            (
                c
                for c in self._open.values()
                if c.is_open and c.view.target == target and c.view.kind != than
            ),
            None,
        )

    def overtaker(self, case: Case, picture: Picture) -> Case | None:
        """A younger incident of another kind on the same replica, which tells what is so now."""
        if picture.finding(case.view.kind, case.view.target):
            return None
        return next(
            (
                c
                for c in self._open.values()
                if c.is_open
                and c is not case
                and c.view.target == case.view.target
                and c.view.kind in ("hung", "dead")
                and c.view.opened_at > case.view.opened_at
            ),
            None,
        )

    def crashes(self, target: str, at: datetime, window: timedelta) -> int:
        """How often *target* crashed within *window* before *at*."""
        return sum(
            event.kind == "detected" and at - event.at <= window
            for case in self
            if case.view.kind == "crashed" and case.view.target == target
            for event in case.view.timeline
        )

    def settle(self) -> None:
        """Put away what was closed."""
        for case in [c for c in self._open.values() if not c.is_open and not c.busy]:
            del self._open[case.id]
            self._closed.append(case)

    def merge(self, stored: Sequence[IncidentView]) -> None:
        """Take in what the database has as open: known ones as they changed last.

        One that was opened anew for a stored fault goes on as the stored one.
        """
        for view in stored:
            mine = next((c for c in self if c.id == view.id), None)
            twin = self.find(view.kind, view.target)
            if mine is not None:
                mine.view = newest([mine.view, view])
            elif twin is not None:
                del self._open[twin.id]
                twin.view = continued(view, twin.view)
                twin.version += 1
                self._open[twin.id] = twin
            else:
                self._open[view.id] = Case(view, saved=True)
