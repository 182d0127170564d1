"""The healer's own files, which work without PostgreSQL: written whole and atomically, read by all.

`fleet.json`, `incidents.json` and `state.json` are replaced by rename, so a reader never meets half
a file. `signals.json` holds the series of the last ten minutes. A disk that is full is reported by
the writer and tried again; it never ends the healer.
"""

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tools.healing.schemas import FleetView, IncidentView

INCIDENTS = TypeAdapter(list[IncidentView])
FLEET_FILE, INCIDENTS_FILE = "fleet.json", "incidents.json"
STATE_FILE, SIGNALS_FILE = "state.json", "signals.json"


@dataclass(frozen=True)
class LocalStore:
    """The folder `ACADEMY_HOME/healer` and the alerts' log."""

    folder: Path
    alerts: Path

    def write_fleet(self, view: FleetView) -> None:
        """Replace the fleet as last seen; may be lost in a power cut.

        Raises:
            OSError: the disk refuses.
        """
        self._replace(FLEET_FILE, view.model_dump_json().encode(), durable=False)

    def write_signals(self, view: FleetView) -> None:
        """Replace the recent series, carried by a fleet view that has them.

        Raises:
            OSError: the disk refuses.
        """
        self._replace(SIGNALS_FILE, view.model_dump_json().encode(), durable=False)

    def write_incidents(self, incidents: Sequence[IncidentView]) -> None:
        """Replace the incidents, on disk before this returns.

        Raises:
            OSError: the disk refuses.
        """
        self._replace(INCIDENTS_FILE, INCIDENTS.dump_json(list(incidents)), durable=True)

    def write_state(self, state: dict[str, Any]) -> None:
        """Replace what a restarted healer should know.

        Raises:
            OSError: the disk refuses.
        """
        self._replace(STATE_FILE, json.dumps(state).encode(), durable=False)

    def read_state(self) -> dict[str, Any] | None:
        """What the last healer left; None when there is nothing that can be read."""
        try:
            content = json.loads((self.folder / STATE_FILE).read_bytes())
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def alert(self, line: str) -> None:
        """Append one line to the alerts' log.

        Raises:
            OSError: the disk refuses.
        """
        self.alerts.parent.mkdir(parents=True, exist_ok=True)
        with self.alerts.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def _replace(self, name: str, content: bytes, *, durable: bool) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        target = self.folder / name
        aside = self.folder / f".{name}.new"
        try:
            with aside.open("wb") as file:
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            aside.replace(target)
        except OSError:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
            raise
        if durable:
            handle = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def read_fleet_view(folder: Path) -> FleetView | None:
    """The fleet as the healer last saw it, with recent series; None when it has never looked.

    A file that can't be read or parsed is told in the view's `problems`.
    """
    view, problem = _read_view(folder / FLEET_FILE)
    if view is None:
        return FleetView(services=[], looked_at=None, problems=[problem]) if problem else None
    charts, _ = _read_view(folder / SIGNALS_FILE)
    if charts is None:
        return view
    services = {s.name: s for s in charts.services}
    series = {(s.name, r.name): r.series for s in charts.services for r in s.replicas}
    return view.model_copy(
        update={
            "services": [
                s.model_copy(
                    update={
                        "series": services[s.name].series if s.name in services else [],
                        "replicas": [
                            r.model_copy(update={"series": series.get((s.name, r.name), [])})
                            for r in s.replicas
                        ],
                    }
                )
                for s in view.services
            ]
        }
    )


def read_incidents(folder: Path) -> list[IncidentView]:
    """All open incidents and the last closed ones, newest first; none when nothing can be read."""
    try:
        found = INCIDENTS.validate_json((folder / INCIDENTS_FILE).read_bytes())
    except (OSError, ValidationError):
        return []
    return sorted(found, key=lambda i: i.opened_at, reverse=True)


def _read_view(path: Path) -> tuple[FleetView | None, str]:
    try:
        return FleetView.model_validate_json(path.read_bytes()), ""
    except FileNotFoundError:
        return None, ""
    except (OSError, ValidationError) as error:
        return None, f"{path.name} of the healer can't be read ({type(error).__name__})."
