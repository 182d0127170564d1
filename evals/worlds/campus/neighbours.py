"""Where the replicas of another campus service answer, as the launcher allocated them."""

import json
import re
from pathlib import Path


class Neighbours:
    """Addresses of one service's replicas, in turn; re-read when the launcher changes them."""

    def __init__(self, home: Path, service: str) -> None:
        self._file = home / "run" / "ports.json"
        self._name = re.compile(rf"{re.escape(service)}-\d+")
        self._service = service
        self._read_at = 0
        self._addresses: list[tuple[str, str]] = []
        self._turn = 0

    def in_turn(self) -> list[tuple[str, str]]:
        """Replica names and base URLs, beginning with the one whose turn it is; may be empty."""
        try:
            changed = self._file.stat().st_mtime_ns
            if changed != self._read_at:
                ports = json.loads(self._file.read_text(encoding="utf-8"))
                self._addresses = [
                    (name, f"http://127.0.0.1:{port}")
                    for name, port in sorted(ports.items())
                    if self._name.fullmatch(name)
                ]
                self._read_at = changed
        except (OSError, ValueError):
            # Without a readable file the last known addresses are the best there is.
            self._read_at = 0
        if not self._addresses:
            return []
        self._turn = (self._turn + 1) % len(self._addresses)
        return self._addresses[self._turn :] + self._addresses[: self._turn]
