"""The operation `healing.restart_replica`: stop one replica, kill it if it won't, start it again.

Bound to one run of one process: where another process has taken its place since the plan, nothing
happens. One that was cut between stop and start is half done, and doing it again only starts. A
restart can't be undone, and says so beforehand.
"""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from tools.healing.findings import Identity, identity
from tools.healing.policy import HealingPolicy
from tools.kit.errors import Conflict, Forbidden, NotFound, Unavailable
from tools.kit.infrastructure import (
    Fleet,
    Infrastructure,
    ProbeResult,
    ProcessFacts,
    ReplicaSpec,
    ServiceSpec,
)
from tools.kit.operation import (
    Check,
    Observation,
    Operation,
    OperationContext,
    Plan,
    Reversibility,
    Risk,
    Value,
)
from tools.kit.plain import quoted
from tools.kit.provenance import REPLICA, SERVICE, Identifies

RESTARTABLE = frozenset({"web", "agents"})
"""The academy's own services that may be restarted; the rest would cut the branch it sits on."""
SETTLED = timedelta(seconds=2)
"""How long a replica without an HTTP door must have run before it counts as up."""


class RestartArguments(Value):
    """Which replica to restart."""

    service: Annotated[str, Identifies(SERVICE)] = Field(min_length=1, max_length=80)
    replica: Annotated[str, Identifies(REPLICA)] = Field(min_length=1, max_length=80)


class RestartReplica(Operation[RestartArguments]):
    """Restarts one replica and checks that a new process answers."""

    name: ClassVar[str] = "healing.restart_replica"
    title: ClassVar[str] = "Restart a replica"
    arguments = RestartArguments
    risk: ClassVar[Risk] = "low"
    reversibility: ClassVar[Reversibility] = "nothing_to_undo"
    verify_within: ClassVar[timedelta] = timedelta(seconds=30)
    called_for_by: ClassVar[frozenset[str]] = frozenset({"dead", "hung"})
    libraries: ClassVar[tuple[str, ...]] = ("supervisor",)
    engines: ClassVar[tuple[str, ...]] = ("tools.healing.loop",)

    def __init__(self, policy: HealingPolicy) -> None:
        self._policy = policy

    def settings(self) -> dict[str, Any]:
        """The room's limits."""
        return asdict(self._policy)

    def targets(self, fleet: Fleet) -> dict[str, RestartArguments]:
        """Every replica that may be restarted."""
        return {
            f"{service.name}/{replica.name}": RestartArguments(
                service=service.name, replica=replica.name
            )
            for service in fleet.services
            if service.kind != "academy" or service.name in RESTARTABLE
            for replica in service.replicas
        }

    async def plan(self, context: OperationContext, arguments: RestartArguments) -> Plan:
        """Which process would end and what would take its place.

        Raises:
            NotFound: no such service or replica; names the valid ones.
            Forbidden: one of the academy's own processes that may not be restarted.
            Unavailable: the supervisor can't say what runs.
        """
        service, replica = find(context.infrastructure, arguments)
        facts = await _facts(context, replica)
        answer = await _ask(context, service, replica, facts, self._policy)
        answers = bool(answer and answer.ok)
        others, of = await _others(context, service, replica, self._policy)
        diff = [_now_line(replica, facts, answer), _then_line(replica, service)]
        if of:
            diff.append(f"  while it restarts, {others} of {of} other replicas answer")
        return Plan(
            target=f"{service.name}/{replica.name}",
            summary=f"Restart {replica.name} of {service.name}",
            diff=diff,
            state={
                "pid": facts.pid,
                "started_at": facts.started_at.isoformat() if facts.started_at else None,
                "status": facts.status,
                "answers": answers,
                "planned_at": context.clock.now().isoformat(),
            },
            region={
                "kind": "replica",
                "adapter": context.infrastructure.fleet().environment,
                "service_kind": service.kind,
                "replicas": len(service.replicas),
                "fault": "none" if answers else "dead" if facts.pid is None else "silent",
            },
        )

    async def precondition(
        self, context: OperationContext, arguments: RestartArguments, plan: Plan
    ) -> Check:
        """Whether the same process still runs, in the same trouble, and enough others answer."""
        service, replica = find(context.infrastructure, arguments)
        facts = await _facts(context, replica)
        planned = _planned(plan)
        now = identity(facts)
        if (planned is None) != (now is None) or (planned and now and not planned.same(now)):
            return Check(
                ok=False,
                text=f"{replica.name} has changed since the plan: it {_was(planned)}, "
                f"now it {_is(now)}.",
                measured={"pid": facts.pid},
            )
        answer = await _ask(context, service, replica, facts, self._policy)
        answers = bool(answer and answer.ok)
        if answers and not plan.state.get("answers") and replica.url and planned is not None:
            return Check(
                ok=False,
                text=f"{replica.name} answers again; there is nothing to restart it for.",
                measured={"latency_ms": answer.latency_ms if answer else None},
            )
        others, of = await _others(context, service, replica, self._policy)
        if answers and of and others < service.minimum_healthy:
            return Check(
                ok=False,
                text=f"{replica.name} answers and only {others} of {of} other replicas of "
                f"{service.name} do; {service.minimum_healthy} must stay up.",
                measured={"others_answering": others},
            )
        return Check(ok=True, text=f"{replica.name} is as planned: it {_is(now)}.")

    async def apply(
        self, context: OperationContext, arguments: RestartArguments, plan: Plan, key: str
    ) -> dict[str, Any]:
        """Stop the planned process, where it still runs, and start another one; answers both pids.

        Raises:
            Conflict: another process has taken its place.
            Unavailable: the supervisor can't be reached, or the program did not start.
        """
        _, replica = find(context.infrastructure, arguments)
        old = plan.state.get("pid")
        planned, now = _planned(plan), identity(await _facts(context, replica))
        if now is not None and (planned is None or not planned.same(now)):
            raise Conflict(
                f"{replica.name} {_is(now)}, not as planned: when planned it {_was(planned)}."
            )
        new = await context.infrastructure.restart(replica, expected_pid=old)
        return {"old_pid": old, "new_pid": new}

    async def observe(
        self, context: OperationContext, arguments: RestartArguments, plan: Plan, key: str
    ) -> Observation:
        """Done when the planned process is gone and one that started later runs.

        Half done when it is gone, or told to end, and none runs: it was cut between stop and start.
        """
        _, replica = find(context.infrastructure, arguments)
        try:
            facts = await _facts(context, replica)
        except Unavailable:
            return "unknown"
        now, planned = identity(facts), _planned(plan)
        if now is None:
            if facts.status not in ("stopped", "fatal"):
                return "unknown"
            # A stop also ends the supervisor's own attempts to start what failed.
            given_up = plan.state.get("status") == "backoff" and facts.status == "stopped"
            return "half_done" if planned is not None or given_up else "not_done"
        if planned is not None and planned.same(now):
            return "half_done" if facts.status == "stopped" else "not_done"
        if facts.status != "running" or facts.started_at is None:
            return "unknown"
        return "done" if facts.started_at > _earliest(plan) else "unknown"

    async def verify(
        self,
        context: OperationContext,
        arguments: RestartArguments,
        plan: Plan,
        effect: dict[str, Any],
    ) -> Check:
        """Whether a process other than the planned one runs and answers its health door."""
        service, replica = find(context.infrastructure, arguments)
        facts = await _facts(context, replica)
        now, planned = identity(facts), _planned(plan)
        measured: dict[str, Any] = {"pid": facts.pid, "status": facts.status}
        if now is None or facts.status != "running":
            return Check(
                ok=False, text=f"{replica.name} is {facts.status}, not running.", measured=measured
            )
        if planned is not None and planned.same(now):
            return Check(
                ok=False, text=f"Process {now.pid} still is the old one.", measured=measured
            )
        if replica.url is None or service.health_path is None:
            age = context.clock.now() - facts.started_at if facts.started_at else timedelta(0)
            return Check(
                ok=age >= SETTLED and not facts.stopped_by_signal,
                text=f"{replica.name} runs as process {now.pid} for {age.total_seconds():.0f} s; "
                "it has no HTTP door to ask.",
                measured=measured,
            )
        answer = await context.infrastructure.probe(
            replica, service.health_path, timeout=self._policy.probe_timeout
        )
        measured |= {"http": answer.status, "latency_ms": answer.latency_ms}
        if not answer.ok:
            said = (
                f"answers {answer.status}" if answer.status else f"does not answer: {answer.error}"
            )
            return Check(
                ok=False, text=f"{replica.name}, process {now.pid}, {said}.", measured=measured
            )
        return Check(
            ok=True,
            text=f"{replica.name} runs as process {now.pid} and answers {service.health_path} in "
            f"{answer.latency_ms or 0:.0f} ms.",
            measured=measured,
        )

    async def undo(
        self,
        context: OperationContext,
        arguments: RestartArguments,
        plan: Plan,
        effect: dict[str, Any],
        key: str,
    ) -> Check:
        """There is nothing to undo: the old process is gone."""
        return Check(
            ok=False, text="A restart can't be undone: the old process is gone, a new one runs."
        )


def find(
    infrastructure: Infrastructure, arguments: RestartArguments
) -> tuple[ServiceSpec, ReplicaSpec]:
    """The described replica, if it may be restarted.

    Raises:
        NotFound: no such service or replica; names the valid ones.
        Forbidden: one of the academy's own processes that may not be restarted.
    """
    fleet = infrastructure.fleet()
    service = fleet.service(arguments.service)
    if service is None:
        names = ", ".join(s.name for s in fleet.services) or "none"
        raise NotFound(f"There is no service {arguments.service}. Services: {names}.")
    if service.kind == "academy" and service.name not in RESTARTABLE:
        raise Forbidden(
            f"{service.name} is one of the academy's own processes and is not restarted this way; "
            f"of those only {' and '.join(sorted(RESTARTABLE))} are."
        )
    replica = next((r for r in service.replicas if r.name == arguments.replica), None)
    if replica is None:
        names = ", ".join(r.name for r in service.replicas) or "none"
        raise NotFound(f"{service.name} has no replica {arguments.replica}. Replicas: {names}.")
    return service, replica


async def _facts(context: OperationContext, replica: ReplicaSpec) -> ProcessFacts:
    facts = (await context.infrastructure.processes()).get(replica.name)
    if facts is None or facts.status == "unknown":
        note = f": {facts.exit_note}" if facts and facts.exit_note else ""
        raise Unavailable(f"The supervisor can't say what {replica.name} does{note}.")
    if facts.pid is not None and facts.started_at is None:
        raise Unavailable(f"Process {facts.pid} of {replica.name} is ending; look again shortly.")
    return facts


async def _ask(
    context: OperationContext,
    service: ServiceSpec,
    replica: ReplicaSpec,
    facts: ProcessFacts,
    policy: HealingPolicy,
) -> ProbeResult | None:
    if facts.pid is None or replica.url is None or service.health_path is None:
        return None
    return await context.infrastructure.probe(
        replica, service.health_path, timeout=policy.probe_timeout
    )


async def _others(
    context: OperationContext, service: ServiceSpec, replica: ReplicaSpec, policy: HealingPolicy
) -> tuple[int, int]:
    """How many other replicas answer, and of how many."""
    others = [r for r in service.replicas if r.name != replica.name]
    if not others or service.health_path is None:
        return 0, 0
    answers = [
        (
            await context.infrastructure.probe(
                other, service.health_path, timeout=policy.probe_timeout
            )
        ).ok
        for other in others
    ]
    return sum(answers), len(others)


def _planned(plan: Plan) -> Identity | None:
    pid, started = plan.state.get("pid"), plan.state.get("started_at")
    if pid is None:
        return None
    return Identity(int(pid), datetime.fromisoformat(started) if started else None)


def _earliest(plan: Plan) -> datetime:
    """A process of the restart started after this."""
    started = plan.state.get("started_at") or plan.state.get("planned_at")
    if started is None:
        raise Conflict("The plan names no moment to compare with.")
    return datetime.fromisoformat(started)


def _now_line(replica: ReplicaSpec, facts: ProcessFacts, answer: ProbeResult | None) -> str:
    if facts.pid is None:
        said = f"; it is said: {quoted(facts.exit_note)}" if facts.exit_note else ""
        return f"- {replica.name}: no process ({facts.status}{said})"
    since = f", started {facts.started_at:%H:%M:%S}" if facts.started_at else ""
    how = "running"
    if answer is not None:
        how = (
            f"answers in {answer.latency_ms or 0:.0f} ms"
            if answer.ok
            else f"answers {answer.status}"
            if answer.status
            else f"does not answer: {quoted(answer.error)}"
        )
    if facts.stopped_by_signal:
        how += ", stopped by a signal (state T)"
    return f"- {replica.name}: process {facts.pid}{since}, {how}"


def _then_line(replica: ReplicaSpec, service: ServiceSpec) -> str:
    if replica.url is None or service.health_path is None:
        return f"+ {replica.name}: a new process"
    return f"+ {replica.name}: a new process, answering {service.health_path}"


def _was(run: Identity | None) -> str:
    return f"was process {run.pid}" if run else "had no process"


def _is(run: Identity | None) -> str:
    return f"runs as process {run.pid}" if run else "has no process"
