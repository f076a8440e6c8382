"""What Alembic executes for each command: the revisions run in the transaction of the caller."""

from alembic import context

from orchestrator.store.definition_tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
