"""Every query of the identity room."""

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, TypeVar, cast, get_args

from sqlalchemy import Boolean, Select, String, bindparam, case, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from memory.ids import new_id
from memory.tables.identity import (
    ApiKey,
    Membership,
    Person,
    SessionRecord,
    SignInFailure,
    SignInLink,
    TenantRecord,
)
from memory.tables.leases import Lease
from tools.identity.hosts import HostMeaning
from tools.kit.deps import Caller, Role

LOCKS = 64
"""Sign-ins of one address or e-mail wait for each other on one of this many lock rows."""
EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def token_hash(token: str) -> str:
    """What is stored of a random token: its SHA-256 (hex); guessing 256 bits needs no salt."""
    return hashlib.sha256(token.encode()).hexdigest()


KNOWN_ROLES = frozenset(get_args(Role)) - {"operator"}
"""What a membership may say; being an operator is the person's own."""
R = TypeVar("R", SessionRecord, ApiKey)


@dataclass(frozen=True)
class Bearer(Generic[R]):
    """A session or key with everything that decides who its bearer is."""

    record: R
    person: Person
    tenant: TenantRecord
    roles: frozenset[str]
    here: bool
    """Whether the host that was asked belongs to the record's tenant."""


def _bearer_query(record: type[SessionRecord] | type[ApiKey]) -> Select[Any]:
    """A record by `hashed` with its bearer; `first` and `slug` say which tenant was asked."""
    roles = (
        select(func.array_agg(Membership.role))
        .where(Membership.person_id == record.person_id, Membership.tenant_id == record.tenant_id)
        .scalar_subquery()
    )
    others = aliased(TenantRecord)
    oldest = select(others.id).order_by(others.created_at, others.id).limit(1).scalar_subquery()
    here = case(
        (bindparam("first", type_=Boolean), TenantRecord.id == oldest),
        else_=TenantRecord.slug == bindparam("slug", type_=String),
    )
    return (
        select(record, Person, TenantRecord, roles, here)
        .join(Person, Person.id == record.person_id)
        .join(TenantRecord, TenantRecord.id == record.tenant_id)
        .where(record.token_hash == bindparam("hashed"))
    )


# Built once: every page asks one of these, and building it costs more than the answer.
SESSION_BEARER = _bearer_query(SessionRecord)
KEY_BEARER = _bearer_query(ApiKey)


def caller_of(bearer: Bearer[Any], *, via: Literal["session", "key"]) -> Caller:
    """The caller a session or key stands for; without roles where its person has none here."""
    roles = set(bearer.roles) & KNOWN_ROLES
    if bearer.person.operator:
        roles.add("operator")
    return Caller(
        tenant_id=bearer.tenant.id,
        tenant_slug=bearer.tenant.slug,
        person_id=bearer.person.id,
        name=bearer.person.name,
        roles=cast(frozenset[Role], frozenset(roles)),
        fleet=bearer.tenant.fleet,
        via=via,
    )


class IdentityRepository:
    """Queries over one session."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    def add(self, row: Person | SignInLink | SessionRecord | ApiKey) -> None:
        """Put a new row into the unit of work."""
        self.session.add(row)

    async def database_name(self) -> str:
        """Name of the control database."""
        return str(await self.session.scalar(select(func.current_database())))

    async def first_tenant(self) -> TenantRecord | None:
        """The tenant that was there first."""
        oldest = select(TenantRecord).order_by(TenantRecord.created_at, TenantRecord.id)
        return await self.session.scalar(oldest.limit(1))

    async def tenant(self, tenant_id: str) -> TenantRecord | None:
        """One tenant."""
        return await self.session.scalar(select(TenantRecord).where(TenantRecord.id == tenant_id))

    async def tenant_of(self, meaning: HostMeaning) -> TenantRecord | None:
        """The tenant a host name means."""
        if meaning.first:
            return await self.first_tenant()
        if meaning.slug is None:
            return None
        return await self.session.scalar(
            select(TenantRecord).where(TenantRecord.slug == meaning.slug)
        )

    async def add_tenant(self, tenant: TenantRecord) -> bool:
        """Insert a tenant; False when the slug is there already, by somebody else's hand."""
        values = {
            column.key: getattr(tenant, column.key) for column in TenantRecord.__table__.columns
        }
        added = await self.session.execute(
            insert(TenantRecord)
            .values(values)
            .on_conflict_do_nothing(index_elements=["slug"])
            .returning(TenantRecord.id)
        )
        return added.scalar_one_or_none() is not None

    async def first_operator(self) -> Person | None:
        """The operator who was there first."""
        return await self.session.scalar(
            select(Person).where(Person.operator).order_by(Person.created_at, Person.id).limit(1)
        )

    async def person(self, person_id: str, *, lock: bool = False) -> Person | None:
        """One person."""
        query = select(Person).where(Person.id == person_id)
        return await self.session.scalar(query.with_for_update() if lock else query)

    async def person_by_email(self, email: str) -> Person | None:
        """The person who signs in with an e-mail (stored in lower case)."""
        return await self.session.scalar(select(Person).where(Person.email == email))

    async def give_credentials(self, person_id: str, email: str, password_hash: str) -> bool:
        """Set a person's e-mail and password hash; False when the e-mail is somebody else's."""
        try:
            async with self.session.begin_nested():
                await self.session.execute(
                    update(Person)
                    .where(Person.id == person_id)
                    .values(email=email, password_hash=password_hash)
                )
        except IntegrityError:
            return False
        return True

    async def roles(self, person_id: str, tenant_id: str) -> frozenset[str]:
        """A person's roles in a tenant."""
        return frozenset(
            await self.session.scalars(
                select(Membership.role).where(
                    Membership.person_id == person_id, Membership.tenant_id == tenant_id
                )
            )
        )

    async def add_role(self, person_id: str, tenant_id: str, role: str) -> None:
        """Give a person a role in a tenant; fine if they have it."""
        await self.session.execute(
            insert(Membership)
            .values(person_id=person_id, tenant_id=tenant_id, role=role)
            .on_conflict_do_nothing()
        )

    async def use_link(self, hashed: str, now: datetime) -> str | None:
        """Use a link up; its person's id, or None where it can't be used. One racer wins."""
        return await self.session.scalar(
            update(SignInLink)
            .where(
                SignInLink.token_hash == hashed,
                SignInLink.used_at.is_(None),
                SignInLink.expires_at > now,
            )
            .values(used_at=now)
            .returning(SignInLink.person_id)
        )

    async def link(self, hashed: str) -> SignInLink | None:
        """A link, used or not."""
        return await self.session.get(SignInLink, hashed, populate_existing=True)

    async def forget_links_before(self, moment: datetime) -> None:
        """Delete links that expired before *moment*."""
        await self.session.execute(delete(SignInLink).where(SignInLink.expires_at < moment))

    async def session_bearer(
        self, token: str, meaning: HostMeaning
    ) -> Bearer[SessionRecord] | None:
        """The session of a cookie with person, tenant and roles, in one query."""
        return await self._bearer(SESSION_BEARER, token, meaning)

    async def key_bearer(self, token: str, meaning: HostMeaning) -> Bearer[ApiKey] | None:
        """An API key with person, tenant and roles, in one query."""
        return await self._bearer(KEY_BEARER, token, meaning)

    async def _bearer(
        self, query: Select[Any], token: str, meaning: HostMeaning
    ) -> Bearer[Any] | None:
        asked = {"hashed": token_hash(token), "first": meaning.first, "slug": meaning.slug or ""}
        row = (await self.session.execute(query, asked)).one_or_none()
        if row is None:
            return None
        found, person, tenant, names, here = row
        return Bearer(found, person, tenant, frozenset(names or ()), bool(here))

    async def extend_session(self, hashed: str, expires_at: datetime) -> None:
        """Move a session's end."""
        await self.session.execute(
            update(SessionRecord)
            .where(SessionRecord.token_hash == hashed, SessionRecord.revoked_at.is_(None))
            .values(expires_at=expires_at)
        )

    async def revoke_session(self, hashed: str, person_id: str | None, now: datetime) -> bool:
        """End one session of a person; whether it was open."""
        ended = await self.session.execute(
            update(SessionRecord)
            .where(
                SessionRecord.token_hash == hashed,
                SessionRecord.person_id == person_id,
                SessionRecord.revoked_at.is_(None),
            )
            .values(revoked_at=now)
            .returning(SessionRecord.token_hash)
        )
        return ended.scalar_one_or_none() is not None

    async def revoke_sessions(self, person_id: str, *, but: str | None, now: datetime) -> int:
        """End every open session of a person but one; how many."""
        ended = await self.session.scalars(
            update(SessionRecord)
            .where(
                SessionRecord.person_id == person_id,
                SessionRecord.token_hash != (but or ""),
                SessionRecord.revoked_at.is_(None),
                SessionRecord.expires_at > now,
            )
            .values(revoked_at=now)
            .returning(SessionRecord.token_hash)
        )
        return len(ended.all())

    async def forget_sessions_before(self, person_id: str, moment: datetime) -> None:
        """Delete a person's sessions that ended before *moment*."""
        await self.session.execute(
            delete(SessionRecord).where(
                SessionRecord.person_id == person_id, SessionRecord.expires_at < moment
            )
        )

    async def key(self, key_id: str, *, lock: bool = False) -> ApiKey | None:
        """One key."""
        query = select(ApiKey).where(ApiKey.id == key_id)
        return await self.session.scalar(query.with_for_update() if lock else query)

    async def keys_of(self, person_id: str, tenant_id: str) -> Sequence[ApiKey]:
        """A person's keys in a tenant, newest first, revoked ones included."""
        found = await self.session.scalars(
            select(ApiKey)
            .where(ApiKey.person_id == person_id, ApiKey.tenant_id == tenant_id)
            .order_by(ApiKey.created_at.desc(), ApiKey.id)
        )
        return found.all()

    async def record_key_use(self, key_id: str, now: datetime, *, at_most_every: timedelta) -> None:
        """Write when a key was last used, unless that was written a moment ago."""
        await self.session.execute(
            update(ApiKey)
            .where(
                ApiKey.id == key_id,
                func.coalesce(ApiKey.last_used_at, EPOCH) <= now - at_most_every,
            )
            .values(last_used_at=now)
        )

    async def hold_sign_ins(self, subjects: Sequence[str]) -> None:
        """Let sign-ins of the same address or e-mail wait for each other until the commit.

        Without it a burst of parallel guesses would all be judged before the first is counted.
        """
        names = sorted({f"signin:{zlib.crc32(s.encode()) % LOCKS:02d}" for s in subjects})
        await self.session.execute(
            insert(Lease)
            .values([{"name": n, "owner": "", "expires_at": EPOCH, "fence": 0} for n in names])
            .on_conflict_do_nothing()
        )
        await self.session.execute(
            select(Lease.name).where(Lease.name.in_(names)).order_by(Lease.name).with_for_update()
        )

    async def failures(
        self, subjects: Sequence[str], since: datetime
    ) -> dict[str, tuple[int, datetime]]:
        """Failed sign-ins since a moment: how many, and when the first was, by subject."""
        found = await self.session.execute(
            select(SignInFailure.subject, func.count(), func.min(SignInFailure.at))
            .where(SignInFailure.subject.in_(subjects), SignInFailure.at > since)
            .group_by(SignInFailure.subject)
        )
        return {subject: (count, first) for subject, count, first in found}

    async def record_failure(
        self, subjects: Sequence[str], now: datetime, *, forget_before: datetime
    ) -> None:
        """Count a failed sign-in, and forget those that no longer count."""
        await self.session.execute(delete(SignInFailure).where(SignInFailure.at < forget_before))
        self.session.add_all(
            SignInFailure(id=new_id("sif"), subject=subject, at=now) for subject in subjects
        )

    async def forget_failures(self, subject: str) -> None:
        """A success wipes the slate of one subject."""
        await self.session.execute(delete(SignInFailure).where(SignInFailure.subject == subject))
