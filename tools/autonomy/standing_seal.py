"""The seal on standing permits and on the journal: Ed25519 over canonical JSON, bound to one home.

A sealed value names the key and the place it was made at. Whoever holds the home's key can make
one; nobody can change one, and one from another home, or of a copied home, doesn't open here.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from memory.audit_heads import fingerprint

ANYWHERE = "anywhere"
"""The place of what the key alone binds: a home that was moved must still tell what it did."""

SEALED = ("key", "place", "signature")
"""Fields that sealing adds."""


class Unsealed(Exception):
    """A value doesn't carry this home's seal; the message says what is wrong, as a clause."""


class Seal:
    """Seals and opens values of one home."""

    def __init__(self, private_pem: bytes, place: str) -> None:
        """With the home's private key and what identifies the home.

        Raises:
            ValueError: *private_pem* is no Ed25519 private key.
        """
        key = load_pem_private_key(private_pem, password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("The standing key must be an Ed25519 private key in PEM form.")
        self._key = key
        self._public = key.public_key()
        self._name = fingerprint(self._public)
        self._place = place

    def close(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """*content* with the key's name, the place and the signature over all of it."""
        named = {**content, "key": self._name, "place": self._place}
        return {**named, "signature": self._key.sign(_canonical(named)).hex()}

    def open(self, sealed: object) -> dict[str, Any]:
        """What was sealed here.

        Raises:
            Unsealed: it was made by another key or at another place, or was changed.
        """
        if not isinstance(sealed, dict) or not all(type(sealed.get(f)) is str for f in SEALED):
            raise Unsealed("it carries no seal")
        if sealed["key"] != self._name:
            raise Unsealed("it was signed with another key")
        named = {name: value for name, value in sealed.items() if name != "signature"}
        try:
            self._public.verify(bytes.fromhex(sealed["signature"]), _canonical(named))
        except (InvalidSignature, ValueError):
            raise Unsealed("it was changed after it was signed") from None
        if sealed["place"] != self._place:
            raise Unsealed("it was made for another home")
        return {name: value for name, value in sealed.items() if name not in SEALED}


def home_seal(folder: Path) -> Seal | None:
    """The seal of the home whose *folder* `standing` is; None where its key can't be used."""
    home = folder.parent
    try:
        return Seal((home / "keys" / "standing.key").read_bytes(), place_of(home))
    except (OSError, ValueError):
        return None


def place_of(home: Path) -> str:
    """What identifies a home: its path and the inode of its keys, so that a copy is another one.

    Raises:
        OSError: the home has no keys.
    """
    keys = (home / "keys").resolve()
    status = keys.stat()
    return hashlib.sha256(f"{keys}\0{status.st_dev}\0{status.st_ino}".encode()).hexdigest()[:32]


def _canonical(content: Mapping[str, Any]) -> bytes:
    return json.dumps(
        content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    ).encode()
