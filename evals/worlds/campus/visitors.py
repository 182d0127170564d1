"""Sample visitors: about five requests a second to the player, so that the fleet's signals move.

Has no HTTP door; says in its log, once a minute, how the visits went.
"""

import asyncio
import logging
import random
from collections import Counter

import httpx2

from evals.worlds.campus.courses import COURSES
from evals.worlds.campus.neighbours import Neighbours
from evals.worlds.campus.serving import NO_AUTHORITIES, Options, options, set_up_logging, until_told

PER_SECOND = 5.0
AT_ONCE = 20
"""Visits under way; more are left out rather than piled up on a player that hangs."""
FINISHES = 0.05
"""Share of visits that finish a course, which asks for a certificate."""
REPORT_SECONDS = 60.0

log = logging.getLogger("campus")


class Visitors:
    """The visits of one generator."""

    def __init__(self, chosen: Options, dice: random.Random) -> None:
        self.player = Neighbours(chosen.home, "player")
        self.dice = dice
        self.outcomes: Counter[str] = Counter()
        self.under_way: set[asyncio.Task[None]] = set()

    async def visit_forever(self) -> None:
        """Visit at random intervals until cancelled."""
        loop = asyncio.get_running_loop()
        report_at = loop.time() + REPORT_SECONDS
        async with httpx2.AsyncClient(
            timeout=4.0, trust_env=False, verify=NO_AUTHORITIES
        ) as client:
            while True:
                await asyncio.sleep(self.dice.expovariate(PER_SECOND))
                if len(self.under_way) >= AT_ONCE:
                    self.outcomes["left out"] += 1
                else:
                    task = asyncio.create_task(self._visit(client))
                    self.under_way.add(task)
                    task.add_done_callback(self.under_way.discard)
                if loop.time() >= report_at:
                    report_at = loop.time() + REPORT_SECONDS
                    log.info("visits: %s", dict(sorted(self.outcomes.items())))
                    self.outcomes.clear()

    async def _visit(self, client: httpx2.AsyncClient) -> None:
        players = self.player.in_turn()
        if not players:
            self.outcomes["no player has a port"] += 1
            return
        name, url = players[0]
        course = self.dice.choice(COURSES)
        try:
            if self.dice.random() < FINISHES:
                learner = f"learner-{self.dice.randrange(1000)}"
                path = f"{url}/learn/{course.slug}/complete"
                answer = await client.post(path, data={"learner": learner})
            elif self.dice.random() < 0.3:
                answer = await client.get(f"{url}/")
            else:
                number = self.dice.randint(1, len(course.lessons))
                answer = await client.get(f"{url}/learn/{course.slug}/{number}")
        except httpx2.HTTPError as error:
            self.outcomes[f"{name} {type(error).__name__}"] += 1
            return
        self.outcomes[str(answer.status_code)] += 1


if __name__ == "__main__":
    set_up_logging()
    asyncio.run(until_told(Visitors(options(), random.Random()).visit_forever()))  # noqa: S311
