"""Builds a specialist from what its caller is granted: other tools don't exist for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic_ai import Agent, DeferredToolRequests, UsageLimits
from pydantic_ai.models import Model
from pydantic_ai.toolsets import AbstractToolset, CombinedToolset

from agents.gated_toolset import GatedToolset
from tools.kit.tool_deps import ToolDeps

REQUESTS_PER_STEP = 12
"""Model requests one step may make: three times what the longest playbook needs."""
TOOL_CALLS_PER_STEP = 24
TOOL_RETRIES = 2
"""How often a model may correct the arguments of one call."""

SpecialistAgent = Agent[ToolDeps, str | DeferredToolRequests]


@dataclass(frozen=True)
class Blueprint:
    """What a specialist is made of, before anybody asks it anything."""

    name: str
    instructions: str
    rooms: Sequence[str]
    granted: frozenset[str]
    """Names of the tools its caller may use."""


def build_specialist(
    blueprint: Blueprint, *, model: Model, toolsets: Mapping[str, AbstractToolset[ToolDeps]]
) -> SpecialistAgent:
    """The agent for one step: granted tools behind the gate, words or open questions as output."""
    rooms = CombinedToolset([toolsets[room] for room in blueprint.rooms if room in toolsets])
    return Agent(
        model,
        name=blueprint.name,
        deps_type=ToolDeps,
        output_type=[str, DeferredToolRequests],
        instructions=blueprint.instructions,
        toolsets=[GatedToolset(rooms, granted=blueprint.granted)],
        retries=TOOL_RETRIES,
    )


def step_limits() -> UsageLimits:
    """The limits of one step; beyond them it ends as an endless loop."""
    return UsageLimits(request_limit=REQUESTS_PER_STEP, tool_calls_limit=TOOL_CALLS_PER_STEP)
