"""PostgreSQL, through asyncpg: the same functions over one connection at a time."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import URL, Connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

T = TypeVar("T")


@dataclass
class PostgresDatabase:
    """A database of a server, with a pool of connections."""

    url: URL
    engine: AsyncEngine = field(init=False)

    def __post_init__(self) -> None:
        self.engine = create_async_engine(self.url, pool_pre_ping=True)

    async def transact(self, work: Callable[[Connection], T]) -> T:
        """Run a function in one transaction and commit it."""
        async with self.engine.begin() as connection:
            return await connection.run_sync(work)
