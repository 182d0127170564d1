"""Seeds of worlds: each new, each reproducible from the run's own seed."""

import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

SIGNED = b"academy: where the worlds of this home's evidence are drawn from"
"""Signed once more by the same key it gives the same signature: Ed25519 draws nothing."""

LARGEST = 2**53
"""Seeds stay below it, so that every JSON reader reads them exactly."""


class SeedSource:
    """Draws the seeds of a run; a (case, seed) that was used is passed over, never drawn again.

    So a second run from the same seed continues where the first one stopped, and a world that
    proved something can't be played again to prove it twice.

    Args:
        run_seed: where drawing begins.
        suite: whose worlds they are.
        used: case and seed of every world played before.
        home: `home_secret` of the academy whose evidence the worlds are, so that nobody finds a
            lucky seed elsewhere first; empty where nothing is earned.
    """

    def __init__(
        self, run_seed: int, suite: str, used: set[tuple[str, int]], home: str = ""
    ) -> None:
        self._home = f"{home}/" if home else ""
        self._run_seed = run_seed
        self._suite = suite
        self._used = set(used)
        self._counters: dict[str, int] = {}

    def draw(self, case: str) -> int:
        """The next seed for *case*, 0 to 2^53 - 1."""
        while True:
            number = self._counters.get(case, 0)
            self._counters[case] = number + 1
            text = f"{self._home}{self._run_seed}/{self._suite}/{case}/{number}".encode()
            seed = int.from_bytes(hashlib.sha256(text).digest()[:8], "big") % LARGEST
            if (case, seed) not in self._used:
                self._used.add((case, seed))
                return seed


def home_secret(private_pem: bytes) -> str:
    """What only whoever holds the evidence's private key can compute, the same each time.

    Raises:
        ValueError: *private_pem* is no Ed25519 private key.
    """
    key = load_pem_private_key(private_pem, None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("The evidence key is no Ed25519 private key.")
    return hashlib.sha256(key.sign(SIGNED)).hexdigest()
