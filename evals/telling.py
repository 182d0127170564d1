"""Progress of a run on the terminal: a bar where somebody watches, a line per world where not."""

import logging
import sys
from types import TracebackType

import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from evals.records import RunRecord
from evals.suites.base import Suite


def duration(seconds: float | None) -> str:
    """Seconds as a person says them: `4.2 s`, `40 s`, `6 min`, `1 h 20 min`."""
    if seconds is None:
        return "unknown"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def log_to_stderr() -> None:
    """Keep standard output for results: of what worlds log only errors are shown, on stderr."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


class Teller:
    """Tells how far a run is, on standard error."""

    def __init__(self, suite: Suite) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._watched = sys.stderr.isatty()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            console=self._console,
            disable=not self._watched,
        )
        self._task = self._bar.add_task(suite.name, total=None, left="")
        self._done = -1

    def __enter__(self) -> "Teller":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """Print one line."""
        self._console.print(text, markup=False, soft_wrap=True)

    def told(self, run: RunRecord) -> None:
        """Show the progress of *run*."""
        progress = run.progress
        parts = []
        if progress.left_s is not None:
            parts.append(f"{duration(progress.left_s)} left")
        if progress.failed:
            parts.append(f"{progress.failed} failed")
        left = ", ".join(parts)
        if progress.of:
            self._bar.update(self._task, completed=progress.done, total=progress.of, left=left)
        if not self._watched and progress.done != self._done and progress.of:
            self.say(f"{run.suite}: {progress.done} of {progress.of} worlds, {left or 'begun'}")
        self._done = progress.done
