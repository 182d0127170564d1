"""Refuses the identical tool call on the identical state the second time.

The state is what the run has learned: the set of distinct tool results so far. A model that asks
again without having learned anything can only get the same answer; one that learned something, or
that caused an effect, may look again. So A, B, A, B ... ends, and "check, restart, check" doesn't.
"""

from typing import Any

from tools.kit.digest import digest


class RepeatBreaker:
    """One run's memory of calls; `dump` and `load` carry it over a pause."""

    def __init__(self) -> None:
        self._facts: set[str] = set()
        self._admitted: dict[str, tuple[str, int]] = {}
        """Call digest to the id it was last admitted under and the number of facts then."""

    def admit(self, call_id: str, tool: str, arguments: Any) -> str | None:
        """None if the call may run, else the sentence that refuses it.

        The same *call_id* is always admitted again: it is one call, entered a second time (after a
        person's decision, or when a dead run is taken up).
        """
        key = digest([tool, arguments])
        before = self._admitted.get(key)
        if before is not None and before[0] != call_id and before[1] == len(self._facts):
            return (
                f"{tool} was already called with these arguments and nothing has changed since. "
                "Use the answer you have, call it with other arguments, or finish."
            )
        self._admitted[key] = (call_id, len(self._facts))
        return None

    def learned(self, call_id: str, tool: str, arguments: Any, result: Any) -> None:
        """Note a result; a new one changes the state, the known one of the same call doesn't."""
        key = digest([tool, arguments])
        self._facts.add(digest([key, result]))
        self._admitted[key] = (call_id, len(self._facts))

    def changed(self, what: str) -> None:
        """Note an effect on the world, named uniquely (an action's id): all may look again."""
        self._facts.add(digest(["effect", what]))

    def dump(self) -> dict[str, Any]:
        """The memory as JSON."""
        return {
            "facts": sorted(self._facts),
            "admitted": {k: list(v) for k, v in self._admitted.items()},
        }

    @classmethod
    def load(cls, value: dict[str, Any]) -> "RepeatBreaker":
        """The memory that `dump` wrote."""
        breaker = cls()
        breaker._facts = set(value.get("facts", ()))
        breaker._admitted = {
            k: (str(v[0]), int(v[1])) for k, v in value.get("admitted", {}).items()
        }
        return breaker
