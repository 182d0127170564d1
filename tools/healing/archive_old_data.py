"""The operation `healing.archive_old_data`: old files of a service into one verified archive.

Only regular files, only below folders the service declares `archivable`, only those untouched for
longer than the policy's age; never rows of a database. Undo puts every file back byte-identical.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from tools.adapters.archive import (
    ArchivePlan,
    discard_unrecorded,
    observe_archive,
    plan_archive,
    read_archive,
    restore_archive,
    write_archive,
)
from tools.healing.diagnosis import mebibytes
from tools.healing.policy import HealingPolicy
from tools.kit.errors import CapabilityError, Conflict, Invalid, NotFound
from tools.kit.infrastructure import DiskFacts, Fleet, Infrastructure, ServiceSpec
from tools.kit.operation import (
    Check,
    Observation,
    Operation,
    OperationContext,
    Plan,
    Reversibility,
    Risk,
    Value,
)
from tools.kit.provenance import SERVICE, Identifies

NAMED_FILES = 5
"""Files a plan names; the others are counted."""


class ArchiveArguments(Value):
    """Whose old files to archive."""

    service: Annotated[str, Identifies(SERVICE)] = Field(min_length=1, max_length=80)


class ArchiveOldData(Operation[ArchiveArguments]):
    """Moves a service's old files into the archive folder and checks what that freed."""

    name: ClassVar[str] = "healing.archive_old_data"
    title: ClassVar[str] = "Archive old data"
    arguments = ArchiveArguments
    risk: ClassVar[Risk] = "medium"
    reversibility: ClassVar[Reversibility] = "exact"
    verify_within: ClassVar[timedelta] = timedelta(seconds=20)
    called_for_by: ClassVar[frozenset[str]] = frozenset({"disk_filling"})
    libraries: ClassVar[tuple[str, ...]] = ("supervisor",)
    engines: ClassVar[tuple[str, ...]] = ("tools.healing.loop",)

    def __init__(self, folder: Path, policy: HealingPolicy) -> None:
        self._folder = folder
        self._policy = policy

    def settings(self) -> dict[str, Any]:
        """The room's limits."""
        return asdict(self._policy)

    def targets(self, fleet: Fleet) -> dict[str, ArchiveArguments]:
        """The data of every service that declares what may be archived."""
        return {
            f"{service.name}:data": ArchiveArguments(service=service.name)
            for service in fleet.services
            if service.archivable and service.data_folder is not None
        }

    async def plan(self, context: OperationContext, arguments: ArchiveArguments) -> Plan:
        """How many files and bytes would go, and what that really frees.

        Raises:
            NotFound: no such service, or it has no file that is old enough, or its disk is filling
                and they are too little to matter.
            Invalid: the service declares nothing that may be archived.
            Unavailable: a folder or the disk can't be read.
        """
        service = find(context.infrastructure, arguments.service)
        assert service.data_folder is not None
        cutoff = context.clock.now() - timedelta(days=self._policy.archive_age_days)
        found = await self._look(service, cutoff)
        folders = ", ".join(path.name for path in service.archivable)
        if not found.files:
            raise NotFound(
                f"{service.name} has no files older than {self._policy.archive_age_days:g} days in "
                f"{folders}: archiving would free nothing."
            )
        disk = await context.infrastructure.disk(service.data_folder)
        freed = _freed(found, disk)
        if (
            self._fills(disk)
            and freed < disk.total_bytes * self._policy.archive_least_percent / 100
        ):
            raise NotFound(
                f"The disk of {service.name} is filling, and archiving its {len(found.files)} old "
                f"files would free {mebibytes(freed)}, which mends nothing: a person must find "
                "what takes the room."
            )
        return Plan(
            target=f"{service.name}:data",
            summary=f"Archive {len(found.files)} old files of {service.name}",
            diff=self._diff(found, disk, folders, freed),
            state={
                "cutoff": cutoff.isoformat(),
                "digest": found.digest,
                "files": len(found.files),
                "bytes": found.total_bytes,
                "freed_bytes": freed,
                "free_bytes": disk.free_bytes,
            },
            region={
                "kind": "data",
                "adapter": context.infrastructure.fleet().environment,
                "service_kind": service.kind,
                "same_filesystem": found.same_filesystem,
                "files": len(found.files),
                "bytes": found.total_bytes,
            },
        )

    async def precondition(
        self, context: OperationContext, arguments: ArchiveArguments, plan: Plan
    ) -> Check:
        """Whether the same files are old, unchanged and there."""
        service = find(context.infrastructure, arguments.service)
        found = await self._look(service, _cutoff(plan))
        if found.digest != plan.state.get("digest"):
            return Check(
                ok=False,
                text=f"The old files of {service.name} have changed since the plan: there were "
                f"{plan.state.get('files')}, now there are {len(found.files)} or others.",
                measured={"files": len(found.files)},
            )
        return Check(ok=True, text=f"The {len(found.files)} planned files are unchanged.")

    async def apply(
        self, context: OperationContext, arguments: ArchiveArguments, plan: Plan, key: str
    ) -> dict[str, Any]:
        """Write and read back the archive under *key*, then remove the originals.

        Done again after a crash it begins anew before the archive's record, and after it removes
        what is left; what was freed is then measured from the plan on.

        Raises:
            Conflict: the planned files have changed; nothing was moved.
            Unavailable: no room or no right to write; every original stands.
        """
        service = find(context.infrastructure, arguments.service)
        assert service.data_folder is not None
        before = await context.infrastructure.disk(service.data_folder)
        found = await self._look(service, _cutoff(plan))
        made = await asyncio.to_thread(read_archive, self._folder, key)
        if made is None and found.digest != plan.state.get("digest"):
            await asyncio.to_thread(discard_unrecorded, self._folder, key)
            raise Conflict(f"The old files of {service.name} have changed since the plan.")
        record = await asyncio.to_thread(
            write_archive, found, self._folder, key, compress=found.same_filesystem
        )
        free = before.free_bytes if made is None else plan.state["free_bytes"]
        return {**record.summary(), "free_before": free}

    async def observe(
        self, context: OperationContext, arguments: ArchiveArguments, plan: Plan, key: str
    ) -> Observation:
        """Done once the archive's record stands beside the exact archive and says so."""
        return await asyncio.to_thread(observe_archive, self._folder, key)

    async def verify(
        self,
        context: OperationContext,
        arguments: ArchiveArguments,
        plan: Plan,
        effect: dict[str, Any],
    ) -> Check:
        """Whether the disk has more room than before and the archive is whole."""
        service = find(context.infrastructure, arguments.service)
        assert service.data_folder is not None
        now = await context.infrastructure.disk(service.data_folder)
        before = int(effect.get("free_before", plan.state["free_bytes"]))
        gained = now.free_bytes - before
        share = 100.0 * now.free_bytes / now.total_bytes if now.total_bytes else 0.0
        measured: dict[str, Any] = {
            "free_before": before,
            "free_after": now.free_bytes,
            "free_percent": round(share, 1),
        }
        key = str(effect.get("key", ""))
        if key:
            whole = await asyncio.to_thread(observe_archive, self._folder, key)
            measured["archive"] = "whole" if whole == "done" else "broken"
            if whole != "done":
                return Check(
                    ok=False, text="The archive is not what was written.", measured=measured
                )
        if gained <= 0:
            return Check(
                ok=False,
                text=f"Nothing was freed: {mebibytes(now.free_bytes)} are free, "
                f"{mebibytes(before)} were.",
                measured=measured,
            )
        archive = ", and the archive is whole" if key else ""
        return Check(
            ok=True,
            text=f"{mebibytes(gained)} were freed: {share:.1f} % ({mebibytes(now.free_bytes)}) of "
            f"the data of {service.name} is free now{archive}.",
            measured=measured,
        )

    async def undo(
        self,
        context: OperationContext,
        arguments: ArchiveArguments,
        plan: Plan,
        effect: dict[str, Any],
        key: str,
    ) -> Check:
        """Put every file back byte-identical; the archive stays."""
        record = await asyncio.to_thread(read_archive, self._folder, key)
        if record is None:
            return Check(ok=False, text=f"There is no archive {key} to restore from.")
        try:
            report = await asyncio.to_thread(restore_archive, record)
        except CapabilityError as error:
            return Check(ok=False, text=error.message)
        back = len(report.restored) + len(report.already_there)
        if not report.complete:
            first = report.kept[0]
            return Check(
                ok=False,
                text=f"{back} of {len(record.files)} files are back; {first.path}: {first.reason}.",
                measured={"restored": back, "kept": len(report.kept)},
            )
        return Check(
            ok=True,
            text=f"All {back} files are back where they were, byte for byte.",
            measured={"restored": len(report.restored), "already_there": len(report.already_there)},
        )

    def _fills(self, disk: DiskFacts) -> bool:
        return disk.free_bytes < disk.total_bytes * self._policy.disk_free_percent / 100

    async def _look(self, service: ServiceSpec, cutoff: datetime) -> ArchivePlan:
        return await asyncio.to_thread(
            plan_archive, list(service.archivable), cutoff, destination=self._folder
        )

    def _diff(self, found: ArchivePlan, disk: DiskFacts, folders: str, freed: int) -> list[str]:
        archive = "one compressed archive" if found.same_filesystem else "one archive"
        about = "about " if found.same_filesystem else ""
        lines = [
            f"- {len(found.files)} files, {mebibytes(found.total_bytes)}, in {folders}, untouched "
            f"for {self._policy.archive_age_days:g} days",
            *(f"-   {f.relative} ({mebibytes(f.size)})" for f in found.files[:NAMED_FILES]),
        ]
        if len(found.files) > NAMED_FILES:
            lines.append(f"-   and {len(found.files) - NAMED_FILES} more")
        size = f"{about}{mebibytes(found.archive_bytes)}"
        lines.append(f"+ {archive} with checksums in {self._folder} ({size})")
        then = 100.0 * (disk.free_bytes + freed) / disk.total_bytes if disk.total_bytes else 0.0
        now = 100.0 * disk.free_bytes / disk.total_bytes if disk.total_bytes else 0.0
        frees = f"{'' if disk.limited else about}{mebibytes(freed)}"
        lines.append(f"  frees {frees}: {now:.1f} % are free now, about {then:.1f} % then")
        if found.same_filesystem:
            lines.append(
                f"  the archive lies on the same filesystem and takes {size} of it"
                + (", not of the folder's own limit" if disk.limited else "")
            )
        lines += _skipped(found)
        return lines


def find(infrastructure: Infrastructure, name: str) -> ServiceSpec:
    """The described service, if it declares something archivable.

    Raises:
        NotFound: no such service; names those that can be archived.
        Invalid: it declares nothing that may be archived.
    """
    fleet = infrastructure.fleet()
    able = ", ".join(s.name for s in fleet.services if s.archivable and s.data_folder) or "none"
    service = fleet.service(name)
    if service is None:
        raise NotFound(f"There is no service {name}. Services with archivable data: {able}.")
    if not service.archivable or service.data_folder is None:
        raise Invalid(
            f"{name} declares no folder whose old files may be archived. Services that do: {able}."
        )
    return service


def _freed(found: ArchivePlan, disk: DiskFacts) -> int:
    """What the watched disk gains: a folder's own limit isn't charged for the archive."""
    return found.disk_bytes if disk.limited else found.freed_bytes


def _cutoff(plan: Plan) -> datetime:
    return datetime.fromisoformat(plan.state["cutoff"])


def _skipped(found: ArchivePlan) -> Sequence[str]:
    if not found.skipped:
        return ()
    first = found.skipped[0]
    more = f", and {len(found.skipped) - 1} more" if len(found.skipped) > 1 else ""
    return (f"  stays: {first.path} ({first.reason}){more}",)
