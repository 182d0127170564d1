"""The signed file outside the database: where each chain of evidence ends, and what comes next."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

GENESIS = "0" * 64
"""What the first line of a chain names as the one before."""


class Untrustworthy(Exception):
    """Stored evidence that doesn't verify; the message says what is wrong with it."""


@dataclass(frozen=True)
class Announced:
    """A line that was signed and is about to be stored."""

    seq: int
    hash: str
    state: str
    trial: str
    suite: str
    case: str
    seed: int
    injection: bool
    passed: bool
    harmful: bool
    at: datetime

    @property
    def bad(self) -> bool:
        """Whether it says something that counts against the operation."""
        return self.harmful or not self.passed


@dataclass(frozen=True)
class Heads:
    """Where every chain ended when the worker last wrote, by `operation fingerprint`."""

    ends: Mapping[str, tuple[int, str]]
    announced: Mapping[str, Sequence[Announced]] = field(default_factory=dict)
    """Lines signed and about to be stored, which a crash may have kept from it."""

    def end(self, operation: str, fingerprint: str) -> tuple[int, str] | None:
        """Number and hash of the chain's last line; None for a chain that was never headed."""
        return self.ends.get(f"{operation} {fingerprint}")

    def lines(self, operation: str, fingerprint: str) -> Sequence[Announced]:
        """What is announced of one chain."""
        return self.announced.get(f"{operation} {fingerprint}", ())


def read_heads(file: Path, public_key: Ed25519PublicKey) -> Heads:
    """The signed heads; none where the file was never written.

    Raises:
        Untrustworthy: the file can't be read, or another key signed it.
    """
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        return Heads({})
    except (OSError, ValueError) as error:
        raise Untrustworthy(f"the signed heads of the evidence can't be read ({error})") from error
    try:
        signature = bytes.fromhex(content.pop("signature"))
        public_key.verify(signature, _canonical(content))
        announced = content.get("announced", {})
        ends = {name: (int(n), str(text)) for name, (n, text) in content["ends"].items()}
        return Heads(ends, {name: _read(lines) for name, lines in announced.items()})
    except InvalidSignature as error:
        raise Untrustworthy("another key signed the heads of the evidence") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Untrustworthy("the signed heads of the evidence are malformed") from error


def load_public_key(pem: bytes) -> Ed25519PublicKey:
    """The key that evidence must be signed with.

    Raises:
        Untrustworthy: *pem* holds no Ed25519 public key.
    """
    try:
        key = load_pem_public_key(pem)
    except ValueError as error:
        raise Untrustworthy("the evidence's public key can't be read") from error
    if not isinstance(key, Ed25519PublicKey):
        raise Untrustworthy("the evidence's public key is of another kind")
    return key


def write_heads(file: Path, key: Ed25519PrivateKey, heads: Heads, at: datetime) -> None:
    """Replace the file by one that says *heads*, signed; safe on disk when it returns.

    Raises:
        OSError: it can't be written.
    """
    body = {
        "at": at.isoformat(),
        "ends": {name: list(end) for name, end in sorted(heads.ends.items())},
        "announced": {
            name: [{**asdict(line), "at": line.at.isoformat()} for line in lines]
            for name, lines in sorted(heads.announced.items())
        },
    }
    signed = {**body, "signature": key.sign(_canonical(body)).hex()}
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = file.with_name(f".{file.name}.new")
    with aside.open("wb") as opened:
        opened.write(json.dumps(signed, indent=1).encode() + b"\n")
        opened.flush()
        os.fsync(opened.fileno())
    aside.replace(file)


def _read(lines: Sequence[Mapping[str, Any]]) -> tuple[Announced, ...]:
    return tuple(Announced(**{**line, "at": datetime.fromisoformat(line["at"])}) for line in lines)


def _canonical(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
