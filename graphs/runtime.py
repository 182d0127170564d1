"""The composition root of everything that thinks: the agents worker and the evaluations open it.

It puts a model endpoint, the gate, the fleet's adapter, the vector memory and the rooms' toolsets
together from settings; nothing else builds them.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog

from agents.embedded.protocol import Playbook
from agents.endpoint import EMBEDDED, Endpoint, ModelConfig
from agents.healer import agent as healer
from agents.healer.playbook import HealerPlaybook
from graphs.evidence import stored_evidence
from graphs.fleet import local_fleet
from graphs.settings import Settings
from graphs.supervisor import Services
from graphs.turns import Turns
from memory.database import Databases
from memory.errors import StoreError
from memory.vectors.collections import VectorStore
from memory.vectors.recall import Recall
from tools.autonomy import toolset as autonomy_tools
from tools.autonomy.fingerprint import Decider, file_digest
from tools.autonomy.gatekeeper import Gatekeeping
from tools.autonomy.policy import AutonomyConfig
from tools.catalogue import build_operations
from tools.healing import toolset as healing_tools
from tools.kit.clock import Clock, SystemClock
from tools.kit.digest import digest
from tools.kit.errors import Invalid
from tools.kit.infrastructure import Infrastructure
from tools.kit.operation import OperationContext
from tools.recall import toolset as recall_tools
from tools.recall.service import RecallService

PLAYBOOKS: Mapping[str, Playbook] = {"healer": HealerPlaybook()}
"""What the embedded model does for each specialist that is ready."""
AGENTS = Path(healer.__file__).parents[1]
LEARNED = (".yaml", ".npz")
"""Endings of the files the embedded model learned from."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Runtime:
    """Everything a turn works with, opened."""

    settings: Settings
    databases: Databases
    services: Services
    autonomy: AutonomyConfig
    memory: RecallService

    def turns(self, owner: str) -> Turns:
        """The turns of one worker; *owner* names it in leases and is never used twice."""
        return Turns(databases=self.databases, services=self.services, owner=owner)


def model_config(settings: Settings) -> ModelConfig:
    """The model endpoint the settings name, or the embedded model where they name none.

    Raises:
        Invalid: only one of `ACADEMY_MODEL_URL` and `ACADEMY_MODEL_NAME` is set.
    """
    if settings.model_url is None and settings.model_name is None:
        return EMBEDDED
    if settings.model_url is None or settings.model_name is None:
        missing = "ACADEMY_MODEL_URL" if settings.model_url is None else "ACADEMY_MODEL_NAME"
        raise Invalid(
            f"{missing} is not set. A model needs ACADEMY_MODEL_URL and ACADEMY_MODEL_NAME; "
            "with neither of them the embedded model answers."
        )
    return ModelConfig(url=settings.model_url, name=settings.model_name, key=settings.model_key)


def mode_of(settings: Settings) -> str:
    """What pages show as the model: `embedded`, or the configured model's name."""
    return settings.model_name or EMBEDDED.name


def told_to_specialists() -> str:
    """Digest of the instructions under which a model decides on actions."""
    return digest({healer.NAME: healer.manual()})


def deciders(
    settings: Settings, playbooks: Mapping[str, Playbook] = PLAYBOOKS
) -> dict[str, Decider]:
    """By room, the code and files through which its specialist's model decides on actions.

    The supervisor, the specialist with its toolsets, and the gate around them; of the embedded
    model the router, the playbook and the examples it learned from as well.
    """
    roots: tuple[str, ...] = (
        "graphs.supervisor",
        healer.__name__,
        "agents.gated_toolset",
        "agents.endpoint",
    )
    files: dict[str, str] = {}
    if model_config(settings) == EMBEDDED:
        roots = (*roots, "agents.embedded.app", type(playbooks[healer.NAME]).__module__)
        learned = sorted(path for path in AGENTS.glob("*/*") if path.suffix in LEARNED)
        files = {path.relative_to(AGENTS).as_posix(): file_digest(path) for path in learned}
    return {room: Decider(roots, files) for room in healer.ROOMS}


@asynccontextmanager
async def open_runtime(
    settings: Settings,
    *,
    databases: Databases | None = None,
    infrastructure: Infrastructure | None = None,
    clock: Clock | None = None,
    memory: RecallService | None = None,
    playbooks: Mapping[str, Playbook] | None = None,
) -> AsyncIterator[Runtime]:
    """A runtime of the academy that *settings* name; closed at the end, what was given excepted.

    *playbooks* stand in for the embedded specialists: evaluations put hostile ones there.

    Raises:
        Invalid: the model settings are incomplete.
        StoreError: the database URL can't be read.
    """
    home = settings.paths
    time = clock or SystemClock()
    model = model_config(settings)
    async with AsyncExitStack() as stack:
        if databases is None:
            databases = Databases(settings.control_url, pool_size=5)
            stack.push_async_callback(databases.dispose)
        fleet = infrastructure
        if fleet is None:
            local = local_fleet(home)
            stack.push_async_callback(local.aclose)
            fleet = local
        operations = build_operations(archive_folder=settings.archive_folder)
        autonomy = AutonomyConfig(
            locks=home.locks, approval_for=timedelta(minutes=settings.approval_minutes)
        )
        evidence = stored_evidence(
            settings,
            databases.control,
            fleet,
            time,
            model=mode_of(settings),
            instructions=told_to_specialists(),
            deciders=deciders(settings, playbooks or PLAYBOOKS),
        )
        gatekeeper = Gatekeeping(
            databases.control,
            operations,
            OperationContext(infrastructure=fleet, clock=time),
            autonomy,
            evidence,
        )
        endpoint = Endpoint(model, playbooks=playbooks or PLAYBOOKS, clock=time)
        stack.push_async_callback(endpoint.aclose)
        if memory is None:
            memory = RecallService(await _vectors(settings, stack), time)
        services = Services(
            endpoint=endpoint,
            control=databases.control,
            infrastructure=fleet,
            gatekeeper=gatekeeper,
            memory=memory,
            clock=time,
            toolsets={
                "healing": healing_tools.build_toolset(),
                "autonomy": autonomy_tools.build_toolset(autonomy, operations, evidence),
                "recall": recall_tools.build_toolset(),
            },
            mode=mode_of(settings),
        )
        yield Runtime(settings, databases, services, autonomy, memory)


async def _vectors(settings: Settings, stack: AsyncExitStack) -> Recall:
    """The vector memory; one that can't be opened stays closed and says so at every use."""
    recall = Recall(VectorStore(settings.paths.chroma))
    try:
        await recall.open()
    except StoreError as error:
        log.warning("recall.not_opened", why=str(error))
    else:
        stack.push_async_callback(recall.close)
    return recall
