"""Pages of a real academy at a steady arrival rate, through the front.

Arrivals are open-loop: a request starts at its time whether or not earlier ones have ended, so a
slow answer shows as latency and not as a lower rate. The control is the web replicas' own
`/healthz`, which touches neither database nor template, at the same rate in the same run.
"""

import asyncio
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from evals.worlds.academy import AcademyUnderTest

PAGES = ("/", "/fleet", "/incidents", "/audit")
CONTROL = ("/healthz",)


@dataclass
class Series:
    """Latencies of one series in milliseconds, and what failed."""

    took: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """p50 and p99 in milliseconds with the counts."""
        cuts = statistics.quantiles(self.took, n=100) if len(self.took) > 1 else [0.0] * 99
        return {
            "requests": len(self.took) + len(self.failures),
            "failed": len(self.failures),
            "p50_ms": round(cuts[49], 1),
            "p99_ms": round(cuts[98], 1),
            "first_failure": self.failures[0] if self.failures else "",
        }


async def arrive(
    url: str, key: str, paths: Sequence[str], *, rate: float, seconds: float
) -> Series:
    """Ask *paths* in turn, *rate* requests a second for *seconds*."""
    series = Series()
    limits = httpx2.Limits(max_connections=200, max_keepalive_connections=100)
    headers = {"Authorization": f"Bearer {key}", "Accept": "text/html"}
    async with httpx2.AsyncClient(base_url=url, headers=headers, limits=limits) as client:

        async def ask(path: str) -> None:
            began = time.perf_counter()
            try:
                answer = await client.get(path, timeout=30.0)
            except httpx2.HTTPError as error:
                series.failures.append(f"{path}: {type(error).__name__}")
                return
            if answer.status_code != 200:
                series.failures.append(f"{path}: {answer.status_code}")
                return
            series.took.append((time.perf_counter() - began) * 1000)

        asked: list[asyncio.Task[None]] = []
        start = time.perf_counter()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, start + number / rate - time.perf_counter()))
            asked.append(asyncio.create_task(ask(paths[number % len(paths)])))
        await asyncio.gather(*asked)
    return series


def measure(*, rate: float = 100.0, seconds: float = 15.0) -> dict[str, Any]:
    """Start an academy, warm it, and measure the control and then the pages."""
    with tempfile.TemporaryDirectory(prefix="academy-pages-") as folder:
        academy = AcademyUnderTest(Path(folder) / "home")
        academy.up()
        try:
            time.sleep(15)  # the agents worker loads for about ten seconds and would be measured
            key = (academy.home / "keys" / "cli.key").read_text().strip()
            asyncio.run(arrive(academy.url, key, PAGES, rate=10, seconds=3))
            control = asyncio.run(arrive(academy.url, key, CONTROL, rate=rate, seconds=seconds))
            each = {
                path: asyncio.run(arrive(academy.url, key, [path], rate=rate / 4, seconds=seconds))
                for path in PAGES
            }
            ours = asyncio.run(arrive(academy.url, key, PAGES, rate=rate, seconds=seconds))
        finally:
            academy.down()
    return {
        "name": "pages",
        "rate": rate,
        "ours": ours.figures(),
        "each_at_a_quarter": {path: series.figures() for path, series in each.items()},
        "controls": {"/healthz": control.figures()},
        "bars": [
            {
                "what": "failed requests",
                "value": len(ours.failures),
                "target": 0,
                "holds": not ours.failures,
            }
        ],
        "versions": {"python": platform.python_version()},
    }


def describe(result: dict[str, Any]) -> str:
    """The result as lines for a terminal."""
    rows = {
        f"pages in turn, {result['rate']:g}/s": result["ours"],
        f"/healthz, {result['rate']:g}/s (control)": result["controls"]["/healthz"],
        **{f"{p}, {result['rate'] / 4:g}/s": f for p, f in result["each_at_a_quarter"].items()},
    }
    return "\n".join(
        f"  {name:34} p50 {f['p50_ms']:7.1f} ms  p99 {f['p99_ms']:8.1f} ms  "
        f"failed {f['failed']} of {f['requests']} {f['first_failure']}"
        for name, f in rows.items()
    )
