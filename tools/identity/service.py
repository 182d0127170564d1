"""Signing in and being recognised: links, passwords, sessions, keys and the tenant of a host.

Every function takes the control database's session first. Tokens are returned once and stored as
SHA-256; every change is written to the audit log.
"""

import re
import secrets
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from memory import audit
from memory.ids import new_id
from memory.provision import FIRST_SLUG, tenant_database_name
from memory.tables.identity import Person as Person
from memory.tables.identity import SessionRecord, SignInLink, TenantRecord
from tools.identity import policy
from tools.identity.errors import (
    BadEmail,
    BadPassword,
    EmailTaken,
    LinkRefused,
    SessionRefused,
    SignInFailed,
    TooManyAttempts,
    UnknownPerson,
)
from tools.identity.hosts import network_of, read_host
from tools.identity.keys import issue_key as issue_key
from tools.identity.keys import list_keys as list_keys
from tools.identity.keys import resolve_key as resolve_key
from tools.identity.keys import revoke_key as revoke_key
from tools.identity.membership import caller_now as caller_now
from tools.identity.passwords import hash_password, is_outdated, verify_password
from tools.identity.repository import IdentityRepository, caller_of, token_hash
from tools.identity.schemas import SessionInfo
from tools.kit.clock import Clock
from tools.kit.deps import Caller
from tools.kit.errors import Forbidden, Invalid

ENGINE = "engine:identity"
"""The audit log's name for what identity does by itself, such as the first academy."""
FIRST_NAME = "Dynasty Academy"
FIRST_ACCENT = "#2f5bea"
FIRST_PERSON = "Operator"
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


async def ensure_first_academy(session: AsyncSession, clock: Clock) -> tuple[TenantRecord, Person]:
    """The first tenant and its operator, made when missing; called twice, it makes them once.

    The tenant's database is there already: `memory.upgrade` makes it.
    """
    repository = IdentityRepository(session)
    now = clock.now()
    tenant = await repository.first_tenant()
    if tenant is None:
        name = tenant_database_name(await repository.database_name(), FIRST_SLUG)
        added = await repository.add_tenant(
            TenantRecord(
                id=new_id("ten"),
                slug=FIRST_SLUG,
                name=FIRST_NAME,
                database=name,
                server_url=None,
                theme={"accent": FIRST_ACCENT},
                fleet=True,
                created_at=now,
            )
        )
        tenant = await repository.first_tenant()
        assert tenant is not None
        if added:
            await audit.append(
                session,
                at=now,
                actor=ENGINE,
                kind="tenant.created",
                subject=tenant.id,
                body={"slug": tenant.slug, "database": tenant.database},
            )
    person = await repository.first_operator()
    if person is None:
        person = Person(
            id=new_id("per"),
            email=None,
            name=FIRST_PERSON,
            password_hash=None,
            operator=True,
            created_at=now,
        )
        repository.add(person)
        await session.flush()
        await repository.add_role(person.id, tenant.id, "staff")
        await audit.append(
            session,
            at=now,
            actor=ENGINE,
            kind="person.created",
            subject=person.id,
            body={"operator": True, "tenant": tenant.id, "roles": ["staff"]},
        )
    return tenant, person


async def tenant_for_host(session: AsyncSession, host: str) -> TenantRecord | None:
    """The tenant a host name means, or None.

    Loopback names, and the empty name of a unix socket, are the first tenant; `<slug>.localhost` is
    the tenant of that slug.
    """
    return await IdentityRepository(session).tenant_of(read_host(host))


async def issue_link(
    session: AsyncSession,
    person_id: str,
    *,
    clock: Clock,
    minutes: int = policy.LINK_MINUTES,
    caller: Caller | None = None,
) -> str:
    """The token of a sign-in link that works once within *minutes*; it is not kept.

    Without a *caller* it is the academy itself that asks, as it does when it starts.

    Raises:
        Forbidden: the caller asks for somebody else's link and is no operator.
        UnknownPerson: there is no such person.
        Invalid: more minutes than policy allows.
    """
    if not 1 <= minutes <= policy.LINK_MINUTES_MOST:
        raise Invalid(f"A link is good for 1 to {policy.LINK_MINUTES_MOST} minutes.")
    if caller is not None and caller.person_id != person_id and "operator" not in caller.roles:
        raise Forbidden("Only an operator makes sign-in links for other people.")
    repository = IdentityRepository(session)
    if await repository.person(person_id) is None:
        raise UnknownPerson(f"There is no person {person_id}.")
    now = clock.now()
    await repository.forget_links_before(now - timedelta(days=1))
    token = secrets.token_urlsafe(32)
    expires_at = now + timedelta(minutes=minutes)
    repository.add(
        SignInLink(
            token_hash=token_hash(token),
            person_id=person_id,
            created_at=now,
            expires_at=expires_at,
            used_at=None,
        )
    )
    await audit.append(
        session,
        at=now,
        actor=caller.actor if caller else ENGINE,
        kind="signin.link_issued",
        subject=person_id,
        body={"expires_at": expires_at.isoformat()},
    )
    return token


async def redeem_link(session: AsyncSession, token: str, clock: Clock) -> Person:
    """Use a sign-in link up; of two who try at once, one succeeds.

    Raises:
        LinkRefused: it is used up, expired or was never issued; the message says which.
    """
    repository = IdentityRepository(session)
    now = clock.now()
    hashed = token_hash(token)
    person_id = await repository.use_link(hashed, now)
    if person_id is None:
        link = await repository.link(hashed)
        if link is None:
            raise LinkRefused("This sign-in link is not one of ours; was it copied whole?")
        if link.used_at is not None:
            raise LinkRefused("This sign-in link has been used; each works once. Ask for another.")
        raise LinkRefused("This sign-in link has expired. Ask for another.")
    person = await repository.person(person_id)
    assert person is not None, "a link's person is held by a foreign key"
    await audit.append(
        session,
        at=now,
        actor=f"person:{person.id}",
        kind="signin.used",
        subject=person.id,
        body={"by": "link"},
    )
    return person


async def sign_in(
    session: AsyncSession, email: str, password: str, address: str, clock: Clock
) -> Person:
    """The person with this e-mail and password.

    Attempts of one address, and on one e-mail, are judged one after another. Which of the two was
    wrong is never said, and both take the same time.

    Raises:
        SignInFailed: they don't belong together; the attempt is counted (and kept).
        TooManyAttempts: five failures within 15 minutes from this address or on this e-mail.
    """
    repository = IdentityRepository(session)
    now = clock.now()
    known_as = audit.storable(email.strip().lower()[: policy.EMAIL_MOST])
    subjects = [f"address:{network_of(address)}", f"email:{known_as}"]
    await repository.hold_sign_ins(subjects)
    since = now - policy.FAILURE_WINDOW
    failures = await repository.failures(subjects, since)
    blocked = [first for count, first in failures.values() if count >= policy.FAILURES_MOST]
    if blocked:
        wait = max((first + policy.FAILURE_WINDOW - now).total_seconds() for first in blocked)
        raise TooManyAttempts(
            f"Too many failed sign-ins. Try again in {max(1, round(wait / 60))} minutes, or use a"
            " one-time link.",
            retry_after=max(1, round(wait)),
        )
    person = await repository.person_by_email(known_as)
    stored = person.password_hash if person else None
    right = len(password) <= policy.PASSWORD_MOST and await verify_password(stored, password)
    if person is None or stored is None or not right:
        await repository.record_failure(subjects, now, forget_before=since)
        if any(count + 1 == policy.FAILURES_MOST for count, _ in failures.values()):
            await audit.append(
                session,
                at=now,
                actor=ENGINE,
                kind="signin.blocked",
                subject=person.id if person else "unknown",
                body={"address": network_of(address), "failures": policy.FAILURES_MOST},
            )
        raise SignInFailed(
            "E-mail and password don't belong together. If you never set a password, use a"
            " one-time link."
        )
    await repository.forget_failures(subjects[1])
    if is_outdated(stored):
        person.password_hash = await hash_password(password)
    await audit.append(
        session,
        at=now,
        actor=f"person:{person.id}",
        kind="signin.used",
        subject=person.id,
        body={"by": "password", "address": network_of(address)},
    )
    return person


async def open_session(
    session: AsyncSession, person: Person, tenant_id: str, clock: Clock
) -> tuple[str, str]:
    """A new browser session: the cookie's token and the value that protects its forms.

    Raises:
        Forbidden: the person is no member of the tenant and no operator.
    """
    repository = IdentityRepository(session)
    now = clock.now()
    if not person.operator and not await repository.roles(person.id, tenant_id):
        raise Forbidden("You are not a member of this academy; ask its staff to add you.")
    await repository.forget_sessions_before(person.id, now - policy.SESSION_LONGEST)
    token, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    repository.add(
        SessionRecord(
            token_hash=token_hash(token),
            person_id=person.id,
            tenant_id=tenant_id,
            csrf=csrf,
            created_at=now,
            authenticated_at=now,
            expires_at=now + policy.SESSION_IDLE,
            revoked_at=None,
        )
    )
    await audit.append(
        session,
        at=now,
        actor=f"person:{person.id}",
        kind="session.opened",
        subject=person.id,
        body={"tenant": tenant_id},
    )
    return token, csrf


async def resolve_session(
    session: AsyncSession, token: str, host: str, clock: Clock
) -> tuple[Caller, str, SessionInfo]:
    """Who a cookie belongs to, the value that protects its forms, and when the session ends.

    One query; once an hour of use a second one moves the session's end.

    Raises:
        SessionRefused: unknown, expired, signed out, another tenant's, or no longer a member.
    """
    repository = IdentityRepository(session)
    now = clock.now()
    bearer = await repository.session_bearer(token, read_host(host))
    if bearer is None or bearer.record.revoked_at is not None or bearer.record.expires_at <= now:
        raise SessionRefused("You are signed out; sign in again.")
    if not bearer.here:
        raise SessionRefused("This session belongs to another academy; sign in here.")
    caller = caller_of(bearer, via="session")
    if not caller.roles:
        raise SessionRefused("You are no longer a member of this academy.")
    record = bearer.record
    expires_at = min(now + policy.SESSION_IDLE, record.created_at + policy.SESSION_LONGEST)
    if expires_at - record.expires_at >= policy.SESSION_REFRESH:
        await repository.extend_session(record.token_hash, expires_at)
    else:
        expires_at = record.expires_at
    info = SessionInfo(
        created_at=record.created_at,
        authenticated_at=record.authenticated_at,
        expires_at=expires_at,
        email=bearer.person.email,
        has_password=bearer.person.password_hash is not None,
    )
    return caller, record.csrf, info


async def close_session(session: AsyncSession, caller: Caller, token: str, clock: Clock) -> None:
    """End one of the caller's own sessions; fine if it has ended."""
    now = clock.now()
    ended = await IdentityRepository(session).revoke_session(
        token_hash(token), caller.person_id, now
    )
    if ended:
        await audit.append(
            session,
            at=now,
            actor=caller.actor,
            kind="session.closed",
            subject=caller.person_id or "",
            body={"tenant": caller.tenant_id},
        )


async def set_password(
    session: AsyncSession,
    caller: Caller,
    email: str,
    password: str,
    *,
    clock: Clock,
    keep_session: str | None = None,
) -> None:
    """Give the caller's own person an e-mail and a password to sign in with.

    Where *keep_session* (the cookie's token) is given, every other session of theirs ends.

    Raises:
        Forbidden: the caller came with a key, or is an engine.
        BadEmail, BadPassword: they don't meet the policy.
        EmailTaken: another person signs in with this e-mail.
    """
    if caller.via != "session" or caller.person_id is None:
        raise Forbidden("Sign in to set a password; a key can't.")
    known_as = email.strip().lower()
    if len(known_as) > policy.EMAIL_MOST or not EMAIL.fullmatch(known_as):
        raise BadEmail("Write the e-mail as name@example.org.")
    if not policy.PASSWORD_LEAST <= len(password) <= policy.PASSWORD_MOST:
        raise BadPassword(f"{policy.PASSWORD_RULE} (At most {policy.PASSWORD_MOST}.)")
    if password.strip().lower() == known_as:
        raise BadPassword("The password can't be the e-mail itself.")
    hashed = await hash_password(password)
    repository = IdentityRepository(session)
    now = clock.now()
    if not await repository.give_credentials(caller.person_id, known_as, hashed):
        raise EmailTaken(f"Somebody else signs in with {known_as}.")
    ended = 0
    if keep_session is not None:
        kept = token_hash(keep_session)
        ended = await repository.revoke_sessions(caller.person_id, but=kept, now=now)
    await audit.append(
        session,
        at=now,
        actor=caller.actor,
        kind="password.set",
        subject=caller.person_id,
        body={"sessions_ended": ended},
    )
