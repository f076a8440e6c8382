"""What Alembic executes for each command: the revisions run in the transaction of the caller."""

from alembic import context

from orchestrator.store.tables import Table

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Table.metadata
)
context.run_migrations()
