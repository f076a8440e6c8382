"""Reading and writing, with what the drivers raise in our words."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar  # Any: what is read

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, NoResultFound
from sqlalchemy.ext.asyncio import AsyncEngine

from orchestrator.errors import StoreUnavailableError
from orchestrator.store.writer import Transact, Work, Writer

T = TypeVar("T")


@dataclass(frozen=True)
class Access:
    """The way to the database of a record that is open."""

    engine: AsyncEngine
    _read: Transact[Any]
    _writer: Writer

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Return what a function reads; it sees one state of the record.

        Raises:
            StoreUnavailableError: If the database cannot be read.
        """
        with _in_our_words("read"):
            found: T = await self._read(work)
            return found

    async def write(self, work: Work[T]) -> T:
        """Do a piece of work, and return what it returns once that is committed.

        Raises:
            StoreUnavailableError: If the database cannot be written.
        """
        with _in_our_words("written"):
            return await self._writer.write(work)


@contextmanager
def _in_our_words(done: str) -> Iterator[None]:
    try:
        yield
    except (DBAPIError, OSError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise StoreUnavailableError(f"The record cannot be {done}: {cause}.") from error
    except ValueError as error:  # a column that holds what it cannot
        raise StoreUnavailableError(f"The record is damaged: {error}.") from error
    except NoResultFound as error:  # a row is gone that another one names
        raise StoreUnavailableError("The record is damaged: a row is missing in it.") from error
