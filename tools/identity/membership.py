"""Who somebody is now: asked again by work that began under a session or key some time ago."""

from typing import Literal, cast

from sqlalchemy.ext.asyncio import AsyncSession

from tools.identity.repository import KNOWN_ROLES, IdentityRepository
from tools.kit.deps import Caller, Role, engine
from tools.kit.errors import Forbidden

NO_MEMBER = "You are no longer a member of this academy, so nothing was done."


async def caller_now(
    session: AsyncSession,
    tenant_id: str,
    person_id: str | None,
    *,
    name: str = "",
    via: Literal["session", "key", "engine"] = "session",
) -> Caller:
    """The caller as the tenant, the person and their roles stand at this moment.

    Without a *person_id* it is the engine *name* of the tenant.

    Raises:
        Forbidden: the tenant or the person is gone, or the person has no role there any more.
    """
    repository = IdentityRepository(session)
    tenant = await repository.tenant(tenant_id)
    if tenant is None:
        raise Forbidden("This academy is not there any more, so nothing was done.")
    if person_id is None:
        if via != "engine":
            raise Forbidden("Nobody can tell who asked for this, so nothing was done.")
        return engine(name, tenant_id=tenant.id, tenant_slug=tenant.slug)
    person = await repository.person(person_id)
    if person is None:
        raise Forbidden(NO_MEMBER)
    roles = set(await repository.roles(person.id, tenant.id)) & KNOWN_ROLES
    if person.operator:
        roles.add("operator")
    if not roles:
        raise Forbidden(NO_MEMBER)
    return Caller(
        tenant_id=tenant.id,
        tenant_slug=tenant.slug,
        person_id=person.id,
        name=person.name,
        roles=cast(frozenset[Role], frozenset(roles)),
        fleet=tenant.fleet,
        via=via,
    )
