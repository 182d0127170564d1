"""Which operation a fault calls for, or why none does. Pure."""

from tools.healing.archive_old_data import ArchiveOldData
from tools.healing.restart_replica import RESTARTABLE, RestartReplica
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
    arguments = {"service": view.service}
    if view.kind in ArchiveOldData.called_for_by:
        if not service.archivable:
            return None, (
                f"{view.service} declares no folder whose old files may be archived: a person "
                "must make room."
            )
        operation = ArchiveOldData.name
    elif view.kind in RestartReplica.called_for_by:
        operation = RestartReplica.name
        arguments["replica"] = view.replica or ""
    else:
        return None, "No operation answers an incident of this kind: a person must look at it."
    warrant = Warrant(
        kind="incident", id=view.id, operation=operation, target=view.target, text=view.cause
    )
    return Intention(operation, arguments, warrant), ""


def asked_for(intention: Intention) -> str:
    """What a person is asked to approve, as a title: `Restart catalog-1`."""
    arguments = intention.arguments
    if "replica" in arguments:
        return f"Restart {arguments['replica']}"
    return f"Archive old data of {arguments['service']}"


def cannot_ask(intention: Intention, why: str = "") -> str:
    """What a person reads while the database is down; *why* nothing permits it beforehand."""
    because = f" ({why})" if why else ""
    return (
        f"{asked_for(intention)}: that would be the thing to do, but the database is down. Nobody "
        f"can be asked and nothing is carried out{because}; this waits until it is back."
    )
