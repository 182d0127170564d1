"""The folder `ACADEMY_HOME/standing`: one sealed file per permit, and what was last known.

Writing and taking back hold one lock, so that a permit can't appear after it was taken back.
Taking back needs no key: any process of this machine may make the folder poorer.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from tools.autonomy.standing_lock import alone
from tools.autonomy.standing_schemas import LastKnown, StandingPermit
from tools.autonomy.standing_seal import Seal, Unsealed

KNOWN = "known.json"
CLOCK = "clock"
PERMITS = "per-*.json"
MARK_EVERY = timedelta(seconds=10)
"""How far the time last seen may lag behind in its file: what a restarted healer may not notice."""


@dataclass(frozen=True)
class Found:
    """One file of the folder: a permit, or why it is none."""

    path: Path
    permit: StandingPermit | None
    problem: str = ""


class StandingFolder:
    """The folder as the healer uses it; every call blocks on the disk."""

    def __init__(self, path: Path, seal: Seal) -> None:
        self.path = path
        self.seal = seal
        self._seen: datetime | None = None
        self._marked: datetime | None = None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder while permits are judged and written."""
        with alone(self.path):
            yield

    def permits(self) -> list[Found]:
        """Every file that could be a permit, with what is wrong with it."""
        return [self._read(path) for path in sorted(self.path.glob(PERMITS))]

    def write(self, permit: StandingPermit) -> None:
        """Keep a permit, on disk when this returns.

        Raises:
            OSError: the disk refuses.
        """
        self._replace(f"{permit.id}.json", permit)

    def remove(self, permit_id: str) -> None:
        """Remove one permit's file; gone on disk when this returns.

        Raises:
            OSError: the disk refuses.
        """
        (self.path / f"{permit_id}.json").unlink(missing_ok=True)
        sync(self.path)

    @property
    def lacks_known(self) -> bool:
        """Whether nothing says what was last known, as after permits were taken back."""
        return not (self.path / KNOWN).exists()

    def write_known(self, known: LastKnown) -> None:
        """Replace what is last known.

        Raises:
            OSError: the disk refuses.
        """
        self._replace(KNOWN, known)

    def known(self) -> LastKnown:
        """What the database said when it was last asked.

        Raises:
            Unsealed: nothing that this home sealed is there.
        """
        try:
            return LastKnown.model_validate(self._open(self.path / KNOWN))
        except ValidationError:
            raise Unsealed("it isn't what was last known") from None

    def note_used(self, used: frozenset[str], line: int) -> None:
        """Keep in what is last known that permits are *used*, and that a journal had *line*.

        Raises:
            Unsealed: nothing that this home sealed is there.
            OSError: the disk refuses.
        """
        known = self.known()
        left = [one for one in known.permits if one not in used]
        noted = known.model_copy(update={"permits": left, "journal": max(line, known.journal)})
        if noted != known:
            self.write_known(noted)

    def seen(self, now: datetime) -> datetime:
        """The latest moment ever seen here, counting *now*; kept in a file for the next healer.

        Raises:
            OSError: the disk refuses.
        """
        if self._seen is None:
            with contextlib.suppress(OSError, ValueError):
                self._marked = datetime.fromisoformat((self.path / CLOCK).read_text().strip())
            self._seen = self._marked
        self._seen = max(now, self._seen or now)
        if self._marked is None or self._seen - self._marked >= MARK_EVERY:
            self._mark(self._seen)
        return self._seen

    def trust(self, now: datetime) -> None:
        """Take *now* for the time again: the database is there, and permits are made anew.

        Raises:
            OSError: the disk refuses.
        """
        went_back = self._seen is not None and now < self._seen
        self._seen = now
        if went_back or self._marked is None or now - self._marked >= MARK_EVERY:
            self._mark(now)

    def _mark(self, moment: datetime) -> None:
        replace(self.path, CLOCK, moment.isoformat().encode())
        self._marked = moment

    def _read(self, path: Path) -> Found:
        try:
            permit = StandingPermit.model_validate(self._open(path))
        except Unsealed as why:
            return Found(path, None, str(why))
        except ValidationError:
            return Found(path, None, "it isn't a standing permit")
        if path.name != f"{permit.id}.json":
            return Found(path, None, f"it is a copy of {permit.id}")
        return Found(path, permit)

    def _open(self, path: Path) -> dict[str, Any]:
        try:
            return self.seal.open(json.loads(path.read_bytes()))
        except FileNotFoundError:
            raise Unsealed("it is missing") from None
        except (OSError, ValueError) as error:
            raise Unsealed(f"it can't be read ({type(error).__name__})") from None

    def _replace(self, name: str, value: BaseModel) -> None:
        sealed = self.seal.close(value.model_dump(mode="json"))
        replace(self.path, name, json.dumps(sealed, sort_keys=True).encode())


def take_back(folder: Path, *, approval_id: str = "", operation: str = "") -> int:
    """Remove the permits under *approval_id*, or of *operation* (`*` for all); how many there were.

    What is last known goes with them, so that no copy of one is good either until the healer has
    asked the database again. A file that can't be read is removed as well.

    Raises:
        OSError: the disk refuses; permits may be left.
    """

    def meant(permit: StandingPermit) -> bool:
        if approval_id:
            return permit.basis.id == approval_id
        return operation in (permit.operation, "*")

    if not folder.is_dir():
        return 0
    with alone(folder):
        return _take_back(folder, meant)


def take_back_held(folder: Path, operation: str) -> int:
    """As `take_back`, for whoever holds the folder.

    Raises:
        OSError: the disk refuses; permits may be left.
    """
    return _take_back(folder, lambda permit: operation in (permit.operation, "*"))


def replace(folder: Path, name: str, content: bytes) -> None:
    """Replace a file whole, on disk when this returns.

    Raises:
        OSError: the disk refuses.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = folder / f".{name}.new"
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(folder / name)
    except OSError:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise
    sync(folder)


def _take_back(folder: Path, meant: Callable[[StandingPermit], bool]) -> int:
    count = 0
    for path in sorted(folder.glob(PERMITS)):
        try:
            content = json.loads(path.read_bytes())
            fields = {n: content[n] for n in StandingPermit.model_fields}
            matches = meant(StandingPermit.model_validate(fields))
        except (OSError, ValueError, KeyError, TypeError):
            matches = True
        if matches:
            path.unlink(missing_ok=True)
            count += 1
    (folder / KNOWN).unlink(missing_ok=True)
    sync(folder)
    return count


def sync(folder: Path) -> None:
    """What was renamed or removed in *folder* is so on disk when this returns."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
