"""What can be said of an incident's target in a round: whether it is well, and in which words."""

from tools.healing.diagnosis import disk_words
from tools.healing.findings import Picture
from tools.healing.incidents import Case
from tools.healing.policy import HealingPolicy
from tools.healing.probes import Round


def well(case: Case, picture: Picture, now: Round) -> bool:
    """Whether the fault is gone in this round, and its target seen to be well."""
    view = case.view
    if picture.finding(view.kind, view.target) is not None:
        return False
    if view.kind == "store_down":
        return now.store is not None and now.store.reachable
    if view.kind == "disk_filling":
        return view.service in now.disks and view.service not in picture.disk_low
    assessment = picture.assessments.get(view.replica or "")
    return assessment is not None and assessment.status in ("healthy", "slow")


def how(case: Case, picture: Picture, now: Round) -> str:
    """How the incident's target is now, as a clause."""
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


def process_of(picture: Picture, case: Case) -> str:
    """Which run of a process has the fault, as `pid@start`; empty where there is none."""
    assessment = picture.assessments.get(case.view.replica or "")
    if assessment is None or assessment.identity is None:
        return ""
    started = assessment.identity.started_at
    return f"{assessment.identity.pid}@{started.isoformat() if started else ''}"


def _span(case: Case, now: Round) -> str:
    return f"{(now.at - case.view.opened_at).total_seconds():.0f} s"


def vanished(case: Case, picture: Picture, now: Round) -> str:
    """That the fault is no longer there."""
    return f"The fault is no longer there: {how(case, picture, now)}."


def resolution(case: Case, picture: Picture, now: Round) -> str:
    """How the incident ended."""
    words = how(case, picture, now)
    acted = case.last("acted", "vanished")
    if acted is not None and acted.data.get("helped"):
        return f"Repaired: {words}."
    if case.view.kind == "crashed":
        return f"The supervisor restarted it and it is well: {words}. No action was needed."
    if case.view.kind == "store_down":
        return f"The database answers again, after {_span(case, now)}."
    return f"It went away without an action of the healer: {words}."


def when_again(policy: HealingPolicy) -> str:
    """When a declined question is asked again."""
    return (
        f"It is asked again after {policy.cool_down_minutes:g} minutes, or when another process "
        "has the fault."
    )
