"""One step of one incident: what its state and the newest round call for.

`advance` itself never waits; a question to the gatekeeper becomes the case's task.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from tools.healing.acting_alone import ActingAlone
from tools.healing.case_ends import CaseEnds
from tools.healing.case_words import how, process_of, resolution, vanished, well, when_again
from tools.healing.diagnosis import figures
from tools.healing.driving import ReadyWork
from tools.healing.findings import STORE, Picture
from tools.healing.incidents import Case
from tools.healing.policy import HealingPolicy
from tools.healing.probes import Round
from tools.healing.proposing import CALL_SECONDS, ProposalStore, Proposer
from tools.healing.remedies import cannot_ask, remedy
from tools.kit.clock import Clock
from tools.kit.deps import Caller
from tools.kit.gatekeeper import Gatekeeper, Intention, Settled
from tools.kit.infrastructure import Fleet
from tools.kit.standing import StandingPermits

BEGUN = frozenset({"intended", "applied", "not_helped", "undoing"})
MOST_SYMPTOMS = 12

log = structlog.get_logger(__name__)


class CaseSteps:
    """The rules by which an incident moves."""

    def __init__(
        self,
        *,
        gatekeeper: Gatekeeper,
        caller: Callable[[], Awaitable[Caller]],
        store: ProposalStore,
        work: ReadyWork,
        clock: Clock,
        policy: HealingPolicy,
        alert: Callable[[str, Case, str], None],
        standing: StandingPermits | None = None,
    ) -> None:
        self._gatekeeper = gatekeeper
        self._store = store
        self._ends = CaseEnds(clock, alert)
        self._proposer = Proposer(
            gatekeeper=gatekeeper,
            caller=caller,
            store=store,
            ends=self._ends,
            clock=clock,
            policy=policy,
        )
        self._alone = (
            ActingAlone(standing, work=work, ends=self._ends, clock=clock, policy=policy)
            if standing is not None
            else None
        )
        self._work = work
        self._clock = clock
        self._policy = policy

    def advance(
        self,
        case: Case,
        picture: Picture,
        now: Round,
        fleet: Fleet,
        *,
        overtaken: Case | None,
        reachable: bool,
    ) -> None:
        """Do what this round calls for.

        Args:
            case: the incident.
            picture: what the round means.
            now: the round.
            fleet: what is described.
            overtaken: another incident that goes on with it, if any.
            reachable: whether the control database can be asked.
        """
        case.good = case.good + 1 if well(case, picture, now) else 0
        if case.busy:
            return
        at = self._clock.now()
        if overtaken is not None and case.state != "acting":
            text = f"{overtaken.view.title}: {overtaken.id} goes on with it."
            self._finish(case, at, text, picture, now, reachable=reachable)
            return
        gone = case.good >= self._policy.recovered_rounds
        leaves = case.state in ("explained", "waiting", "asking", "escalated")
        if gone and leaves and (case.view.kind != "crashed" or case.state == "escalated"):
            case.move("verifying", at, "vanished", vanished(case, picture, now))
        match case.state:
            case "open" | "explained" | "waiting":
                self._plan(case, at, picture, now, fleet, reachable=reachable)
            case "asking" | "acting":
                if self._alone is not None and case.acts_alone:
                    self._spawn(case, self._follow_alone(case, self._alone))
                elif reachable:
                    self._spawn(case, self._follow(case))
            case "verifying":
                self._verify(case, at, picture, now, gone=gone, reachable=reachable)
            case "escalated":
                self._reconsider(case, at, picture, now)
            case "closed":
                pass

    def crash_loop(self, case: Case, count: int) -> None:
        """A replica crashes again and again: restarting it once more would not help."""
        minutes = self._policy.crash_loop_seconds / 60
        self._ends.escalate(
            case,
            f"{case.view.replica} crashed {count} times within {minutes:g} minutes. The supervisor "
            "keeps restarting it, which doesn't remove the cause: a person must look at its log.",
            again=False,
        )

    def more_symptoms(self, case: Case, symptoms: Sequence[str]) -> None:
        """Add failures elsewhere that this fault explains, each replica once."""
        told = [p["text"] for p in case.view.evidence if p["text"].startswith("Explained by it: ")]
        known = {text.removeprefix("Explained by it: ").split(":")[0] for text in told}
        fresh = [line for line in symptoms if line.split(":")[0] not in known]
        fresh = fresh[: max(0, MOST_SYMPTOMS - len(told))]
        if fresh:
            points = [{"for": True, "text": f"Explained by it: {line}."} for line in fresh]
            case.change(self._clock.now(), evidence=[*case.view.evidence, *points])

    # What to do about it

    def _plan(
        self,
        case: Case,
        at: datetime,
        picture: Picture,
        now: Round,
        fleet: Fleet,
        *,
        reachable: bool,
    ) -> None:
        kind = case.view.kind
        if kind == "crashed":
            case.move(
                "verifying",
                at,
                "verifying",
                "The supervisor has started a new process; it must answer "
                f"{self._policy.recovered_rounds} times in a row. No action is needed for that.",
            )
            return
        if kind == "store_down":
            self._wait_for_store(case, at)
            return
        if picture.finding(kind, case.view.target) is None:
            return  # not sure to be there any more: the next rounds tell
        intention, why_not = remedy(case.view, fleet)
        if intention is None:
            self._ends.escalate(case, why_not, again=False)
            return
        if case.acted >= self._policy.max_actions or case.proposals >= self._policy.max_proposals:
            self._ends.escalate(
                case,
                f"After {case.acted} actions and {case.proposals} questions it is still there; "
                "no more is tried for this incident.",
                again=False,
            )
            return
        process = process_of(picture, case)
        if not reachable:
            self._without_store(case, at, intention, picture, process)
            return
        if case.retry_at is not None and at < case.retry_at:
            return
        self._spawn(case, self._proposer.propose(case, intention, process))

    def _without_store(
        self, case: Case, at: datetime, intention: Intention, picture: Picture, process: str
    ) -> None:
        """Act under a standing permit once the database is found to be down; else wait."""
        if self._alone is not None and picture.finding("store_down", STORE) is not None:
            if case.retry_at is None or at >= case.retry_at:
                self._spawn(case, self._act_alone(case, self._alone, intention, process))
        elif case.state != "waiting":
            case.move("waiting", at, "waiting", cannot_ask(intention))

    async def _act_alone(
        self, case: Case, alone: ActingAlone, intention: Intention, process: str
    ) -> None:
        settled = await alone.act(case, intention, process)
        if settled is not None:
            self._became(case, "", settled)

    async def _follow_alone(self, case: Case, alone: ActingAlone) -> None:
        settled = await alone.follow(case)
        if settled is not None:
            self._became(case, "", settled)

    def _wait_for_store(self, case: Case, at: datetime) -> None:
        if case.state != "waiting":
            case.move(
                "waiting",
                at,
                "waiting",
                "Finding and explaining go on; what can't be asked waits until the database is "
                "back.",
            )
        elif (at - case.view.opened_at).total_seconds() >= self._policy.store_escalate:
            self._ends.escalate(
                case,
                f"The database has been down for {self._policy.store_escalate:g} s. The healer "
                "doesn't restart it by itself in this release: a person must start it.",
                again=False,
            )

    # What became of it

    async def _follow(self, case: Case) -> None:
        action_id, approval_id = case.action_id, case.approval_id
        if action_id is None:
            at = self._clock.now()
            case.move("explained", at, "note", "No action is known for it; it is judged anew.")
            return
        try:
            async with asyncio.timeout(CALL_SECONDS):
                if approval_id is not None:
                    answer, actions = await self._gatekeeper.standing(approval_id)
                    settled = next((a for a in actions if a.id == action_id), None)
                else:
                    answer, settled = "", self._work.result(action_id)
        except Exception as error:  # asked again in the next round
            log.info("incident.not_followed", incident=case.id, reason=str(error)[:200])
            return
        if settled is None and approval_id is None:
            settled = await asyncio.shield(self._work.begin(action_id, "apply"))
        if settled is not None:
            self._became(case, answer, settled)

    def _became(self, case: Case, answer: str, settled: Settled) -> None:
        at = self._clock.now()
        state, text = settled.state, settled.text
        if answer == "denied" or state == "denied":
            case.add(at, "denied", "A person said no.")
            self._ends.escalate(
                case, f"A person said no to it. {when_again(self._policy)}", again=True
            )
        elif answer == "expired" or state == "expired":
            case.add(at, "expired", "Nobody answered in time.")
            self._ends.escalate(
                case, f"Nobody answered in time. {when_again(self._policy)}", again=True
            )
        elif state == "permit_expired":
            case.move(
                "explained", at, "expired", "It was approved but not begun in time; asked anew."
            )
        elif answer == "withdrawn" or state == "withdrawn":
            case.move("explained", at, "withdrawn", f"It was withdrawn: {text}")
        elif state == "refused":
            case.add(at, "refused", text)
            self._ends.escalate(case, f"The gate refused: {text}", again=True)
        elif state == "permitted":
            case.note_once(at, "A person approved it; the healer begins at once.")
        elif state in BEGUN or state in ("verified", "failed", "escalated", "undone", "stuck"):
            if case.state != "acting":
                case.move("acting", at, "acting", "Approved; acting.", action_ids=[settled.id])
            if state not in BEGUN or state == "not_helped":
                self._ended(case, at, state, text)

    def _ended(self, case: Case, at: datetime, state: str, text: str) -> None:
        if state == "not_helped":
            return  # the kit takes it back or calls a person next
        if state == "verified":
            case.good = 0
            case.move("verifying", at, "acted", text, helped=True)
            return
        words = {
            "failed": "The action failed",
            "undone": "The action did not help and was undone",
            "escalated": "The action did not help",
            "stuck": "Whether the action happened can't be told; nothing else runs on this target",
        }[state]
        case.add(at, "acted", f"{words}: {text}")
        self._ends.escalate(case, f"{words}: {text}", again=False)

    def _verify(
        self,
        case: Case,
        at: datetime,
        picture: Picture,
        now: Round,
        *,
        gone: bool,
        reachable: bool,
    ) -> None:
        if gone:
            self._finish(
                case, at, resolution(case, picture, now), picture, now, reachable=reachable
            )
            return
        begun = case.last("acted", "vanished", "verifying", "detected")
        if begun and (at - begun.at).total_seconds() < self._policy.verify_seconds:
            return
        mine = picture.assessments.get(case.view.replica or "")
        if case.good or (mine is not None and mine.status == "starting"):
            return  # one more good round ends it; a start may take its grace
        if begun and begun.kind == "vanished":
            case.move(
                "asking" if case.question_open else "explained", at, "note", "The fault is back."
            )
            return
        now_is = how(case, picture, now)
        self._ends.escalate(
            case, f"{self._policy.verify_seconds:g} s later it is not well: {now_is}.", again=False
        )

    def _reconsider(self, case: Case, at: datetime, picture: Picture, now: Round) -> None:
        """After a no, or no answer: ask again once the process or enough time is another."""
        if not case.may_ask_again or case.proposals >= self._policy.max_proposals:
            return
        if picture.finding(case.view.kind, case.view.target) is None:
            return
        escalated = case.last("escalated")
        cool = timedelta(minutes=self._policy.cool_down_minutes)
        process = process_of(picture, case)
        if process and case.asked_about and process != case.asked_about:
            case.move("explained", at, "note", "Another process has the fault now; judged anew.")
        elif escalated is not None and at - escalated.at >= cool:
            case.move("explained", at, "note", "The cool-down is over and the fault still there.")

    # Ends

    def _finish(
        self,
        case: Case,
        at: datetime,
        resolution: str,
        picture: Picture,
        now: Round,
        *,
        reachable: bool,
    ) -> None:
        after = figures(now, case.view.service, case.view.replica)
        if not case.question_open:
            self._ends.close(case, at, resolution, after)
        elif reachable:
            self._spawn(case, self._withdraw(case, resolution, after))
        else:
            case.note_once(
                at, "It is over. The question about it is withdrawn when the database is back."
            )

    async def _withdraw(self, case: Case, resolution: str, after: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await self._gatekeeper.withdraw(case.id, resolution)
                standing = await self._store.open_action(case.id)
        except Exception as error:  # tried again in the next round
            log.info("incident.not_withdrawn", incident=case.id, reason=str(error)[:200])
            return
        at = self._clock.now()
        if standing is not None and standing[2] in BEGUN:
            case.move(
                "acting", at, "acting", "It had been begun already.", action_ids=[standing[0]]
            )
            return
        case.add(at, "withdrawn", "The question about it was withdrawn.")
        self._ends.close(case, at, resolution, after)

    @staticmethod
    def _spawn(case: Case, work: Coroutine[Any, Any, None]) -> None:
        case.task = asyncio.create_task(work)
