"""API keys for programs: shown once, stored as SHA-256, worth what their person may do."""

import secrets
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from memory import audit
from memory.ids import new_id
from memory.tables.identity import ApiKey
from tools.identity import policy
from tools.identity.errors import KeyRefused, TooManyKeys, UnknownKey
from tools.identity.hosts import read_host
from tools.identity.repository import IdentityRepository, caller_of, token_hash
from tools.identity.schemas import KeyView
from tools.kit.clock import Clock
from tools.kit.deps import Caller
from tools.kit.errors import Forbidden, Invalid


async def issue_key(
    session: AsyncSession, caller: Caller, name: str, *, clock: Clock, days: int | None = None
) -> str:
    """A new key of the caller's own, good for *days* or until revoked; this is its only showing.

    Raises:
        Forbidden: the caller's roles hold no keys, or a key that isn't an operator's asks.
        Invalid: no name, or a life under a day.
        TooManyKeys: the person has as many live keys as policy allows.
    """
    if caller.person_id is None or not caller.roles & policy.KEY_HOLDERS:
        raise Forbidden("API keys are for staff, engineers, authors and operators.")
    if caller.via == "key" and "operator" not in caller.roles:
        raise Forbidden("Sign in to make a key; only an operator's key makes another.")
    name = audit.storable(" ".join(name.split()))
    if not 1 <= len(name) <= policy.KEY_NAME_MOST:
        raise Invalid(f"Name what the key is for, in 1 to {policy.KEY_NAME_MOST} characters.")
    if days is not None and days < 1:
        raise Invalid("A key is good for at least one day.")
    repository = IdentityRepository(session)
    now = clock.now()
    # The person's row is the lock under which their keys are counted.
    await repository.person(caller.person_id, lock=True)
    held = await repository.keys_of(caller.person_id, caller.tenant_id)
    live = [
        key
        for key in held
        if key.revoked_at is None and (key.expires_at is None or key.expires_at > now)
    ]
    if len(live) >= policy.KEYS_MOST:
        raise TooManyKeys(f"You hold {len(live)} keys, the most allowed; revoke one first.")
    token = policy.KEY_PREFIX + secrets.token_urlsafe(32)
    key = ApiKey(
        id=new_id("key"),
        token_hash=token_hash(token),
        name=name,
        person_id=caller.person_id,
        tenant_id=caller.tenant_id,
        created_at=now,
        expires_at=now + timedelta(days=days) if days else None,
        last_used_at=None,
        revoked_at=None,
    )
    repository.add(key)
    await audit.append(
        session,
        at=now,
        actor=caller.actor,
        kind="key.issued",
        subject=key.id,
        body={"name": name, "expires_at": key.expires_at.isoformat() if key.expires_at else None},
    )
    return token


async def resolve_key(session: AsyncSession, token: str, host: str, clock: Clock) -> Caller:
    """Who a key belongs to, with what its person may do now.

    One query, and a write at most once a minute.

    Raises:
        KeyRefused: unknown, expired, revoked, another tenant's, or its person left.
    """
    repository = IdentityRepository(session)
    now = clock.now()
    if not token.startswith(policy.KEY_PREFIX):
        raise KeyRefused(f"An API key begins with {policy.KEY_PREFIX}.")
    bearer = await repository.key_bearer(token, read_host(host))
    if bearer is None:
        raise KeyRefused("This API key is not one of ours.")
    key = bearer.record
    if key.revoked_at is not None:
        raise KeyRefused(f"The API key {key.name!r} was revoked.")
    if key.expires_at is not None and key.expires_at <= now:
        raise KeyRefused(f"The API key {key.name!r} has expired.")
    if not bearer.here:
        raise KeyRefused("This API key belongs to another academy's host name.")
    caller = caller_of(bearer, via="key")
    if not caller.roles:
        raise KeyRefused("The person of this API key is no longer a member of this academy.")
    if key.last_used_at is None or now - key.last_used_at >= policy.KEY_USE_RECORDED:
        await repository.record_key_use(key.id, now, at_most_every=policy.KEY_USE_RECORDED)
    return caller


async def list_keys(session: AsyncSession, caller: Caller) -> list[KeyView]:
    """The caller's own keys here, newest first, revoked ones included; never a secret."""
    if caller.person_id is None:
        return []
    held = await IdentityRepository(session).keys_of(caller.person_id, caller.tenant_id)
    return [
        KeyView(
            id=key.id,
            name=key.name,
            created_at=key.created_at,
            expires_at=key.expires_at,
            last_used_at=key.last_used_at,
            revoked_at=key.revoked_at,
        )
        for key in held
    ]


async def revoke_key(session: AsyncSession, caller: Caller, key_id: str, *, clock: Clock) -> None:
    """End a key of the caller's own, or any as an operator; one that ended stays ended.

    Raises:
        UnknownKey: there is none such, or it isn't the caller's.
    """
    repository = IdentityRepository(session)
    key = await repository.key(key_id, lock=True)
    own = key is not None and (key.person_id, key.tenant_id) == (caller.person_id, caller.tenant_id)
    if key is None or not (own or "operator" in caller.roles):
        raise UnknownKey(f"You have no key {key_id}.")
    if key.revoked_at is not None:
        return
    key.revoked_at = clock.now()
    await audit.append(
        session,
        at=key.revoked_at,
        actor=caller.actor,
        kind="key.revoked",
        subject=key.id,
        body={"name": key.name},
    )
