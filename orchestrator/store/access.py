"""Reading and writing, with what the drivers raise in our words."""

from collections.abc import Callable
from dataclasses import dataclass
from json import JSONDecodeError
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from orchestrator.errors import StoreUnavailableError
from orchestrator.store.writer import Work, Writer

T = TypeVar("T")


@dataclass(frozen=True)
class Access:
    """The way to the database of a record that is open."""

    engine: AsyncEngine
    _writer: Writer

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Return what a function reads; it sees one state of the record.

        Raises:
            StoreUnavailableError: If the database cannot be read.
        """
        try:
            async with self.engine.connect() as connection:
                return await connection.run_sync(work)
        except (DBAPIError, OSError) as error:
            raise StoreUnavailableError(f"The record cannot be read: {_cause(error)}.") from error
        except JSONDecodeError as error:  # a column of JSON that is none
            raise StoreUnavailableError(f"The record is damaged: {error}.") from error

    async def write(self, work: Work[T]) -> T:
        """Do a piece of work, and return what it returns once that is committed.

        Raises:
            StoreUnavailableError: If the database cannot be written.
        """
        try:
            return await self._writer.write(work)
        except (DBAPIError, OSError) as error:
            raise StoreUnavailableError(
                f"The record cannot be written: {_cause(error)}."
            ) from error
        except ValueError as error:  # a column of JSON that is none
            raise StoreUnavailableError(f"The record is damaged: {error}.") from error


def _cause(error: DBAPIError | OSError) -> BaseException | None:
    return error.orig if isinstance(error, DBAPIError) else error
