"""`kill -9` of each of the academy's processes during a repair, on real processes.

Each round freezes one replica of the catalog, approves the proposed restart, and kills one process
at a moment drawn from the seed. Judged are: no orphan; the action ended (verified, failed, undone,
or stuck or escalated with a person called; withdrawn where a fresh start had ended its cause before
the effect began); its effect was intended once at most and, where nothing else restarts the fleet,
the replica got one new process and no second; the audit chain is intact.
The control is the process supervisor alone, which never sees a frozen process.
"""

import os
import platform
import random
import signal
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from evals.worlds.academy import AcademyUnderTest, NeverHappened, wait_for

VICTIMS = ("launcher", "supervisord", "healer", "agents", "web-1", "front")
RESTARTS_ALL = {"launcher", "supervisord"}
ENDED = {"verified", "failed", "undone", "stuck", "escalated", "withdrawn"}
SETTLED_WITHIN = 30.0
"""Seconds the house gives itself to settle an interrupted action (the launcher aside)."""
LATEST_KILL = 3.0
"""Seconds after the approval: a restart of the sample fleet takes about two."""


@dataclass(frozen=True)
class Round:
    """One kill during one repair, and what was found afterwards."""

    victim: str
    killed_after_s: float
    action: str
    effects: int
    processes: int
    """Distinct processes the replica was seen as: two when it was restarted once."""
    settled_s: float
    orphans: int
    audit_ok: bool
    problem: str

    @property
    def holds(self) -> bool:
        """Whether everything promised held in this round."""
        effects = 0 if self.action == "withdrawn" else 1
        return (
            self.action in ENDED
            and self.effects == effects
            and (self.processes == 1 + effects or self.victim in RESTARTS_ALL)
            and self.orphans == 0
            and self.audit_ok
            and not self.problem
        )


def pending_restart(academy: AcademyUnderTest) -> dict[str, Any] | None:
    """The pending question about a catalog replica, if there is one."""
    for approval in academy.call("GET", "/api/approvals?state=pending")["approvals"]:
        if any(a["operation"] == "healing.restart_replica" for a in approval["actions"]):
            found: dict[str, Any] = approval
            return found
    return None


def healthy(academy: AcademyUnderTest, service: str) -> bool:
    """Whether every replica of *service* is healthy and nothing is open about it."""
    fleet = academy.call("GET", "/api/fleet")
    found = next(s for s in fleet["services"] if s["name"] == service)
    return all(r["status"] == "healthy" for r in found["replicas"]) and not found["open_incidents"]


def orphans(academy: AcademyUnderTest) -> list[str]:
    """Processes of this home that don't descend from its launcher."""
    root = academy.launcher.pid if academy.launcher and academy.launcher.poll() is None else None
    found = []
    for process in academy.processes():
        try:
            line = [process, *process.parents()]
            if root is None or all(p.pid != root for p in line):
                found.append(f"{process.pid} {' '.join(process.cmdline())[:80]}")
        except psutil.Error:
            continue
    return found


def kill(academy: AcademyUnderTest, victim: str) -> None:
    """`kill -9` of one process of the academy."""
    if victim == "launcher":
        academy.kill_launcher()
        return
    if victim == "supervisord":
        pid = int((academy.home / "run" / "supervisord.pid").read_text())
    else:
        found = academy.pid_of(victim)
        if found is None:
            raise NeverHappened(f"{victim} does not run")
        pid = found
    os.kill(pid, signal.SIGKILL)


def play(academy: AcademyUnderTest, victim: str, delay: float) -> Round:
    """One round: freeze, approve, kill *victim* after *delay* seconds, and look."""
    wait_for("a healthy catalog", lambda: safely(lambda: healthy(academy, "catalog")), within=60)
    broken = academy.run("break", "catalog", "hang")
    if broken.returncode:
        raise NeverHappened(f"the break was declined: {broken.stderr or broken.stdout}")
    approval = wait_for("a question", lambda: safely(lambda: pending_restart(academy)), within=40)
    action_id = approval["actions"][0]["id"]
    replica = str(approval["actions"][0]["target"]).split("/")[1]
    seen = {academy.pid_of(replica)}
    academy.call(
        "POST",
        f"/api/approvals/{approval['id']}/decision",
        decision="approve",
        digest=approval["digest"],
    )
    time.sleep(delay)
    kill(academy, victim)
    struck = time.monotonic()
    left: list[str] = []
    if victim == "launcher":
        try:
            wait_for("every process ending", lambda: not list(academy.processes()), within=40)
        except NeverHappened:
            left = [str(p) for p in academy.processes()]
        academy.up()
    problem = ""
    state = ""

    def ended() -> bool:
        nonlocal state
        seen.add(academy.pid_of(replica))
        state = academy.call("GET", f"/api/actions/{action_id}")["state"]
        return state in ENDED

    try:
        wait_for("the action ending", lambda: safely(ended), within=SETTLED_WITHIN + 30)
        settled = time.monotonic() - struck
        wait_for(
            "a healthy catalog", lambda: safely(lambda: healthy(academy, "catalog")), within=40
        )
    except NeverHappened as never:
        problem, settled = str(never), time.monotonic() - struck
    if victim != "launcher" and settled > SETTLED_WITHIN:
        problem = problem or f"settled after {settled:.0f} s"
    left += orphans(academy)
    audit = academy.run("audit", "verify", "--json")
    return Round(
        victim=victim,
        killed_after_s=round(delay, 2),
        action=state,
        effects=effects_of(academy, action_id),
        processes=len((seen | {academy.pid_of(replica)}) - {None}),
        settled_s=round(settled, 1),
        orphans=len(left),
        audit_ok=audit.returncode == 0,
        problem=problem or "; ".join(left),
    )


def effects_of(academy: AcademyUnderTest, action_id: str) -> int:
    """How often the effect of *action_id* was begun: its intents in the audit log.

    The intent is committed with the permit's consumption before every effect, so that a second
    effect without a second intent can't be.
    """
    rows = academy.call("GET", "/api/audit?limit=200")["entries"]
    return sum(r["subject"] == action_id and r["kind"] == "action.intended" for r in rows)


def safely(look: Any) -> Any:
    """The answer of *look*, or none while the academy can't be reached."""
    import httpx2

    try:
        return look()
    except (httpx2.HTTPError, NeverHappened):
        return None


def measure(*, rounds: int = 20, seed: int = 1) -> dict[str, Any]:
    """Play *rounds* rounds over the victims in turn; one academy throughout."""
    draw = random.Random(seed)  # noqa: S311 - the moment of a kill, nothing secret
    began = time.monotonic()
    played: list[Round] = []
    with tempfile.TemporaryDirectory(prefix="academy-crash-") as folder:
        academy = AcademyUnderTest(Path(folder) / "home")
        academy.up()
        try:
            for number in range(rounds):
                victim = VICTIMS[number % len(VICTIMS)]
                played.append(play(academy, victim, draw.uniform(0, LATEST_KILL)))
        finally:
            academy.down()
        lingering = [str(p) for p in academy.processes()]
    held = sum(r.holds for r in played)
    return {
        "name": "crash-recovery",
        "ours": {
            "rounds": [asdict(r) | {"holds": r.holds} for r in played],
            "held": held,
            "lingering": lingering,
        },
        "controls": {"supervisor alone": {"held": 0, "why": "a frozen process is RUNNING to it"}},
        "bars": [
            {"what": "rounds that held", "value": held, "target": rounds, "holds": held == rounds},
            {
                "what": "processes left after down",
                "value": len(lingering),
                "target": 0,
                "holds": not lingering,
            },
        ],
        "seed": seed,
        "versions": {"python": platform.python_version()},
        "seconds": round(time.monotonic() - began, 1),
    }


def describe(result: dict[str, Any]) -> str:
    """The result as lines for a terminal."""
    ours = result["ours"]
    lines = [f"crash-recovery, seed {result['seed']}, {result['seconds']} s"]
    for played in ours["rounds"]:
        mark = "held" if played["holds"] else "FAILED"
        lines.append(
            f"  {mark:6} {played['victim']:11} killed {played['killed_after_s']:.2f} s after the "
            f"approval; action {played['action']}, effects {played['effects']}, "
            f"settled in {played['settled_s']:.1f} s {played['problem']}"
        )
    lines.append(f"  ours: {ours['held']} of {len(ours['rounds'])} rounds held")
    lines.append("  supervisor alone: 0 (a frozen process is RUNNING to it)")
    return "\n".join(lines)
