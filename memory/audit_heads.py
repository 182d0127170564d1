"""The signed heads of an audit log: one JSON line per head, each naming the line before.

A line is `{"at", "hash", "key", "previous", "seq", "signature"}`: the Ed25519 signature covers the
rest, `previous` is the SHA-256 of the line before, so that no line can be taken from the middle.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from memory.line_files import append_line, set_torn_aside

LAST_LINES_BYTES = 4096
"""More than one line takes (about 400 bytes), read from the end of the file."""
FIRST = "0" * 64
"""What the first line names as the one before."""


@dataclass(frozen=True)
class SignedHead:
    """One line: the chain stood at row *seq* with *hash*."""

    seq: int
    hash: str


@dataclass(frozen=True)
class Heads:
    """All heads of a file in order, up to the first problem."""

    heads: tuple[SignedHead, ...]
    problem: str = ""
    problem_seq: int | None = None
    note: str = ""


class HeadsFile:
    """The file as its one writer uses it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def set_torn_aside(self) -> str:
        """Move a last line without its end to `<file>.torn`; answers it, empty where there is none.

        A line is written and flushed whole before it counts, so a fragment never was a head.
        """
        return set_torn_aside(self.path, self.path.with_name(self.path.name + ".torn"))

    def last_text(self) -> str:
        """The last line as it stands, empty for a new file."""
        if not self.path.exists():
            return ""
        lines = self.path.read_text(encoding="utf-8").splitlines()
        return lines[-1] if lines else ""

    def last_line(self) -> SignedHead | None:
        """The last head, or None for a new file or a line that can't be read."""
        parsed = _parse(self.last_text())
        return SignedHead(parsed["seq"], parsed["hash"]) if parsed else None

    def append(self, line: str) -> None:
        """Write one line and wait until it is on disk."""
        append_line(self.path, line)


def new_key_pair() -> tuple[bytes, bytes]:
    """A fresh Ed25519 key: private PEM (PKCS 8, unencrypted) and public PEM."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return private, public


def sign(key_pem: bytes, *, seq: int, chain_hash: str, at: datetime, previous: str) -> str:
    """One signed line, *previous* being the whole line before it (empty for the first).

    Raises:
        ValueError: *key_pem* is no Ed25519 private key.
    """
    key = load_pem_private_key(key_pem, password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("The audit key must be an Ed25519 private key in PEM form.")
    content: dict[str, Any] = {
        "seq": seq,
        "hash": chain_hash,
        "at": at.astimezone(UTC).isoformat(timespec="microseconds"),
        "key": fingerprint(key.public_key()),
        "previous": _line_hash(previous),
    }
    signature = key.sign(_canonical(content)).hex()
    return _canonical(content | {"signature": signature}).decode()


def read_heads(path: Path, public_pem: bytes) -> Heads:
    """Read and check every line against the public key, stopping at the first that fails.

    Raises:
        ValueError: *public_pem* is no Ed25519 public key.
        OSError: the file exists and can't be read.
    """
    key = load_pem_public_key(public_pem)
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("The audit key must be an Ed25519 public key in PEM form.")
    if not path.exists():
        return Heads(())
    content = path.read_text(encoding="utf-8", errors="replace")
    note = ""
    lines = content.split("\n")
    if lines.pop():
        note = (
            "The last line of the signed heads is torn (a crash while signing); it is left out, "
            "and the next signature sets it aside."
        )
    heads: list[SignedHead] = []
    before = ""
    for number, line in enumerate(lines, start=1):
        problem, head = _check(line, before, heads[-1].seq if heads else 0, key, number)
        if problem or head is None:
            return Heads(tuple(heads), problem, head.seq if head else None, note)
        heads.append(head)
        before = line
    return Heads(tuple(heads), note=note)


def check_last_head(path: Path, public_pem: bytes) -> tuple[SignedHead | None, str]:
    """The last whole line alone, checked against the public key; a cheap look, not a proof.

    Answers the head (None for a new file) and the problem, empty where its signature holds.

    Raises:
        ValueError: *public_pem* is no Ed25519 public key.
        OSError: the file exists and can't be read.
    """
    key = load_pem_public_key(public_pem)
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("The audit key must be an Ed25519 public key in PEM form.")
    if not path.exists():
        return None, ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LAST_LINES_BYTES))
        lines = file.read().decode(errors="replace").split("\n")[:-1]
    if not lines:
        return None, ""
    parsed = _parse(lines[-1])
    if parsed is None:
        return None, "The last signed head can't be read."
    content = {name: value for name, value in parsed.items() if name != "signature"}
    head = SignedHead(parsed["seq"], parsed["hash"])
    try:
        key.verify(bytes.fromhex(parsed["signature"]), _canonical(content))
    except (InvalidSignature, ValueError):
        return head, f"The head at row {head.seq} was not signed with this academy's key."
    return head, ""


def _check(
    line: str, before: str, last_seq: int, key: Ed25519PublicKey, number: int
) -> tuple[str, SignedHead | None]:
    parsed = _parse(line)
    if parsed is None:
        return f"Line {number} of the signed heads can't be read.", None
    head = SignedHead(parsed["seq"], parsed["hash"])
    named = f"The head at row {head.seq} (line {number})"
    expected = fingerprint(key)
    if parsed["key"] != expected:
        return f"{named} was signed with another key: {parsed['key']}, not {expected}.", head
    content = {name: value for name, value in parsed.items() if name != "signature"}
    try:
        key.verify(bytes.fromhex(parsed["signature"]), _canonical(content))
    except (InvalidSignature, ValueError):
        return f"{named} carries a signature that this academy's key didn't make.", head
    if parsed["previous"] != _line_hash(before):
        return f"{named} doesn't follow the line before it: a line was removed or moved.", head
    if head.seq <= last_seq:
        return f"{named} goes back: the head before it was at row {last_seq}.", head
    return "", head


def _parse(line: str) -> dict[str, Any] | None:
    try:
        parsed = json.loads(line)
    except ValueError:
        return None
    if not isinstance(parsed, dict) or not isinstance(parsed.get("seq"), int):
        return None
    texts = ("hash", "at", "key", "previous", "signature")
    return parsed if all(isinstance(parsed.get(name), str) for name in texts) else None


def fingerprint(key: Ed25519PublicKey) -> str:
    """Sixteen hex characters that name a public key."""
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def _line_hash(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest() if line else FIRST


def _canonical(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
