"""Alembic's entry for the tenant family; `memory.upgrade` hands in an open connection."""

from alembic import context

from memory.families import FAMILIES

family = FAMILIES["tenant"]
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=list(family.metadata),
    include_name=family.includes,
    compare_type=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
