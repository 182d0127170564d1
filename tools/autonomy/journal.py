"""The journal of what was done while the database was away: one sealed, chained line per step.

A line is on disk before the step it tells of goes on. Each names the line before it; a sealed head
beside the file says how far it had come, so that an edited, a removed and a cut line all show.
Replayed journals are kept as `journal.<moment>.jsonl`; the chain goes on into the next one.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import structlog

from memory.line_files import append_line, set_torn_aside
from tools.autonomy.standing_folder import replace
from tools.autonomy.standing_seal import Seal, Unsealed

FILE = "journal.jsonl"
TORN = "journal.torn"
HEAD = "journal.head"
FIRST = "0" * 64
"""What the very first line names as the one before."""

Kind = Literal["intended", "recorded"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Line:
    """One step that was told."""

    seq: int
    at: datetime
    kind: str
    body: dict[str, Any]
    digest: str
    """SHA-256 of its text: what the next line names, and its id wherever it is replayed."""


@dataclass(frozen=True)
class Bad:
    """One line that tells nothing, or a gap."""

    number: int
    """Its place in the file, from 1; 0 for the file as a whole."""
    why: str
    text: str = ""
    harmless: bool = False
    """A crash explains it, and nothing that counted is missing."""


@dataclass(frozen=True)
class Reading:
    """What a journal tells."""

    lines: tuple[Line, ...]
    bad: tuple[Bad, ...]
    tail: tuple[int, str]
    """Number and digest of the last line, readable or not."""

    @property
    def problem(self) -> str:
        """Why nothing may be concluded from what isn't in it; empty while it is whole."""
        return next((bad.why for bad in self.bad if not bad.harmless), "")


@dataclass(frozen=True)
class _Head:
    seq: int
    digest: str
    base_seq: int
    """Where the present file begins: after this line."""
    base_digest: str


class Journal:
    """The journal of one home; every call blocks on the disk. Call under the folder's lock."""

    def __init__(self, folder: Path, seal: Seal) -> None:
        self.folder = folder
        self._seal = seal

    @property
    def path(self) -> Path:
        """The file that is written to."""
        return self.folder / FILE

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be replayed."""
        try:
            return self.path.stat().st_size == 0
        except FileNotFoundError:
            return True

    def read(self) -> Reading:
        """Every line that holds, in order, and what doesn't.

        A last line without its end never counted: it is set aside in `journal.torn` and told.

        Raises:
            OSError: the file exists and can't be read.
        """
        bad: list[Bad] = []
        if torn := set_torn_aside(self.path, self.folder / TORN):
            log.error("journal.torn_line", file=str(self.path), kept=TORN)
            bad.append(
                Bad(0, "its last line was torn by a crash and is set aside", torn, harmless=True)
            )
        head, problem = self._head()
        if problem:
            bad.append(Bad(0, problem))
        lines, tail = self._lines(head, bad)
        if head and tail[0] < head.seq:
            why = f"it was cut: line {head.seq} had been written, {tail[0]} is the last"
            bad.append(Bad(0, why))
        if head is None and not problem and len(lines) > 1:
            bad.append(Bad(0, "its head is missing"))
        return Reading(tuple(lines), tuple(bad), tail)

    def append(self, kind: Kind, body: Mapping[str, Any], at: datetime) -> Line:
        """Write one line; it is on disk when this returns.

        Raises:
            OSError: the disk refuses; the line doesn't count.
            TypeError, ValueError: *body* holds something JSON can't carry.
        """
        seq, previous = self.read().tail
        head, _ = self._head()
        text = json.dumps(
            self._seal.close(
                {
                    "seq": seq + 1,
                    "at": at.astimezone(UTC).isoformat(timespec="microseconds"),
                    "previous": previous,
                    "kind": kind,
                    "body": body,
                }
            ),
            sort_keys=True,
            separators=(",", ":"),
            allow_nan=False,
        )
        self._write(text)
        line = Line(seq + 1, at, kind, dict(body), _digest(text))
        base = head or _Head(0, FIRST, 0, FIRST)
        self._write_head(_Head(line.seq, line.digest, base.base_seq, base.base_digest))
        return line

    def rotate(self, at: datetime) -> Path:
        """Put the replayed file away, whole; where it is kept.

        Raises:
            OSError: the disk refuses.
        """
        seq, last = self.read().tail
        self._write_head(_Head(seq, last, seq, last))
        kept = self.folder / _kept_name(at)
        self.path.replace(kept)
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        return kept

    def kept(self, since: datetime | None = None) -> list[Path]:
        """Replayed journals, newest first; those put away after *since* where it is given."""
        first = _kept_name(since) if since else ""
        names = (path for path in self.folder.glob("journal.*Z.jsonl") if path.name >= first)
        return sorted(names, reverse=True)

    def lines_of(self, path: Path) -> list[Line]:
        """The lines of a replayed journal that hold.

        Raises:
            OSError: it can't be read.
        """
        texts = path.read_text(encoding="utf-8", errors="replace").split("\n")
        return [line for text in texts if isinstance(line := self._line(text), Line)]

    def _lines(self, head: _Head | None, bad: list[Bad]) -> tuple[list[Line], tuple[int, str]]:
        seq, before = (head.base_seq, head.base_digest) if head else (0, FIRST)
        if not self.path.exists():
            return [], (seq, before)
        texts = self.path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
        lines: list[Line] = []
        trusted = True
        for number, text in enumerate(texts, start=1):
            found = self._line(text)
            if isinstance(found, str):
                bad.append(Bad(number, found, text))
                seq, trusted = seq + 1, False
            else:
                line, previous = found, self._previous(text)
                # A file that was replayed but not yet put away begins before its own base.
                starts = number == 1 and head is not None and line.seq <= head.base_seq
                if previous != before and trusted and not starts:
                    bad.append(Bad(number, "it doesn't follow the line before it"))
                lines.append(line)
                seq, trusted = line.seq, True
            before = _digest(text)
        return lines, (seq, before)

    def _line(self, text: str) -> Line | str:
        try:
            content = self._seal.open(json.loads(text))
            at = datetime.fromisoformat(content["at"])
            seq, kind, body = content["seq"], content["kind"], content["body"]
        except Unsealed as why:
            return str(why)
        except (ValueError, KeyError, TypeError):
            return "it can't be read"
        if type(seq) is not int or not isinstance(body, dict) or at.tzinfo is None:
            return "it can't be read"
        return Line(seq, at, str(kind), body, _digest(text))

    def _previous(self, text: str) -> str:
        return str(json.loads(text).get("previous"))

    def _head(self) -> tuple[_Head | None, str]:
        try:
            content = self._seal.open(json.loads((self.folder / HEAD).read_bytes()))
            return (
                _Head(
                    int(content["seq"]),
                    str(content["digest"]),
                    int(content["base_seq"]),
                    str(content["base_digest"]),
                ),
                "",
            )
        except FileNotFoundError:
            return None, ""
        except Unsealed as why:
            return None, f"its head can't be trusted: {why}"
        except (ValueError, KeyError, TypeError):
            return None, "its head can't be read"

    def _write(self, text: str) -> None:
        append_line(self.path, text)

    def _write_head(self, head: _Head) -> None:
        content = {
            "seq": head.seq,
            "digest": head.digest,
            "base_seq": head.base_seq,
            "base_digest": head.base_digest,
        }
        replace(self.folder, HEAD, json.dumps(self._seal.close(content)).encode())


def _kept_name(at: datetime) -> str:
    return f"journal.{at.astimezone(UTC):%Y%m%dT%H%M%S%fZ}.jsonl"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
