"""Schema upgrades: control database, template and every tenant, one upgrader at a time.

A database newer than this release knows is left alone within the declared range (`families.py`) and
refused outside it, before anything is changed.
"""

from dataclasses import dataclass

from sqlalchemy import URL, Connection, func, select, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession

from memory import library_tables, provision
from memory.database import Database, read_url
from memory.errors import SchemaMismatch, StoreError
from memory.families import FAMILIES, Family
from memory.tables.identity import TenantRecord
from memory.upgrade_lease import LEASE_TABLE, ensure_lease_table, refuse_if_forbidden, upgrader

VERSION_TABLE = "alembic_version"


@dataclass(frozen=True)
class DatabaseStatus:
    """Where one database's schema stands."""

    name: str
    revision: int | None
    """None: it has no schema yet, or can't be read."""
    head: int
    """Newest revision this release brings."""
    lowest: int
    highest: int
    """The range this release runs on."""
    ok: bool
    """Whether this release runs on it as it is."""
    note: str


@dataclass(frozen=True)
class _Target:
    """One database to look after."""

    url: str
    family: Family
    label: str


async def upgrade(control_url: str) -> list[str]:
    """Bring every database to this release's newest revision; a line for each thing done.

    Creates the control database, the template and the first tenant's database where missing. A
    tenant database that is missing or can't be reached is reported in a line and in `status`; the
    others go on.

    Raises:
        SchemaMismatch: a database is newer than this release's range; nothing was changed.
        StoreUnavailable: the server can't be reached, or another upgrade runs for over 300 s.
        StoreError: the URL is wrong, the user may not create databases, or the control database
            holds somebody else's tables.
    """
    done: list[str] = []
    if await provision.ensure_control_database(control_url):
        done.append(f"{read_url(control_url).database}: created")
    control = Database(control_url, pool_size=2)
    try:
        await _refuse_foreign(control)
        _refuse_outside(await status(control_url))
        if await _is_current(control, control_url):
            return done
        await ensure_lease_table(control)
        async with upgrader(control) as still_holding:
            done += await _bring(_Target(control_url, FAMILIES["control"], "control"))
            for target in await _targets(control, control_url, create=done):
                await still_holding()
                try:
                    done += await _bring(target)
                except StoreError as error:
                    if target.label == "template" or isinstance(error, SchemaMismatch):
                        raise
                    done.append(f"{target.label}: NOT UPGRADED. {error}")
    finally:
        await control.dispose()
    return done


async def status(control_url: str) -> list[DatabaseStatus]:
    """The schema of every database, control first; one that can't be read says so in its note.

    Raises:
        StoreUnavailable: the control database's server can't be reached.
        StoreError: the URL is wrong, or the server refused the user.
    """
    url = read_url(control_url)
    assert url.database
    async with provision.connection_beside(url) as server:
        there = await provision.exists(server, url.database)
    found = []
    targets = [_Target(control_url, FAMILIES["control"], "control")]
    if not there:
        return [_judge(targets[0], None, "It doesn't exist yet; run `academy db upgrade`.")]
    control = Database(control_url, pool_size=1)
    try:
        found.append(await _read_status(targets[0]))
        template = url.set(database=provision.template_name(url.database))
        targets = [_Target(_text(template), FAMILIES["tenant"], "template")]
        if found[0].revision is not None:
            targets += await _tenant_targets(control, control_url)
        found += [await _read_status(target) for target in targets]
    finally:
        await control.dispose()
    return found


async def _is_current(control: Database, control_url: str) -> bool:
    """Whether nothing is left to do, the first tenant's database included."""
    for entry in await status(control_url):
        if entry.revision is None or entry.revision < entry.head or entry.note:
            return False
    if await _tenant_targets(control, control_url):
        return True
    async with provision.connection(read_url(control_url)) as server:
        return await provision.exists(
            server, provision.tenant_database_name(control.name, provision.FIRST_SLUG)
        )


async def _read_status(target: _Target) -> DatabaseStatus:
    database = Database(target.url, pool_size=1)
    try:
        async with database.unit_of_work() as session:
            revision = await _revision(database, session)
            if revision is None:
                return _judge(target, None, "It has no schema yet; run `academy db upgrade`.")
            library = library_tables.LIBRARIES[target.family.name]
            carried = await library_tables.carried(session, library)
            installed = library_tables.installed(library)
            note = ""
            if carried is None or library_tables.older(carried, installed):
                note = (
                    f"Tables of {library} {carried or '(none)'} are older than the library"
                    f" ({installed}); run `academy db upgrade`."
                )
            return _judge(target, revision, note)
    except StoreError as error:
        return _judge(target, None, str(error))
    finally:
        await database.dispose()


def _judge(target: _Target, revision: int | None, note: str) -> DatabaseStatus:
    family = target.family
    name = read_url(target.url).database or target.label
    ok = revision is not None and family.lowest <= revision <= family.highest
    if revision is not None and not ok:
        what = (
            "start the release it was upgraded by, or restore a backup from before"
            if revision > family.highest
            else "run `academy db upgrade`"
        )
        note = (
            f"{name} ({target.label}) carries schema revision {revision:04d}, and this release runs"
            f" on {family.name} revisions {family.lowest:04d} to {family.highest:04d}: {what}."
        )
    elif revision is not None and not note and revision < family.head:
        note = f"Revision {family.head:04d} is due; run `academy db upgrade`."
    return DatabaseStatus(
        name=name,
        revision=revision,
        head=family.head,
        lowest=family.lowest,
        highest=family.highest,
        ok=ok,
        note=note,
    )


def _refuse_outside(found: list[DatabaseStatus]) -> None:
    for entry in found:
        if entry.revision is not None and entry.revision > entry.highest:
            raise SchemaMismatch(entry.note)


async def _revision(database: Database, session: AsyncSession) -> int | None:
    """The revision a database carries, or None where it has no schema."""
    if await session.scalar(select(func.to_regclass(VERSION_TABLE))) is None:
        return None
    name = await session.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
    if name is None:
        return None
    if not str(name).isdigit():
        raise SchemaMismatch(
            f"{database.name} carries the schema revision {name!r}, which isn't one of the"
            " academy's; name a database of its own."
        )
    return int(name)


async def _refuse_foreign(control: Database) -> None:
    """A database that holds somebody else's tables isn't taken over."""
    async with control.unit_of_work() as session:
        if await _revision(control, session) is not None:
            return
        names = (
            await session.scalars(
                text(
                    "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
                    " AND tablename <> ALL(:ours) ORDER BY 1 LIMIT 4"
                ),
                {"ours": [LEASE_TABLE.name, VERSION_TABLE]},
            )
        ).all()
    if names:
        raise StoreError(
            f"The database {control.name} holds tables that aren't the academy's"
            f" ({', '.join(names)}); name an empty database, or one that doesn't exist yet."
        )


async def _targets(control: Database, control_url: str, *, create: list[str]) -> list[_Target]:
    """Template and tenants in order; makes the template and the first tenant's database.

    What was made is added to *create*.
    """
    url = read_url(control_url)
    assert url.database
    template = url.set(database=provision.template_name(url.database))
    assert template.database
    family = FAMILIES["tenant"]
    async with provision.connection(url) as server:
        if await provision.create(server, template.database):
            create.append(f"{template.database}: created")
    tenants = await _tenant_targets(control, control_url)
    if not tenants:
        # Upgraded first, because it is what the first tenant is cloned from.
        first = _Target(_text(template), family, "template")
        create += await _bring(first)
        name = provision.tenant_database_name(url.database, provision.FIRST_SLUG)
        if await provision.create_tenant_database(control_url, name):
            create.append(f"{name}: cloned from {template.database}")
        tenants = [_Target(_text(url.set(database=name)), family, "first tenant")]
    return [_Target(_text(template), family, "template"), *tenants]


async def _tenant_targets(control: Database, control_url: str) -> list[_Target]:
    async with control.unit_of_work() as session:
        rows = (
            await session.execute(
                select(TenantRecord.slug, TenantRecord.database, TenantRecord.server_url).order_by(
                    TenantRecord.created_at
                )
            )
        ).all()
    return [
        _Target(
            _text(read_url(server or control_url).set(database=database)),
            FAMILIES["tenant"],
            f"tenant {slug}",
        )
        for slug, database, server in rows
    ]


def _text(url: URL) -> str:
    """A URL as text, password included."""
    return url.render_as_string(hide_password=False)


async def _bring(target: _Target) -> list[str]:
    """Bring one database to the newest revision, all of it or nothing."""
    done = []
    database = Database(target.url, pool_size=1)
    try:
        async with database.unit_of_work() as session:
            before = await _revision(database, session)
            if before is None or before < target.family.head:
                connection = await session.connection()
                if before is not None:
                    # Should the lease have run out meanwhile, the other upgrader waits here.
                    await session.execute(text(f"LOCK TABLE {VERSION_TABLE}"))
                await connection.run_sync(_run_revisions, target.family)
                came = f"from {before:04d}" if before is not None else "from nothing"
                done.append(f"{database.name}: revision {target.family.head:04d} ({came})")
        line = await library_tables.bring_up_to_date(database, target.family.name)
        if line:
            done.append(line)
    except ProgrammingError as error:
        refuse_if_forbidden(error, database)
        raise
    finally:
        await database.dispose()
    return done


def _run_revisions(connection: Connection, family: Family) -> None:
    from alembic import command  # 0.8 s, and needed only when there is something to do
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(family.folder).replace("%", "%%"))
    command.upgrade(config, "head")
