"""Benchmarks and attacks as the command line runs them: found, called, and summed up.

Each is a module of `evals.benchmarks` or `evals.attacks` with `measure(...) -> dict` and
`describe(result) -> str`; its options are the keyword parameters of `measure`. A name's hyphens are
the module's underscores. Sub-packages beside them are their parts, not measurements.
"""

import argparse
import importlib
import inspect
import pkgutil
import time
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from evals.verdicts import NeedsData, all_hold

Kind = Literal["benchmarks", "attacks"]
SHARED = ("data", "seed")
"""Options that may be given for all at once; each measurement takes those it has."""


class UnknownMeasurement(LookupError):
    """None is called that; the message lists those that exist."""


class WrongOption(ValueError):
    """An option it doesn't have, or a value that can't be read."""


@dataclass(frozen=True)
class Ended:
    """How one measurement ended."""

    name: str
    result: dict[str, Any] | None = None
    text: str = ""
    """For a terminal."""
    not_run: str = ""
    """Why it was not run, such as data that was not given."""
    broke: str = ""
    """What it raised."""

    @property
    def holds(self) -> bool:
        """Whether it ran and every bar holds."""
        return self.result is not None and all_hold(self.result)


def names(kind: Kind) -> list[str]:
    """Names of all measurements of a kind, with hyphens."""
    package = importlib.import_module(f"evals.{kind}")
    return sorted(
        module.name.replace("_", "-")
        for module in pkgutil.iter_modules(package.__path__)
        if not module.ispkg
    )


def measure(kind: Kind, name: str, words: Sequence[str], *, strict: bool = True) -> Ended:
    """Run the measurement *name* with the options *words*.

    Args:
        kind: benchmark or attack.
        name: with hyphens or underscores.
        words: as on the command line, such as `--data FOLDER --rounds 5`.
        strict: whether an option it doesn't have is an error; `--data` never is, because whoever
            has the data gives it for all.

    Raises:
        UnknownMeasurement: there is none of that name.
        WrongOption: *words* can't be read.
    """
    plain = name.replace("_", "-")
    if plain not in names(kind):
        one = kind.removesuffix("s")
        raise UnknownMeasurement(f"No {one} is called {name}; known: {', '.join(names(kind))}.")
    try:
        module = importlib.import_module(f"evals.{kind}.{plain.replace('-', '_')}")
        options = read_options(plain, module.measure, words, strict=strict)
        began = time.monotonic()
        result: dict[str, Any] = module.measure(**options)
        result = {"name": plain, **result}
        result.setdefault("seconds", round(time.monotonic() - began, 1))
        return Ended(plain, result, text=module.describe(result))
    except NeedsData as error:
        return Ended(plain, not_run=_lacking(words, str(error)))
    except WrongOption:
        raise
    except Exception as error:
        return Ended(plain, broke=f"{type(error).__name__}: {error}")


def read_options(
    name: str, function: Callable[..., Any], words: Sequence[str], *, strict: bool = True
) -> dict[str, Any]:
    """The keyword arguments of *function* that *words* give, read by its annotations.

    Raises:
        WrongOption: an option it doesn't have, or a value that can't be read.
    """
    parser = argparse.ArgumentParser(prog=name, add_help=False, exit_on_error=False)
    parameters = inspect.signature(function).parameters
    hints = typing.get_type_hints(function)
    for parameter in parameters.values():
        kind = _plain(hints.get(parameter.name, str))
        flag = f"--{parameter.name.replace('_', '-')}"
        if kind is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction)
        else:
            parser.add_argument(flag, type=kind)
    for shared in SHARED:
        if shared not in parameters:
            parser.add_argument(f"--{shared}", dest=f"ignored_{shared}")
    try:
        given, unknown = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        raise WrongOption(f"{name}: {error}") from error
    if strict and given.__dict__.get("ignored_seed") is not None:
        unknown.append("--seed")
    if unknown and strict:
        known = ", ".join(f"--{one.replace('_', '-')}" for one in parameters) or "none"
        raise WrongOption(f"{name} has no option {unknown[0]}; its options: {known}.")
    return {k: v for k, v in vars(given).items() if k in parameters and v is not None}


def _lacking(words: Sequence[str], needs: str) -> str:
    """What data is missing: all of it, the folder that was named, or what should be in it."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--data", type=Path)
    folder = parser.parse_known_args(words)[0].data
    if folder is None:
        return needs
    if not folder.is_dir():
        return f"The folder {folder} is missing: {needs}"
    return f"The folder {folder} lacks the data: {needs}"


def _plain(hint: Any) -> Any:
    """The type that reads a word for an annotation such as `Path | None`."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        hint = next(one for one in typing.get_args(hint) if one is not type(None))
    return hint if hint in (int, float, str, bool, Path) else str
