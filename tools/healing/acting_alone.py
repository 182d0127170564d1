"""What an incident does while the database is down: act under a standing permit, or say why not."""

import asyncio
from datetime import timedelta

import structlog

from tools.healing.case_ends import CaseEnds
from tools.healing.driving import ReadyWork
from tools.healing.incidents import Case
from tools.healing.policy import HealingPolicy
from tools.healing.proposing import CALL_SECONDS
from tools.healing.remedies import cannot_ask
from tools.kit.clock import Clock
from tools.kit.gatekeeper import Intention, Settled
from tools.kit.standing import Readied, StandingPermits, Withheld

log = structlog.get_logger(__name__)


class ActingAlone:
    """Acts without the database, and notes on the incident under whose permit."""

    def __init__(
        self,
        standing: StandingPermits,
        *,
        work: ReadyWork,
        ends: CaseEnds,
        clock: Clock,
        policy: HealingPolicy,
    ) -> None:
        self._standing = standing
        self._work = work
        self._ends = ends
        self._clock = clock
        self._policy = policy

    async def act(self, case: Case, intention: Intention, process: str) -> Settled | None:
        """Carry *intention* out if a standing permit covers it; how it ended, None where not."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                readied = await self._standing.ready(intention, incident_id=case.id)
        except Exception as error:  # no disk, no answer: tried again
            log.warning("incident.not_readied", incident=case.id, reason=str(error)[:200])
            readied = Withheld(f"the standing permits can't be looked at: {type(error).__name__}")
        if isinstance(readied, Withheld):
            self._wait(case, intention, readied.reason)
            return None
        self._tell(case, readied, process)
        settled = await asyncio.shield(
            self._work.begin(readied.action_id, "apply", self._standing.drive)
        )
        return settled or await self.follow(case)

    async def follow(self, case: Case) -> Settled | None:
        """How the incident's action stands; where it never began, the incident is judged anew."""
        action_id = case.action_id
        if action_id is None or self._work.under_way(action_id):
            return None
        try:
            settled = await self._standing.outcome(action_id)
        except Exception as error:  # asked again in the next round
            log.warning("incident.not_followed", incident=case.id, reason=str(error)[:200])
            return None
        if settled is None:
            at = self._clock.now()
            case.retry_at = at + timedelta(seconds=self._policy.busy_retry_seconds)
            case.move("explained", at, "withdrawn", "It was not begun; it is judged anew.")
        return settled

    def _tell(self, case: Case, readied: Readied, process: str) -> None:
        at = self._clock.now()
        case.retry_at = None
        case.add(
            at,
            "permitted",
            f"{readied.summary}: {readied.reason}.",
            standing=True,
            action_ids=[readied.action_id],
            process=process,
            plan=list(readied.diff),
        )
        text = f"{readied.summary}, without the database; it is told to it when it is back."
        case.move("acting", at, "acting", text, action_ids=[readied.action_id])
        self._ends.alert("ACTS ALONE", case, f"{readied.summary}: {readied.reason}.")

    def _wait(self, case: Case, intention: Intention, why: str) -> None:
        at = self._clock.now()
        text = cannot_ask(intention, why)
        if case.state != "waiting":
            case.move("waiting", at, "waiting", text)
        elif (last := case.last("waiting", "note")) is None or last.text != text:
            case.add(at, "waiting", text)
        case.retry_at = at + timedelta(seconds=self._policy.busy_retry_seconds)
