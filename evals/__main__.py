"""`python -m evals`: run suites and benchmarks.

python -m evals run [SUITE]            suites give evidence for operations
python -m evals bench [NAME] [--json]  benchmarks measure an engine beside a baseline
"""

import argparse
import importlib
import inspect
import itertools
import json
import pkgutil
import sys
from collections.abc import Callable, Sequence
from typing import Any

from evals import benchmarks


def benchmark_names() -> list[str]:
    """Names of all benchmarks; each is a module with `measure(...) -> dict` and `describe`."""
    return sorted(module.name for module in pkgutil.iter_modules(benchmarks.__path__))


def bench(names: Sequence[str], options: Sequence[str], *, as_json: bool) -> int:
    """Run the benchmarks *names* and print what they measured; the exit code.

    *options* are the keyword arguments of one benchmark's `measure`, such as `--rounds 5`.
    """
    known = benchmark_names()
    for name in names:
        if name not in known:
            sys.stderr.write(f"evals: no benchmark is called {name}; known: {', '.join(known)}.\n")
            return 4
    if options and len(names) != 1:
        sys.stderr.write(f"evals: {options[0]} belongs to one benchmark; name it.\n")
        return 2
    found: dict[str, Any] = {}
    for name in names or known:
        module = importlib.import_module(f"evals.benchmarks.{name}")
        found[name] = module.measure(**_arguments(name, module.measure, options))
        if not as_json:
            sys.stdout.write(module.describe(found[name]) + "\n")
    if as_json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0


def _arguments(name: str, measure: Callable[..., Any], options: Sequence[str]) -> dict[str, Any]:
    """*options* read by the defaults of *measure*'s own parameters; argparse refuses the rest."""
    parser = argparse.ArgumentParser(prog=f"python -m evals bench {name}")
    for parameter in inspect.signature(measure).parameters.values():
        parser.add_argument(
            f"--{parameter.name.replace('_', '-')}",
            type=type(parameter.default),
            default=parameter.default,
        )
    return vars(parser.parse_args(options))


def run(names: Sequence[str]) -> int:
    """Say which suites there are; this release brings none, so every operation asks."""
    if names:
        sys.stderr.write(f"evals: no suite is called {names[0]}; this release has none yet.\n")
        return 4
    sys.stdout.write(
        "This release has no suites: no operation has evidence, so each one asks a person.\n"
    )
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Dispatch; the exit code: 0 done, 2 wrong usage, 4 unknown name."""
    parser = argparse.ArgumentParser(prog="python -m evals", description="Suites and benchmarks.")
    kinds = parser.add_subparsers(dest="kind", required=True)
    suites = kinds.add_parser("run", help="run suites")
    suites.add_argument("names", nargs="*", metavar="SUITE")
    measured = kinds.add_parser(
        "bench", help="run benchmarks: [NAME ...] [--json] [a benchmark's own options]"
    )
    measured.add_argument("words", nargs=argparse.REMAINDER, metavar="NAME")
    given = parser.parse_args(arguments)
    if given.kind == "run":
        return run(given.names)
    names = list(itertools.takewhile(lambda word: not word.startswith("-"), given.words))
    options = [word for word in given.words[len(names) :] if word != "--json"]
    return bench(names, options, as_json="--json" in given.words)


if __name__ == "__main__":
    sys.exit(main())
