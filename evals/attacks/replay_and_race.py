"""Every route that changes something: twice, at once, too late, with foreign ids, without proof.

The routes come from the application's own table, so a new one without a scenario fails the attack.
Each good request is first sent alone: what it changes in every table of every database, and what
two workers then do with what it permitted, is the measure. Repeated, raced by 50 clients over two
replicas on one PostgreSQL, or sent too late, no more than that may change; refused, nothing may.

The control is the same application with one check taken out; the same shots must find it.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evals.attacks.parts.progress import Progress
from evals.attacks.race_parts.place import open_place
from evals.attacks.race_parts.scenario import Scenario
from evals.attacks.race_parts.scenarios import SCENARIOS
from evals.attacks.race_parts.shapes import AT_ONCE, Outcome, Trial
from evals.verdicts import bar, versions
from evals.worlds.doors import REAL

WEAK = "evals.attacks.race_parts.weak"
WEAKENED = {
    "boolean-approval": "/approvals/{approval_id}/decision",
    "no-token": "/actions/{action_id}/release",
    "any-owner": "/threads/{thread_id}/messages",
}
"""Each weakness, and how the routes end that it opens."""
ROUTES = """
import json
from server.app import ROUTERS
safe = {"GET", "HEAD", "OPTIONS"}
print(json.dumps(sorted(
    f"{method} {route.path}"
    for router in ROUTERS for route in router.routes for method in set(route.methods) - safe
)))
"""
"""Prints the application's own table of routes that change something."""


def mutating_routes() -> list[str]:
    """Method and path of every route of the web application that isn't for reading."""
    done = subprocess.run(
        [sys.executable, "-c", ROUTES], capture_output=True, text=True, check=True, timeout=120
    )
    found: list[str] = json.loads(done.stdout)
    return found


@dataclass(frozen=True)
class Attacked:
    """What became of an attack."""

    outcomes: Sequence[Outcome]
    statuses: Mapping[int, int]
    """How often each status was answered."""

    @property
    def problems(self) -> list[str]:
        """Everything that should not have happened."""
        return [problem for outcome in self.outcomes for problem in outcome.problems]

    @property
    def busy(self) -> Mapping[str, int]:
        """Answers that asked to come back later (503 with `Retry-After`), by route.

        Under a race they may: nothing was done, and whoever asked is told when to ask again.
        """
        return {outcome.route: outcome.busy for outcome in self.outcomes if outcome.busy}

    @property
    def broke(self) -> int:
        """Answers of 500 or more that did not ask to come back."""
        return sum(n for status, n in self.statuses.items() if status >= 500) - sum(
            self.busy.values()
        )


async def attack(
    scenarios: Sequence[Scenario],
    *,
    label: str,
    module: Sequence[str] = REAL,
    at_once: int = AT_ONCE,
    control_url: str | None = None,
) -> Attacked:
    """Every shape of *scenarios* against two replicas of *module*, over a database of their own."""
    progress = Progress(f"replay-and-race, {label}", len(scenarios))
    found = []
    async with open_place(module=module, control_url=control_url) as place:
        for one in scenarios:
            found.append(await Trial(place, one, at_once=at_once).run())
            progress.step(bad=bool(found[-1].problems))
        return Attacked(found, dict(sorted(place.sender.statuses.items())))


def measure(*, at_once: int = AT_ONCE, only: str = "") -> dict[str, Any]:
    """Attack the weakened applications, then every route; *at_once* requests race each other.

    With *only*, a part of a route's name, no other route of ours is attacked, and the bar for
    routes without a scenario still holds for all.
    """
    began = time.monotonic()
    declared = {scenario.route for scenario in SCENARIOS}
    routes = mutating_routes()
    missing = sorted(set(routes) - declared)
    gone = sorted(declared - set(routes))
    controls: dict[str, Any] = {}
    for weakness, end in WEAKENED.items():
        opened = [one for one in SCENARIOS if one.route.endswith(end)]
        weak = asyncio.run(attack(opened, label=weakness, module=(WEAK, weakness), at_once=at_once))
        controls[weakness] = {
            "routes": len(opened),
            "violations": len(weak.problems),
            "first": weak.problems[:3],
        }
    tried = [one for one in SCENARIOS if one.route in routes and only in one.route]
    ours = asyncio.run(attack(tried, label="ours", at_once=at_once))
    return {
        "name": "replay-and-race",
        "ours": {
            "routes": len(tried),
            "requests": sum(outcome.shots for outcome in ours.outcomes),
            "statuses": {str(status): number for status, number in ours.statuses.items()},
            "told_to_come_back": sum(ours.busy.values()),
            "told_to_come_back_at": dict(ours.busy),
            "violations": ours.problems,
            "undeclared": missing,
            "declared_and_gone": gone,
        },
        "controls": controls,
        "bars": [
            bar(
                "routes without a scenario, or scenarios without a route",
                missing + gone,
                "none",
                holds=not missing and not gone,
            ),
            bar("violations", len(ours.problems), "= 0", holds=not ours.problems),
            bar(
                "answers of 500 or more, a 503 with Retry-After aside",
                ours.broke,
                "= 0",
                holds=ours.broke == 0,
            ),
            *(
                bar(
                    f"violations found in the weak configuration {weakness}",
                    control["violations"],
                    ">= 1",
                    holds=control["violations"] > 0,
                )
                for weakness, control in controls.items()
            ),
        ],
        "at_once": at_once,
        "seconds": round(time.monotonic() - began, 1),
        "versions": versions("fastapi", "granian", "sqlalchemy"),
    }


def describe(result: dict[str, Any]) -> str:
    """The result as lines for a terminal."""
    ours = result["ours"]
    lines = [
        f"  {ours['routes']} routes, {ours['requests']} requests, {result['at_once']} at once: "
        f"{len(ours['violations'])} violations; statuses {ours['statuses']}, of these "
        f"{ours['told_to_come_back']} told to come back later: {ours['told_to_come_back_at']}",
        *(f"    {problem}" for problem in ours["violations"][:20]),
        *(f"    no scenario for {route}" for route in ours["undeclared"]),
    ]
    for name, control in result["controls"].items():
        first = control["first"][0] if control["first"] else "nothing found"
        lines.append(f"  {name} (weak): {control['violations']} violations, such as {first}")
    return "\n".join(lines)
