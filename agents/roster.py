"""The six specialists: start reading here.

A specialist has a folder of its name beside this file: `examples.yaml` (how people ask for it) and,
once it is ready, its agent, instructions, output and playbook.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Specialist:
    """Who it is, what it is for, and whether the academy has it already."""

    name: str
    title: str
    """What a person calls it."""
    summary: str
    """One sentence: what to ask it for. The router reads it."""
    rooms: tuple[str, ...]
    """Folders of `tools/` it works through."""
    ready: bool
    coming: str
    """What it will do, for a person who asks before it is ready; empty when it is."""


ROSTER: tuple[Specialist, ...] = (
    Specialist(
        name="reviewer",
        title="Code reviewer",
        summary="Reviews pull requests and repositories: bugs, security, style, missing tests.",
        rooms=("code_review",),
        ready=False,
        coming="it will review pull requests and repositories",
    ),
    Specialist(
        name="healer",
        title="Fleet healer",
        summary=(
            "Looks after the running services: health, incidents and their causes, restarts, full "
            "disks, approvals, undo, the record of actions, and what may run alone."
        ),
        rooms=("healing", "traffic_routing", "feature_flags"),
        ready=True,
        coming="",
    ),
    Specialist(
        name="patcher",
        title="Dependency patcher",
        summary="Updates dependencies, fixes known vulnerabilities, plans database migrations.",
        rooms=("dependency_patching", "migrations"),
        ready=False,
        coming="it will update dependencies and plan migrations",
    ),
    Specialist(
        name="onboarder",
        title="Tenant onboarder",
        summary=(
            "Sets up and runs branded academies: tenants, domains, plans and bills, plug-ins, "
            "integrations, webhooks, usage analytics."
        ),
        rooms=(
            "tenants",
            "billing",
            "plugins",
            "analytics",
            "gateway",
            "integrations",
            "webhooks",
        ),
        ready=False,
        coming="it will set up branded academies with domains, bills and integrations",
    ),
    Specialist(
        name="author",
        title="Course author",
        summary="Writes courses, lessons, quizzes and media from a brief, and improves content.",
        rooms=("course_generation", "content_quality"),
        ready=False,
        coming="it will write courses from a brief and improve content",
    ),
    Specialist(
        name="tutor",
        title="Tutor",
        summary="Teaches learners: a learning path, hints, practice, progress, credentials.",
        rooms=("learning_paths", "credentials"),
        ready=False,
        coming="it will guide learners with paths, hints and credentials",
    ),
)


def specialist(name: str) -> Specialist | None:
    """The specialist called *name*, if there is one."""
    return next((one for one in ROSTER if one.name == name), None)
