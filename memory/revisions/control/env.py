"""Alembic's entry for the control family; `memory.upgrade` hands in an open connection."""

from alembic import context

from memory.families import FAMILIES

family = FAMILIES["control"]
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=list(family.metadata),
    include_name=family.includes,
    compare_type=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
