"""Statements that every turn makes, put together once.

SQLAlchemy takes ten times as long to send a statement as SQLite takes to carry it out, and a turn
makes a dozen. A connection to SQLite is the driver's own underneath: it is handed the text that
SQLAlchemy has compiled. Every other connection is SQLAlchemy's to use.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any  # what columns hold

import aiosqlite
from sqlalchemy import ColumnElement, Connection, Delete, Insert, Select, Update
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.exc import DBAPIError

Values = Mapping[str, Any]
Statement = Select[Any] | Insert | Update | Delete

_DIALECT = SQLiteDialect_pysqlite(paramstyle="named")


class Prepared:
    """A statement whose parameters have names, and always the same ones."""

    def __init__(self, statement: Statement) -> None:
        self.statement = statement
        self._text = ""
        self._to_columns: dict[str, Callable[[Any], Any]] = {}
        """What makes of a value what the driver takes, by the parameter's name."""
        self._from_columns: Sequence[tuple[str, Callable[[Any], Any]]] = ()
        """What makes of what the driver gives a value, with the column's name."""

    def rows(self, db: Connection, values: Values) -> Sequence[Any]:
        """Return the rows that it finds or gives back, as tuples.

        What SQLAlchemy would make of a column's value, a time or JSON, is left to the caller.
        """
        driver = _driver(db)
        if driver is None:
            return self._read(db, values)
        try:  # reading a row can fail too
            return self._sent(driver, values).fetchall()
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def named(self, db: Connection, values: Values) -> list[dict[str, Any]]:
        """Return the rows that a select finds, by the names of its columns and of their types.

        Raises:
            ValueError: If a column holds what its type cannot.
        """
        assert isinstance(self.statement, Select), "nothing else has columns"
        if db.dialect.name != "sqlite":
            return [dict(row) for row in db.execute(self.statement, values).mappings()]
        rows = self.rows(db, values)
        if not self._from_columns:  # at once: other threads may be here
            self._from_columns = [_of_column(each) for each in self.statement.selected_columns]
        return [
            {name: to(value) for (name, to), value in zip(self._from_columns, row, strict=True)}
            for row in rows
        ]

    def change(self, db: Connection, values: Values) -> int:
        """Return how many rows it has changed."""
        driver = _driver(db)
        if driver is None:
            return db.execute(self.statement, values).rowcount
        try:
            return self._sent(driver, values).rowcount
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def insert(self, db: Connection, rows: Sequence[Values]) -> None:
        """Insert several rows."""
        driver = _driver(db)
        if driver is None:
            db.execute(self.statement, rows)
            return
        self._compile(rows[0])
        try:
            driver.executemany(self._text, map(self._bound, rows))
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def _read(self, db: Connection, values: Values) -> Sequence[Any]:
        """Return the rows that a connection for readers finds."""
        if not isinstance(db.connection.driver_connection, aiosqlite.Connection):
            return db.execute(self.statement, values).all()
        self._compile(values)
        text, bound = self._text, self._bound(values)
        try:
            rows: Sequence[Any] = db.connection.run_async(
                lambda driver: driver.execute_fetchall(text, bound)
            )
        except sqlite3.Error as error:
            raise self._translated(error) from error
        return rows

    def _sent(self, driver: sqlite3.Connection, values: Values) -> sqlite3.Cursor:
        self._compile(values)
        return driver.execute(self._text, self._bound(values))

    def _translated(self, error: sqlite3.Error) -> DBAPIError:
        """Return what SQLAlchemy would raise."""
        translated = DBAPIError.instance(self._text, None, error, sqlite3.Error, dialect=_DIALECT)
        assert isinstance(translated, DBAPIError), "it is one of the driver's"
        return translated

    def _bound(self, values: Values) -> Values:
        if not self._to_columns:
            return values
        converted = {name: convert(values[name]) for name, convert in self._to_columns.items()}
        return {**values, **converted}

    def _compile(self, values: Values) -> None:
        if self._text:
            return
        keys = [*values] if isinstance(self.statement, Insert) else None
        compiled = self.statement.compile(dialect=_DIALECT, column_keys=keys)
        for name, parameter in compiled.binds.items():
            convert = parameter.type.dialect_impl(_DIALECT).bind_processor(_DIALECT)
            if convert is not None:
                self._to_columns[name] = convert
        self._text = str(compiled)


def _of_column(column: ColumnElement[Any]) -> tuple[str, Callable[[Any], Any]]:
    convert = column.type.dialect_impl(_DIALECT).result_processor(_DIALECT, None)
    return str(column.key), convert or _as_it_is


def _as_it_is(value: Any) -> Any:
    return value


def _driver(db: Connection) -> sqlite3.Connection | None:
    driver = db.connection.driver_connection
    return driver if isinstance(driver, sqlite3.Connection) else None
