"""How a record that an older program made becomes one of this program, revision by revision."""

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, inspect


def migrate(connection: Connection, found: str, target: str) -> None:
    """Run the revisions from one to another, in the transaction of the caller.

    Args:
        connection: In a transaction, beside which nobody else migrates.
        found: What the tables are that are there, or `base`: a database of the first schema does
            not say so where Alembic looks.
        target: What they are to be.
    """
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "orchestrator.store:migrations")
    if not inspect(connection).has_table("alembic_version"):
        command.stamp(config, found)
    command.upgrade(config, target)
