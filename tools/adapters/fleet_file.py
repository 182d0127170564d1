"""Reads `fleet.toml`: which services there are, and how each of their replicas is started.

The academy's own processes are not in the file; they are appended as services of kind `academy`.
"""

import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from tools.kit.errors import Invalid
from tools.kit.infrastructure import Fleet, ReplicaSpec, ServiceSpec

MEBIBYTE = 1024 * 1024
ACADEMY_NAMES = frozenset(
    {"front", "web", "agents", "healer", "postgres", "academy", "supervisord"}
)

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
Title = Annotated[str, StringConstraints(min_length=1, max_length=80)]
Module = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")]
HttpPath = Annotated[str, StringConstraints(pattern=r"^/[^\s#]*$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FleetHead(_Strict):
    """The `[fleet]` table."""

    title: Title


class ServiceEntry(_Strict):
    """One `[[service]]` table."""

    name: Name
    title: Title
    program: Module
    """Python module started once per replica (`python -m`)."""
    replicas: int = Field(default=1, ge=1, le=50)
    http: bool = True
    """Whether each replica answers HTTP on a port of its own."""
    health_path: HttpPath | None = None
    depends_on: list[Name] = []
    data_folder: str | None = None
    """Relative to the academy's home."""
    data_limit_mb: int | None = Field(default=None, ge=1, le=1_000_000)
    """Mebibytes the service may keep in its data folder."""
    archivable: list[str] = []
    """Folders below the data folder whose old files may be archived."""
    minimum_healthy: int = Field(default=0, ge=0)


class FleetText(_Strict):
    """The whole file."""

    fleet: FleetHead
    service: list[ServiceEntry] = []


@dataclass(frozen=True)
class ReplicaProgram:
    """What the launcher starts for one replica."""

    name: str
    argv: tuple[str, ...]
    service: str


def read_text(path: Path) -> FleetText:
    """The checked contents of the file at *path*.

    Raises:
        Invalid: it can't be read or says something wrong; names file, place and what is right.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Invalid(f"{path} does not exist; `academy up` writes one.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{path} can't be read: {error}.") from error
    try:
        parsed = FleetText.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"{path} is not valid TOML: {error}.") from error
    except ValidationError as error:
        first, *rest = error.errors(include_url=False)
        more = f" (and {len(rest)} more to correct)" if rest else ""
        raise Invalid(f"{path}{_place(text, first)}: {_sentence(first)}{more}") from error
    _check_relations(path, text, parsed)
    return parsed


def read_fleet(path: Path, home: Path, ports: Mapping[str, int]) -> Fleet:
    """The fleet of the file at *path*, with the academy's own processes appended.

    Args:
        path: the `fleet.toml`.
        home: the academy's home, which data folders are relative to.
        ports: loopback port per replica; a replica without one gets no URL.

    Raises:
        Invalid: as `read_text`.
    """
    entries = read_text(path).service
    services = tuple(_service(entry, home, ports) for entry in entries)
    return Fleet(services=services + academy_services(ports))


def academy_services(ports: Mapping[str, int]) -> tuple[ServiceSpec, ...]:
    """The academy's own processes as services; the web replicas are those that have ports."""
    webs = sorted((n for n in ports if re.fullmatch(r"web-\d+", n)), key=lambda n: int(n[4:]))
    described: tuple[tuple[str, str, Sequence[str], str | None, tuple[str, ...]], ...] = (
        ("front", "Front door", ("front",), "/front/healthz", ("web",)),
        ("web", "Pages and API", webs or ("web-1", "web-2"), "/healthz", ("postgres",)),
        ("agents", "Agents", ("agents",), None, ("postgres",)),
        ("healer", "Healer", ("healer",), None, ()),
        ("postgres", "PostgreSQL", ("postgres",), None, ()),
    )
    return tuple(
        ServiceSpec(
            name=name,
            title=title,
            kind="academy",
            replicas=tuple(
                ReplicaSpec(
                    service=name,
                    name=replica,
                    program=replica,
                    url=_url(ports.get(replica)) if path else None,
                )
                for replica in replicas
            ),
            health_path=path,
            depends_on=depends_on,
            minimum_healthy=1 if len(replicas) > 1 else 0,
        )
        for name, title, replicas, path, depends_on in described
    )


def replica_names(path: Path, *, with_port: bool = False) -> list[str]:
    """Names of all replicas the file describes, in order; *with_port*: only those that need one.

    Raises:
        Invalid: as `read_text`.
    """
    return [
        f"{entry.name}-{number}"
        for entry in read_text(path).service
        if entry.http or not with_port
        for number in range(1, entry.replicas + 1)
    ]


def programs(
    path: Path, home: Path, ports: Mapping[str, int], *, database_url: str
) -> list[ReplicaProgram]:
    """What to start for each replica of the file, in order.

    Every program takes `--home H --replica NAME`, and where it applies `--port N`, `--data FOLDER`,
    `--data-limit BYTES`, `--database-file F`. *database_url* (of any database on the server; a
    program picks its own) is written to that file, mode 0600, because argument lists are readable
    by every user of the machine. Data folders are made here.

    Raises:
        Invalid: as `read_text`, or a replica that needs a port has none in *ports*.
        OSError: the home can't be written.
    """
    entries = read_text(path).service
    missing = [name for name in replica_names(path, with_port=True) if name not in ports]
    if missing:
        raise Invalid(f"No port was allocated for {', '.join(missing)}.")
    secret = home / "run" / "campus.database"
    if entries:
        secret.parent.mkdir(parents=True, exist_ok=True)
        secret.unlink(missing_ok=True)
        secret.touch(mode=0o600)
        secret.write_text(database_url + "\n", encoding="utf-8")
    found: list[ReplicaProgram] = []
    for entry in entries:
        service = _service(entry, home, ports)
        for folder in (service.data_folder, *service.archivable):
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
        for replica in service.replicas:
            # -P: nothing in the working folder may stand in for a module of ours.
            argv = [sys.executable, "-P", "-m", entry.program, "--home", str(home)]
            argv += ["--replica", replica.name]
            if entry.http:
                argv += ["--port", str(ports[replica.name])]
            if service.data_folder is not None:
                argv += ["--data", str(service.data_folder)]
            if service.data_limit_bytes is not None:
                argv += ["--data-limit", str(service.data_limit_bytes)]
            argv += ["--database-file", str(secret)]
            found.append(ReplicaProgram(name=replica.name, argv=tuple(argv), service=entry.name))
    return found


def _service(entry: ServiceEntry, home: Path, ports: Mapping[str, int]) -> ServiceSpec:
    folder = home / entry.data_folder if entry.data_folder is not None else None
    names = [f"{entry.name}-{number}" for number in range(1, entry.replicas + 1)]
    return ServiceSpec(
        name=entry.name,
        title=entry.title,
        kind="fleet",
        replicas=tuple(
            ReplicaSpec(
                service=entry.name,
                name=name,
                program=name,
                url=_url(ports.get(name)) if entry.http else None,
            )
            for name in names
        ),
        health_path=entry.health_path,
        depends_on=tuple(entry.depends_on),
        data_folder=folder,
        archivable=tuple(folder / part for part in entry.archivable) if folder else (),
        data_limit_bytes=entry.data_limit_mb * MEBIBYTE if entry.data_limit_mb else None,
        minimum_healthy=entry.minimum_healthy,
    )


def _url(port: int | None) -> str | None:
    return f"http://127.0.0.1:{port}" if port else None


def _check_relations(path: Path, text: str, parsed: FleetText) -> None:
    """What one entry alone can't show: names, dependencies, folders, numbers that fit together."""
    names = [entry.name for entry in parsed.service]
    replicas: dict[str, str] = {}
    for index, entry in enumerate(parsed.service):

        def wrong(key: str, message: str, index: int = index) -> Invalid:
            return Invalid(f"{path}{_line(text, index, key)}: {message}")

        if entry.name in ACADEMY_NAMES or re.fullmatch(r"web-\d+", entry.name):
            raise wrong("name", f"`{entry.name}` is one of the academy's own names; pick another.")
        if names.index(entry.name) != index:
            raise wrong("name", f"the name `{entry.name}` is used twice; names are unique.")
        for number in range(1, entry.replicas + 1):
            replica = f"{entry.name}-{number}"
            if replica in replicas or replica in names:
                raise wrong("name", f"`{replica}` would name two programs; rename a service.")
            replicas[replica] = entry.name
        for other in entry.depends_on:
            if other not in names and other != "postgres":
                known = ", ".join(f"`{name}`" for name in [*names, "postgres"])
                raise wrong("depends_on", f"`{other}` is not a service; the known ones: {known}.")
            if other == entry.name:
                raise wrong("depends_on", f"`{other}` can't depend on itself.")
        if entry.http and entry.health_path is None:
            raise wrong("health_path", "an HTTP service needs one, such as `/healthz`.")
        if not entry.http and entry.health_path is not None:
            raise wrong("health_path", "only a service with `http = true` has one.")
        if entry.minimum_healthy > entry.replicas:
            raise wrong("minimum_healthy", f"it has {entry.replicas} replicas, no more can stay.")
        if entry.data_folder is None and (entry.archivable or entry.data_limit_mb):
            raise wrong("data_folder", "`archivable` and `data_limit_mb` need a `data_folder`.")
        for key, parts in (("data_folder", [entry.data_folder]), ("archivable", entry.archivable)):
            for part in parts:
                if part is not None and not _inside(part):
                    raise wrong(key, f"`{part}` must be a relative path without `..`.")


def _inside(part: str) -> bool:
    pure = PurePosixPath(part)
    return bool(pure.parts) and not pure.is_absolute() and ".." not in pure.parts


def _sentence(error: ErrorDetails) -> str:
    key = ".".join(str(part) for part in error["loc"])
    kind = error["type"]
    if kind == "extra_forbidden":
        known: Sequence[str] = ("fleet", "service")
        if len(error["loc"]) > 1:
            entry: type[BaseModel] = ServiceEntry if error["loc"][0] == "service" else FleetHead
            known = tuple(entry.model_fields)
        return f"`{key}` is not a known key; the known ones: {', '.join(known)}."
    if kind == "missing":
        return f"`{key}` is missing."
    if kind == "string_pattern_mismatch":
        pattern = error.get("ctx", {}).get("pattern", "")
        return f"`{key}` is {error['input']!r}, which doesn't match {pattern}."
    return f"`{key}` is {error['input']!r}: {error['msg'].lower()}."


def _place(text: str, error: ErrorDetails) -> str:
    loc = error["loc"]
    if len(loc) > 1 and loc[0] == "service" and isinstance(loc[1], int):
        return _line(text, loc[1], str(loc[2]) if len(loc) > 2 else "")
    return ""


def _line(text: str, service: int, key: str) -> str:
    """` line N` of *key* in the *service*-th table, or of the table itself where it has no such."""
    begin: int | None = None
    seen = -1
    for number, line in enumerate(text.splitlines(), start=1):
        if re.match(r"\s*\[\[\s*service\s*\]\]", line):
            seen += 1
            if seen == service:
                begin = number
        elif begin is not None and seen == service:
            if re.match(r"\s*\[", line):
                break
            if key and re.match(rf"\s*\"?{re.escape(key)}\"?\s*=", line):
                return f" line {number}"
    return f" line {begin}" if begin is not None else ""
