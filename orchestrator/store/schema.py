"""Which schema a database has, and how it comes to have the one that this program knows.

The number of a schema is that of its revision: 2 is 0002. SQLite keeps it in `user_version` as
well, where programs look that know nothing of revisions.
"""

import re
from dataclasses import dataclass

from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    func,
    insert,
    inspect,
    select,
)

from orchestrator.errors import StoreUnavailableError
from orchestrator.store.definition_tables import METADATA

SCHEMA = 5
"""Raised with every change of the tables, together with a revision that makes it."""

UPGRADE_LOCK = 0x776F726B79617264
"""The advisory lock of PostgreSQL under which one process upgrades: 'workyard' in ASCII."""

# As Alembic makes it; a new database must not wait until Alembic has been imported.
_REVISION = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

_FIRST_TABLES = {"session", "run", "message", "event", "tool_call", "blob"}
"""Every schema so far has these."""


def revision_of(schema: int) -> str:
    """Return the revision that makes a schema.

    >>> revision_of(2)
    '0002'
    """
    return f"{schema:04d}"


@dataclass(frozen=True)
class Revisions:
    """What a database is at, beside what this program knows."""

    found: str | None
    """None if the database holds no record."""
    known: str = revision_of(SCHEMA)


def revisions(connection: Connection) -> Revisions:
    """Return what a database is at.

    Raises:
        StoreUnavailableError: If another program keeps its revisions there.
    """
    found = _schema(connection)
    return Revisions(revision_of(found) if found else None)


def prepare(connection: Connection) -> None:
    """Make a database ready to be used, in the transaction that is its first.

    The one of a single user, SQLite, is made and upgraded by whoever opens it, under the lock of
    its file. The one of many is upgraded by its operator, who knows which programs use it.

    Raises:
        StoreUnavailableError: If it is newer than this program, or for its operator to upgrade.
    """
    if connection.dialect.name == "sqlite":
        _make_current(connection)
    else:
        _require_current(connection)


def upgrade(connection: Connection) -> Revisions:
    """Bring a database to the schema of this program, in this transaction; others wait for it.

    Returns:
        What it was at before.

    Raises:
        StoreUnavailableError: If it is newer than this program.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(UPGRADE_LOCK)))
    before = revisions(connection)
    _make_current(connection)
    return before


def _make_current(connection: Connection) -> None:
    found = _schema(connection)
    _refuse_newer(found)
    if found == SCHEMA:
        return
    if found == 0:
        METADATA.create_all(connection, checkfirst=False)
        _REVISION.create(connection)
        connection.execute(insert(_REVISION).values(version_num=revision_of(SCHEMA)))
    else:
        _migrate(connection, revision_of(found))
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA}")


def _migrate(connection: Connection, found: str) -> None:
    # Alembic takes a third of a second to import: only who has something to upgrade waits for it.
    from orchestrator.store.migrations import migrate

    try:
        migrate(connection, found, revision_of(SCHEMA))
    except (ValueError, LookupError, ArithmeticError) as error:
        raise StoreUnavailableError(
            f"The record is damaged and stays at revision {found}: {error!r}."
        ) from error


def _require_current(connection: Connection) -> None:
    found = _schema(connection)
    _refuse_newer(found)
    if found == 0:
        raise StoreUnavailableError(
            "The database holds no record yet; `workyard db upgrade` makes one."
        )
    if found < SCHEMA:
        raise StoreUnavailableError(
            f"The record is at revision {revision_of(found)}, and this Workyard needs "
            f"{revision_of(SCHEMA)}; run `workyard db upgrade`."
        )


def _refuse_newer(found: int) -> None:
    if found > SCHEMA:
        raise StoreUnavailableError(
            f"The record is at revision {revision_of(found)}, of a newer Workyard; this one knows "
            f"{revision_of(SCHEMA)}. Upgrade Workyard or name another WORKYARD_DATABASE_URL."
        )


def _schema(connection: Connection) -> int:
    """Return the number of a database's schema; 0 if it holds no record.

    Raises:
        StoreUnavailableError: If another program's tables are where ours would be.
    """
    tables_there = {*inspect(connection).get_table_names()}
    name = None
    if _REVISION.name in tables_there:
        name = connection.execute(select(_REVISION.c.version_num)).scalar()
    elif connection.dialect.name == "postgresql":
        return 0
    if connection.dialect.name == "sqlite":
        number = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        if number == 0 and not tables_there:
            return 0
        # The first schema did not say so where Alembic looks.
        name = name or (revision_of(number) if number == 1 else None)
        if name != revision_of(number):
            raise _of_another(f"its revision is {name!r}, and its user_version {number}")
    if name is None or not re.fullmatch("[0-9]{4}", name):
        raise _of_another(f"its revision is {name!r}")
    if int(name) <= SCHEMA and not tables_there >= _FIRST_TABLES:
        raise _of_another(f"it is at revision {name}, and has not the tables of a record")
    return int(name)


def _of_another(why: str) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"The database belongs to another program: {why}. Name another WORKYARD_DATABASE_URL."
    )
