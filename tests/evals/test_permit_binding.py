"""The attacks on permits, once each with a few clients: ours hold, the bare boolean doesn't."""

import pytest

from evals.benchmarks import permit_binding
from evals.benchmarks.permit_binding import Tally

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def result() -> dict[str, object]:
    return permit_binding.measure(rounds=1, clients=8)


def test_nothing_happens_beyond_what_somebody_allowed(result: dict[str, object]) -> None:
    ours = result["ours"]
    assert isinstance(ours, dict)

    assert ours["beyond"] == 0
    assert ours["missing"] == 0
    assert ours["attacks"]["none: nobody attacks"]["effects"] == 1
    kinds = {name.split(":")[0] for name in ours["attacks"]}
    assert kinds >= {"changed arguments", "reuse", "other tenant", "expired", "race"}
    unanswered = {n for n, t in ours["attacks"].items() if not t["answers"]}
    # Racers who come when the action has ended are told how it ended, which is no refusal.
    assert {name for name in unanswered if not name.startswith("race: drive")} <= {
        "none: nobody attacks",
        "standing permit: nobody attacks",
        # The plan no longer fits the world: withdrawn in silence, with the reason on the action.
        "changed state: the world changed",
        "reuse: permit and action set back",
    }


def test_the_same_attacks_break_a_bare_boolean(result: dict[str, object]) -> None:
    (bare,) = result["controls"].values()  # type: ignore[attr-defined]

    assert bare["attacks"]["race: drive"]["beyond"] == 7
    assert bare["attacks"]["changed arguments: changed after the yes"]["beyond"] == 1
    assert bare["attacks"]["no person: nobody answered"]["effects"] == 0


def test_few_clients_are_no_proof(result: dict[str, object]) -> None:
    held = {bar["what"]: bar["holds"] for bar in result["bars"]}  # type: ignore[attr-defined]

    assert held.pop("clients in each race") is False
    assert all(held.values())
    assert "race: one standing permit" in permit_binding.describe(result)


def test_a_tally_tells_beyond_from_missing() -> None:
    tally = Tally()
    tally.add(1, 0, 0, ["no"])
    tally.add(1, 2, 1, ["later"])

    assert (tally.missing, tally.beyond, tally.effects, tally.answers) == (1, 2, 3, ["no"])
