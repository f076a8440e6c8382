"""How a record that an older program made becomes one of this program, revision by revision."""

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

HEAD = "head"


def migrate(connection: Connection, *, target: str = HEAD) -> None:
    """Run the revisions between what is there and `target`, in the transaction of the caller.

    It is for the caller to see that nobody else does so at the same time.
    """
    command.upgrade(_config(connection), target)


def stamp(connection: Connection, revision: str) -> None:
    """Note that the tables are those of a revision."""
    command.stamp(_config(connection), revision)


def _config(connection: Connection) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "orchestrator.store:migrations")
    return config
