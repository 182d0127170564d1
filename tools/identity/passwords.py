"""Password hashing with argon2id, off the event loop."""

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from tools.identity.policy import ARGON2_LANES, ARGON2_MEMORY_KIB, ARGON2_PASSES

_HASHER = PasswordHasher(
    time_cost=ARGON2_PASSES, memory_cost=ARGON2_MEMORY_KIB, parallelism=ARGON2_LANES
)
_NOBODY = _HASHER.hash("nobody's password")
"""Checked when the e-mail is unknown, so that the answer takes as long as for a known one."""


async def hash_password(password: str) -> str:
    """The argon2id hash to store."""
    return await asyncio.to_thread(_HASHER.hash, password)


async def verify_password(stored: str | None, password: str) -> bool:
    """Whether *password* is the stored one; as slow without a stored one as with."""
    try:
        matches = await asyncio.to_thread(_HASHER.verify, stored or _NOBODY, password)
    except (VerificationError, InvalidHashError):
        return False
    return matches and stored is not None


def is_outdated(stored: str) -> bool:
    """Whether the hash was made with other parameters than today's."""
    return _HASHER.check_needs_rehash(stored)
