"""Which operation a fault calls for, or why none does. Pure."""

from tools.healing.restart_replica import RESTARTABLE
from tools.healing.schemas import IncidentView
from tools.kit.gatekeeper import Intention
from tools.kit.infrastructure import Fleet
from tools.kit.operation import Warrant


def remedy(view: IncidentView, fleet: Fleet) -> tuple[Intention | None, str]:
    """What to propose for an incident; where nothing can be, None and the reason."""
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


def cannot_ask(intention: Intention) -> str:
    """What a person reads while the database is down."""
    what = (
        f"Restarting {intention.arguments['replica']}"
        if "replica" in intention.arguments
        else f"Archiving old data of {intention.arguments['service']}"
    )
    return (
        f"{what} would be the thing to do, but the database is down: nobody can be asked and "
        "nothing is carried out. This waits until it is back."
    )
