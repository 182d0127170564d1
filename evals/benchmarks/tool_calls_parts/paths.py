"""The ways a call can be checked: the product's own, and what a JSON schema alone would say."""

import json
from collections.abc import Callable, Sequence
from typing import Any, cast

import jsonschema
from pydantic import ValidationError
from pydantic_ai import FunctionToolset, ModelRetry, RunContext, RunUsage
from pydantic_ai.messages import ToolCallPart
from pydantic_ai.models.test import TestModel
from pydantic_ai.tool_manager import ToolManager
from pydantic_ai.tools import Tool

from agents.gated_toolset import GatedToolset
from evals.benchmarks.tool_calls_parts.published import ToolSchema
from tools.kit.tool_deps import ToolDeps


class Validator:
    """The product's path: pydantic-ai's tool manager over the gated toolset, nothing executed."""

    def __init__(self, manager: ToolManager[ToolDeps]) -> None:
        self._manager = manager

    @classmethod
    async def over(cls, tools: Sequence[ToolSchema]) -> "Validator":
        """The path as a run builds it, over tools with these schemas."""
        made = [
            Tool.from_schema(
                function=_never, name=one.name, description=None, json_schema=dict(one.parameters)
            )
            for one in tools
        ]
        gated = GatedToolset(
            FunctionToolset[ToolDeps](cast(Any, made), id="published"),
            granted=frozenset(one.name for one in tools),
        )
        # A validator reads no deps; nothing is executed here that would.
        context = RunContext[ToolDeps](deps=cast(Any, None), model=TestModel(), usage=RunUsage())
        toolset = await gated.for_run(context)
        return cls(await ToolManager[ToolDeps](toolset).for_run_step(context))

    async def why_not(self, name: str, arguments: str) -> str | None:
        """What the model would be told is wrong with its call; None when nothing is."""
        call = ToolCallPart(tool_name=name, args=arguments, tool_call_id="call")
        try:
            await self._manager.validate_tool_call(call, wrap_validation_errors=False)
        except (ValidationError, ModelRetry) as error:
            return str(error)
        return None


def schema_alone(tools: Sequence[ToolSchema]) -> Callable[[str, str], bool]:
    """The control: known name, JSON that reads, and `jsonschema` on the schema as published."""
    by_name = {one.name: jsonschema.Draft202012Validator(dict(one.parameters)) for one in tools}

    def accepts(name: str, arguments: str) -> bool:
        validator = by_name.get(name)
        if validator is None:
            return False
        try:
            return bool(validator.is_valid(json.loads(arguments)))
        except ValueError:
            return False

    return accepts


async def _never(**_: Any) -> None:
    raise AssertionError("a benchmark of validation executes nothing")
