"""One step of one incident: what its state and the newest round call for.

`advance` itself never waits; a question to the gatekeeper becomes the case's task. A proposal is
looked for before it is made, so a healer that died between asking and noting it never asks twice.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from tools.healing.detection import Picture
from tools.healing.diagnosis import disk_words, figures
from tools.healing.driving import EXECUTOR, ReadyWork
from tools.healing.incidents import Case
from tools.healing.policy import HealingPolicy
from tools.healing.probes import Round
from tools.healing.restart_replica import RESTARTABLE
from tools.healing.schemas import IncidentView
from tools.kit.clock import Clock
from tools.kit.deps import Caller
from tools.kit.errors import CapabilityError, Conflict, Unavailable
from tools.kit.gatekeeper import Gatekeeper, Intention, Proposed, Settled
from tools.kit.infrastructure import Fleet
from tools.kit.operation import Warrant

CALL_SECONDS = 15.0
"""Seconds a call to the gatekeeper may take; planning probes the replica and its siblings."""
BEGUN = frozenset({"intended", "applied", "not_helped", "undoing"})
MOST_SYMPTOMS = 12

log = structlog.get_logger(__name__)


class ProposalStore(Protocol):
    """What is known of proposals besides what the gatekeeper says."""

    async def save(self, incidents: Sequence[IncidentView]) -> None:
        """Write these incidents; what is there already is not written twice."""
        ...

    async def open_action(self, incident_id: str) -> tuple[str, str | None, str] | None:
        """Id, approval and state of the action that an incident still holds its target with."""
        ...


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
    ) -> None:
        self._gatekeeper = gatekeeper
        self._caller = caller
        self._store = store
        self._work = work
        self._clock = clock
        self._policy = policy
        self._alert = alert

    def advance(
        self, case: Case, picture: Picture, now: Round, fleet: Fleet, overtaken: Case | None
    ) -> None:
        """Do what this round calls for."""
        case.good = case.good + 1 if _well(case, picture, now) else 0
        if case.busy:
            return
        at = self._clock.now()
        reachable = now.store is not None and now.store.reachable
        if overtaken is not None and case.state != "acting":
            text = f"{overtaken.view.title}: {overtaken.id} goes on with it."
            self._finish(case, at, text, picture, now, reachable=reachable)
            return
        gone = case.good >= self._policy.recovered_rounds
        leaves = case.state in ("explained", "waiting", "asking", "escalated")
        if gone and leaves and (case.view.kind != "crashed" or case.state == "escalated"):
            case.move("verifying", at, "vanished", self._vanished(case, picture, now))
        match case.state:
            case "open" | "explained" | "waiting":
                self._plan(case, at, picture, now, fleet, reachable=reachable)
            case "asking" | "acting":
                if reachable:
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
        self._escalate(
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
        intention, why_not = self._intention(case, fleet)
        if intention is None:
            self._escalate(case, why_not, again=False)
            return
        if case.acted >= self._policy.max_actions or case.proposals >= self._policy.max_proposals:
            self._escalate(
                case,
                f"After {case.acted} actions and {case.proposals} questions it is still there; "
                "no more is tried for this incident.",
                again=False,
            )
            return
        if not reachable:
            if case.state != "waiting":
                case.move("waiting", at, "waiting", self._cannot_ask(intention))
            return
        if case.retry_at is not None and at < case.retry_at:
            return
        process = _process(picture, case)
        self._spawn(case, self._propose(case, intention, process))

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
            self._escalate(
                case,
                f"The database has been down for {self._policy.store_escalate:g} s. The healer "
                "doesn't restart it by itself in this release: a person must start it.",
                again=False,
            )

    def _intention(self, case: Case, fleet: Fleet) -> tuple[Intention | None, str]:
        view = case.view
        service = fleet.service(view.service)
        if service is None:
            return None, f"{view.service} is no longer described in fleet.toml; nothing is done."
        if service.kind == "academy" and service.name not in RESTARTABLE:
            return None, (
                f"{view.service} is one of the academy's own processes, which the healer does not "
                "restart: a person must look at it."
            )
        if view.kind == "disk_filling":
            if not service.archivable:
                return None, (
                    f"{view.service} declares no folder whose old files may be archived: a person "
                    "must make room."
                )
            operation, arguments = "healing.archive_old_data", {"service": view.service}
        else:
            operation = "healing.restart_replica"
            arguments = {"service": view.service, "replica": view.replica or ""}
        warrant = Warrant(
            kind="incident", id=view.id, operation=operation, target=view.target, text=view.cause
        )
        return Intention(operation, arguments, warrant), ""

    @staticmethod
    def _cannot_ask(intention: Intention) -> str:
        what = (
            f"Restarting {intention.arguments['replica']}"
            if "replica" in intention.arguments
            else f"Archiving old data of {intention.arguments['service']}"
        )
        return (
            f"{what} would be the thing to do, but the database is down: nobody can be asked and "
            "nothing is carried out. This waits until it is back."
        )

    async def _propose(self, case: Case, intention: Intention, process: str) -> None:
        try:
            async with asyncio.timeout(CALL_SECONDS):
                # The gate looks for the incident in the database before it trusts the warrant.
                await self._store.save([case.view])
                standing = await self._store.open_action(case.id)
                if standing is not None:
                    self._adopt(case, *standing, process)
                    return
                proposed = await self._gatekeeper.propose(
                    await self._caller(),
                    [intention],
                    decided_by="engine",
                    executor=EXECUTOR,
                    title=case.view.title,
                    incident_id=case.id,
                )
        except Conflict as busy:
            at = self._clock.now()
            case.note_once(at, f"Not proposed yet: {busy.message}")
            case.retry_at = at + timedelta(seconds=self._policy.busy_retry_seconds)
        except Unavailable as error:
            at = self._clock.now()
            case.note_once(at, f"It could not be planned: {error.message}")
            case.retry_at = at + timedelta(seconds=self._policy.busy_retry_seconds)
        except CapabilityError as error:
            self._escalate(case, f"Nothing could be proposed: {error.message}", again=True)
        except Exception as error:  # the database went away meanwhile, or isn't ready yet
            at = self._clock.now()
            log.warning("incident.not_proposed", incident=case.id, reason=str(error)[:200])
            case.retry_at = at + timedelta(seconds=self._policy.busy_retry_seconds)
            if case.state != "waiting":
                case.move("waiting", at, "waiting", self._cannot_ask(intention))
        else:
            case.retry_at = None
            self._proposed(case, proposed, process)

    def _proposed(self, case: Case, proposed: Proposed, process: str) -> None:
        at = self._clock.now()
        data: dict[str, Any] = {
            "approval_id": proposed.approval_id,
            "action_ids": [a.id for a in proposed.actions],
            "process": process,
            "plan": [line for a in proposed.actions for line in a.plan.diff],
        }
        what = "; ".join(a.plan.summary for a in proposed.actions)
        if proposed.outcome == "ask":
            text = f"{what}? A person is asked: {proposed.reason}"
            case.move("asking", at, "asked", text, **data)
            self._alert(
                "ASKS", case, f"{what}? Approval {proposed.approval_id} waits for a person."
            )
        elif proposed.outcome == "run":
            case.add(at, "permitted", f"{what}: {proposed.reason}", **data)
            case.move("acting", at, "acting", f"{what}.", action_ids=data["action_ids"])
        else:
            case.add(at, "refused", f"{what}: {proposed.reason}", action_ids=data["action_ids"])
            self._escalate(case, f"The gate refused: {proposed.reason}", again=True)

    def _adopt(
        self, case: Case, action_id: str, approval_id: str | None, state: str, process: str
    ) -> None:
        at = self._clock.now()
        data = {"approval_id": approval_id, "action_ids": [action_id], "process": process}
        if approval_id is not None:
            case.move("asking", at, "asked", "A question about it stands already.", **data)
        else:
            case.add(at, "permitted", f"An action for it stands already ({state}).", **data)
            case.move("acting", at, "acting", "It goes on.", action_ids=[action_id])

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
            self._escalate(case, f"A person said no to it. {self._when_again()}", again=True)
        elif answer == "expired" or state == "expired":
            case.add(at, "expired", "Nobody answered in time.")
            self._escalate(case, f"Nobody answered in time. {self._when_again()}", again=True)
        elif state == "permit_expired":
            case.move(
                "explained", at, "expired", "It was approved but not begun in time; asked anew."
            )
        elif answer == "withdrawn" or state == "withdrawn":
            case.move("explained", at, "withdrawn", f"It was withdrawn: {text}")
        elif state == "refused":
            case.add(at, "refused", text)
            self._escalate(case, f"The gate refused: {text}", again=True)
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
            case.move("verifying", at, "acted", f"Done, and checked: {text}")
            return
        words = {
            "failed": "The action failed",
            "undone": "The action did not help and was undone",
            "escalated": "The action did not help",
            "stuck": "Whether the action happened can't be told; nothing else runs on this target",
        }[state]
        case.add(at, "acted", f"{words}: {text}")
        self._escalate(case, f"{words}: {text}", again=False)

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
                case, at, self._resolution(case, picture, now), picture, now, reachable=reachable
            )
            return
        begun = case.last("acted", "vanished", "verifying", "detected")
        if begun and (at - begun.at).total_seconds() < self._policy.verify_seconds:
            return
        if begun and begun.kind == "vanished":
            case.move(
                "asking" if case.question_open else "explained", at, "note", "The fault is back."
            )
            return
        how = _how(case, picture, now)
        self._escalate(
            case, f"{self._policy.verify_seconds:g} s later it is not well: {how}.", again=False
        )

    def _reconsider(self, case: Case, at: datetime, picture: Picture, now: Round) -> None:
        """After a no, or no answer: ask again once the process or enough time is another."""
        if not case.may_ask_again or case.proposals >= self._policy.max_proposals:
            return
        if picture.finding(case.view.kind, case.view.target) is None:
            return
        escalated = case.last("escalated")
        cool = timedelta(minutes=self._policy.cool_down_minutes)
        process = _process(picture, case)
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
            self._close(case, at, resolution, after)
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
        self._close(case, at, resolution, after)

    def _close(self, case: Case, at: datetime, resolution: str, after: dict[str, Any]) -> None:
        case.close(at, resolution, after)
        log.info("incident.closed", incident=case.id, resolution=resolution)
        self._alert("CLOSED", case, resolution)

    def _escalate(self, case: Case, text: str, *, again: bool) -> None:
        at = self._clock.now()
        if case.state == "escalated":
            case.note_once(at, text)
            return
        case.move("escalated", at, "escalated", text, again=again)
        log.warning("incident.escalated", incident=case.id, reason=text)
        self._alert("NEEDS A PERSON", case, text)

    # Words

    def _vanished(self, case: Case, picture: Picture, now: Round) -> str:
        return f"The fault is no longer there: {_how(case, picture, now)}."

    def _resolution(self, case: Case, picture: Picture, now: Round) -> str:
        how = _how(case, picture, now)
        acted = case.last("acted", "vanished")
        if acted is not None and acted.kind == "acted" and acted.text.startswith("Done"):
            return f"Repaired: {how}."
        if case.view.kind == "crashed":
            return f"The supervisor restarted it and it is well: {how}. No action was needed."
        if case.view.kind == "store_down":
            return f"The database answers again, after {_span(case, now)}."
        return f"It went away without an action of the healer: {how}."

    def _when_again(self) -> str:
        return (
            f"It is asked again after {self._policy.cool_down_minutes:g} minutes, or when another "
            "process has the fault."
        )

    @staticmethod
    def _spawn(case: Case, work: Coroutine[Any, Any, None]) -> None:
        case.task = asyncio.create_task(work)


def _well(case: Case, picture: Picture, now: Round) -> bool:
    view = case.view
    if picture.finding(view.kind, view.target) is not None:
        return False
    if view.kind == "store_down":
        return now.store is not None and now.store.reachable
    if view.kind == "disk_filling":
        return view.service in now.disks and view.service not in picture.disk_low
    assessment = picture.assessments.get(view.replica or "")
    return assessment is not None and assessment.status in ("healthy", "slow")


def _how(case: Case, picture: Picture, now: Round) -> str:
    view = case.view
    if view.kind == "disk_filling":
        return disk_words(now.disks.get(view.service))
    if view.kind == "store_down":
        return "the database answers" if now.store and now.store.reachable else "it does not answer"
    assessment = picture.assessments.get(view.replica or "")
    if assessment is None:
        return "it is no longer described"
    run = f" (process {assessment.identity.pid})" if assessment.identity else ""
    return f"{assessment.replica} {assessment.note}{run}"


def _process(picture: Picture, case: Case) -> str:
    assessment = picture.assessments.get(case.view.replica or "")
    if assessment is None or assessment.identity is None:
        return ""
    started = assessment.identity.started_at
    return f"{assessment.identity.pid}@{started.isoformat() if started else ''}"


def _span(case: Case, now: Round) -> str:
    return f"{(now.at - case.view.opened_at).total_seconds():.0f} s"
