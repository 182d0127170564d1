"""From a finding to words: cause, explanation, and the evidence for and against, with figures.

Pure. What is not known is said as unknown; nothing is guessed from a single look.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tools.healing.findings import Crash, Finding
from tools.healing.policy import HealingPolicy
from tools.healing.probes import DiskLook, Look, Round
from tools.kit.infrastructure import Fleet


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with one target, why we think so, and what would help."""

    title: str
    cause: str
    explanation: str
    evidence: tuple[dict[str, Any], ...]
    """`{"for": bool, "text": str}` each: what speaks for the cause and what against it."""
    before: dict[str, Any]


def at_clock(moment: datetime) -> str:
    """A moment as people read it in a sentence, UTC."""
    return moment.strftime("%H:%M:%S")


def mebibytes(size: float) -> str:
    """A size as people read it."""
    mib = size / (1024 * 1024)
    return f"{mib / 1024:.1f} GiB" if mib >= 1024 else f"{mib:.1f} MiB"


def diagnose(
    finding: Finding,
    now: Round,
    fleet: Fleet,
    policy: HealingPolicy,
    *,
    symptoms: Sequence[str] = (),
) -> Diagnosis:
    """The words for *finding*; *symptoms* are failures elsewhere that it explains."""
    explain = {
        "hung": _hung,
        "dead": _dead,
        "disk_filling": _disk,
        "store_down": _store,
    }[finding.kind]
    title, cause, explanation, evidence = explain(finding, now, fleet, policy)
    evidence += [_for(f"Explained by it: {line}.") for line in symptoms]
    return Diagnosis(title, cause, explanation, tuple(evidence), snapshot(finding, now))


def diagnose_crash(
    crash: Crash, now: Round, fleet: Fleet, *, earlier: int, exit_note: str, asked: bool
) -> Diagnosis:
    """The words for a process that was replaced.

    Args:
        crash: what was and what is.
        now: the round that saw it.
        fleet: to say how the siblings are.
        earlier: how many crashes there were in the last minutes besides this one.
        exit_note: what the supervisor said of the end, if a look caught it.
        asked: whether the academy's actions could be looked through for one that did it.
    """
    name = crash.replica
    started = f", started {at_clock(crash.now.started_at)}" if crash.now.started_at else ""
    evidence = [
        _for(
            f"Process {crash.before.pid} was last seen at {at_clock(crash.last_seen)}; "
            f"now process {crash.now.pid} runs{started}."
        ),
        _for("None of the academy's actions restarted it.")
        if asked
        else _against(
            "Whether one of the academy's actions restarted it can't be asked: the database is "
            "down."
        ),
        _for(f"The supervisor says: {exit_note}.")
        if exit_note
        else _against("The supervisor says nothing about how the old process ended."),
    ]
    evidence += _siblings(now, fleet, crash.service, name)
    if earlier:
        evidence.append(_for(f"It was replaced {earlier} more times in the last minutes."))
    why = f" The supervisor says: {exit_note}." if exit_note else " Why it ended is unknown."
    return Diagnosis(
        title=f"{name} ended and was started again",
        cause=f"Process {crash.before.pid} of {name} ended; the supervisor started a new one.",
        explanation=(
            f"{name} ran as process {crash.before.pid} until at least "
            f"{at_clock(crash.last_seen)} and now runs as process {crash.now.pid}."
            f"{why} Nothing needs to be done if the new process answers; that is being checked."
        ),
        evidence=tuple(evidence),
        before={"pid": crash.before.pid, "started_at": _iso(crash.before.started_at)},
    )


def snapshot(finding: Finding, now: Round) -> dict[str, Any]:
    """The figures of a finding's target in this round, kept as an incident's `before`."""
    return {
        **{k: v for k, v in finding.facts.items() if not isinstance(v, list)},
        **figures(now, finding.service, finding.replica),
    }


def figures(now: Round, service: str, replica: str | None) -> dict[str, Any]:
    """Pid, start, answer, latency and disk of one target in this round; only what is known."""
    known: dict[str, Any] = {}
    look = now.looks.get(replica) if replica else None
    if look and look.facts:
        known["process"] = look.facts.status
        if look.facts.pid is not None:
            known["pid"] = look.facts.pid
            known["started_at"] = _iso(look.facts.started_at)
    if look and look.probe:
        known["answers"] = look.probe.ok
        if look.probe.latency_ms is not None and look.probe.ok:
            known["latency_ms"] = round(look.probe.latency_ms, 1)
    disk = now.disks.get(service)
    if replica is None and disk and disk.facts and disk.free_percent is not None:
        known["free_percent"] = round(disk.free_percent, 1)
        known["free_bytes"] = disk.facts.free_bytes
    return known


Words = tuple[str, str, str, list[dict[str, Any]]]


def _hung(finding: Finding, now: Round, fleet: Fleet, policy: HealingPolicy) -> Words:
    name, facts = finding.replica or finding.service, finding.facts
    pid, misses = facts.get("pid"), facts.get("misses", 0)
    timeout = f"{policy.probe_timeout:.1f} s"
    evidence = []
    if misses:
        evidence.append(
            _for(
                f"No answer to {misses} probes of {timeout} since {at_clock(finding.since)} "
                f"({_kinds(facts.get('errors', []))}).",
            )
        )
    if facts.get("frozen"):
        cause = f"Process {pid} of {name} is stopped (state T): something froze it."
        explanation = (
            f"{name} holds its port and accepts connections, but process {pid} has been stopped by "
            "a signal and runs no instruction, so nothing is answered. Who sent the signal can't "
            "be read from outside. Continuing it or restarting it ends the fault."
        )
        evidence.append(_for(f"Process {pid} is in state T (stopped by a signal)."))
    else:
        cause = f"{name} runs as process {pid} but does not answer; why is unknown."
        reset = "refused" in facts.get("errors", [])
        explanation = (
            f"Process {pid} is there, "
            + ("but its port refuses connections" if reset else "and its port takes connections")
            + ", and no answer comes back. What it waits for can't be seen from outside. A restart "
            "gives it a fresh start; it does not remove a cause inside the program."
        )
        evidence.append(_for(f"The supervisor says that process {pid} is running."))
        cpu = facts.get("cpu_percent")
        if cpu is not None:
            spins = cpu > 80
            evidence.append(
                _for(f"It uses {cpu:.0f} % of a core: {'it spins' if spins else 'it waits'}.")
            )
        if facts.get("ever_answered") is False:
            evidence.append(
                _against("This process has not been seen answering: it may never have started.")
            )
    evidence += _siblings(now, fleet, finding.service, name)
    if not facts.get("frozen"):  # nothing it calls could stop a process by a signal
        evidence += _below(now, fleet, finding.service)
    return f"{name} does not answer", cause, explanation, evidence


def _dead(finding: Finding, now: Round, fleet: Fleet, policy: HealingPolicy) -> Words:
    name, facts = finding.replica or finding.service, finding.facts
    note = facts.get("exit_note") or ""
    said = f" The supervisor says: {note}." if note else ""
    match facts.get("status"):
        case "fatal":
            cause = f"The supervisor gave up on {name}.{said}"
            explanation = (
                f"{name} ended again and again right after its start until the supervisor "
            )
            explanation += (
                "stopped trying. Its log says why; a restart helps only if that has passed."
            )
        case "backoff":
            cause = f"{name} ends soon after each start.{said}"
            explanation = f"The supervisor keeps starting {name} and it keeps ending."
        case _:
            cause = f"{name} is stopped and nothing starts it.{said}"
            explanation = (
                f"{name} has no process. The supervisor restarts what crashes, so it was stopped "
                "on purpose or ended in a way that is not restarted. Who did it is unknown."
            )
    down = facts.get("down_seconds", 0)
    evidence = [
        _for(
            f"No process since {at_clock(finding.since)} ({down:.0f} s); "
            f"state at the supervisor: {facts.get('status')}.",
        )
    ]
    if note:
        evidence.append(_for(f"The supervisor says: {note}."))
    evidence += _siblings(now, fleet, finding.service, name)
    evidence += _below(now, fleet, finding.service)
    return f"{name} is dead", cause, explanation, evidence


def _disk(finding: Finding, now: Round, fleet: Fleet, policy: HealingPolicy) -> Words:
    facts = finding.facts
    free, total = facts["free_bytes"], facts["total_bytes"]
    inodes = facts["inodes_free_percent"]
    what = "limit of the data folder" if facts.get("limited") else "disk under the data folder"
    name = finding.service
    cause = (
        f"The {what} of {name} has {facts['free_percent']:.1f} % free "
        f"({mebibytes(free)} of {mebibytes(total)})."
    )
    if facts["free_percent"] >= policy.disk_free_percent:
        cause = f"The {what} of {name} has {inodes:.1f} % of its inodes free."
    service = fleet.service(name)
    folders = [path.name for path in service.archivable] if service else []
    helps = (
        f"{name} declares that old files in {', '.join(folders)} may be archived."
        if folders
        else f"{name} declares nothing that may be archived, so a person must make room."
    )
    explanation = f"When it is full, writes of {name} fail. What filled it is unknown. {helps}"
    evidence = [
        _for(
            f"{facts['free_percent']:.1f} % free since {at_clock(finding.since)}; the threshold is "
            f"{policy.disk_free_percent:g} %.",
        ),
        _for(f"{inodes:.1f} % of its inodes are free.")
        if inodes < policy.inodes_free_percent
        else _against(f"{inodes:.1f} % of its inodes are free: it is not their number."),
    ]
    if facts.get("shared_with"):
        evidence.append(_for(f"The same disk holds the data of {', '.join(facts['shared_with'])}."))
    return f"The disk of {name} is filling", cause, explanation, evidence


def _store(finding: Finding, now: Round, fleet: Fleet, policy: HealingPolicy) -> Words:
    facts = finding.facts
    evidence = [
        _for(
            f"No answer to {facts['misses']} questions of {policy.probe_timeout:.1f} s since "
            f"{at_clock(finding.since)} ({_short(facts['error'])}).",
        )
    ]
    status, pid = facts.get("status"), facts.get("pid")
    if not facts.get("ours"):
        cause = "The external PostgreSQL does not answer; why can't be seen from here."
    elif facts.get("frozen"):
        cause = f"Process {pid} of PostgreSQL is stopped (state T): something froze it."
        evidence.append(_for(f"Process {pid} is in state T (stopped by a signal)."))
    elif status in ("stopped", "fatal", "backoff"):
        cause = "PostgreSQL is stopped." if status == "stopped" else "PostgreSQL does not start."
        note = facts.get("exit_note")
        evidence.append(
            _for(f"State at the supervisor: {status}" + (f" ({note})." if note else "."))
        )
    elif status == "running":
        cause = f"PostgreSQL runs as process {pid} but does not answer; why is unknown."
        evidence.append(_against(f"The supervisor says that process {pid} is running."))
    else:
        cause = "PostgreSQL does not answer; why is unknown."
    explanation = (
        "Without the database nobody can be asked, and only what was permitted in advance is "
        "carried out. Finding and explaining go on from the healer's own files; what can't be "
        "asked waits for the database. "
        "The healer does not restart the database by itself in this release: a person starts it."
    )
    return "The database is down", cause, explanation, evidence


def _siblings(now: Round, fleet: Fleet, service: str, name: str) -> list[dict[str, Any]]:
    """What the other replicas do: one that answers speaks against a shared cause."""
    spec = fleet.service(service)
    points = []
    for other in spec.replicas if spec else ():
        look = now.looks.get(other.name)
        if other.name == name or look is None or look.probe is None:
            continue
        if look.probe.ok:
            points.append(
                _for(
                    f"{other.name} of the same service answers in {look.probe.latency_ms or 0:.0f} "
                    "ms: the cause is this replica's own.",
                )
            )
        elif look.missed:
            points.append(
                _against(f"{other.name} does not answer either: the cause may be shared.")
            )
    return points


def _below(now: Round, fleet: Fleet, service: str) -> list[dict[str, Any]]:
    """How what the service depends on does, which speaks for or against a cause of its own."""
    spec = fleet.service(service)
    points = []
    for name in spec.depends_on if spec else ():
        below = fleet.service(name)
        if name == "postgres" and now.store is not None:
            if now.store.reachable:
                points.append(_for("The database answers: it is not the cause."))
            else:
                points.append(_against("The database is down as well, and may be the cause."))
            continue
        looks: list[Look] = [
            now.looks[r.name] for r in (below.replicas if below else ()) if r.name in now.looks
        ]
        probed = [x.probe for x in looks if x.probe is not None]
        if probed and all(p.ok for p in probed):
            points.append(_for(f"{name}, which it calls, answers: it is not the cause."))
        elif any(not p.ok for p in probed):
            points.append(_against(f"{name}, which it calls, has a fault as well."))
    return points


def _short(text: str, most: int = 120) -> str:
    """The first words of a driver's message, which may name folders and hosts at length."""
    text = " ".join(text.split())
    return text if len(text) <= most else text[:most].rsplit(" ", 1)[0] + " ..."


def _kinds(errors: Sequence[str]) -> str:
    counts = {error: list(errors).count(error) for error in dict.fromkeys(errors)}
    return ", ".join(f"{error} x{n}" for error, n in counts.items()) or "no answer"


def _for(text: str) -> dict[str, Any]:
    return {"for": True, "text": text}


def _against(text: str) -> dict[str, Any]:
    return {"for": False, "text": text}


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def disk_words(look: DiskLook | None) -> str:
    """How full a disk is, in words."""
    if look is None or look.facts is None or look.free_percent is None:
        return "its disk could not be looked at"
    return f"{look.free_percent:.1f} % free ({mebibytes(look.facts.free_bytes)})"
