"""Seeds of worlds: each new, each reproducible from the run's own seed."""

import hashlib

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
        home: what nobody chooses of the academy whose evidence the worlds are, so that a seed
            that was lucky elsewhere draws other worlds here; empty where nothing is earned.
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
