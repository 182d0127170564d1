"""Loopback ports of an academy's programs: allocated by the launcher, kept while they are free."""

import errno
import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from server.exits import Exit, Refusal

FIRST, LAST = 20_000, 31_999
"""Below Linux's range for outgoing connections (32768), which would take a port in between."""


def is_free(host: str, port: int) -> bool:
    """Whether nothing listens on *port* of *host*.

    Raises:
        Refusal: *host* is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            if error.errno == errno.EACCES:
                raise Refusal(
                    Exit.PORT_TAKEN,
                    f"Port {port} may only be used by root. Choose one from 1024 upwards, such as"
                    " `academy up --port 8400`.",
                ) from None
            raise Refusal(
                Exit.SETTING_INVALID,
                f"The address {host} can't be listened on ({error.strerror}). ACADEMY_HOST is an"
                " address of this machine, such as 127.0.0.1 or 0.0.0.0.",
            ) from None
    return True


def next_free(host: str, port: int) -> int:
    """The first free port from *port* upwards, to name one that would work."""
    return next((p for p in range(port, 65_536) if is_free(host, p)), port)


def allocate(file: Path, names: Sequence[str], *, front: int, seed: str) -> dict[str, int]:
    """A free port for each of *names*, and *front* for the front; written to *file*.

    A name keeps the port it had in *file* while that is still free. New ones are searched from a
    place given by *seed*, so that academies starting side by side don't look at the same ports.
    """
    before = read(file)
    found = {"front": front}
    for name in names:
        port = before.get(name)
        if port is not None and port not in found.values() and is_free("127.0.0.1", port):
            found[name] = port
    candidate = FIRST + int(seed, 16) % ((LAST - FIRST) // 20) * 20
    for name in names:
        while name not in found:
            if candidate not in found.values() and is_free("127.0.0.1", candidate):
                found[name] = candidate
            candidate = candidate + 1 if candidate < LAST else FIRST
    beside = file.with_suffix(".new")
    beside.write_text(json.dumps(found, indent=1) + os.linesep)
    beside.replace(file)
    return found


def read(file: Path) -> dict[str, int]:
    """The ports in *file*; none when it is missing or unreadable, since it can be made anew."""
    try:
        body = json.loads(file.read_text())
        return {str(name): int(port) for name, port in body.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
