"""The tables. A row is written once; only sessions and runs have columns that move.

Identifiers of sessions and runs are UUIDv7 text. Messages have integers, which keep the table small
and in the order of writing. Times are aware UTC. `meta` and `body` are JSON, never pickles.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any  # JSON columns hold what their adapters wrote

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Dialect,
    Index,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine
from sqlmodel import Field, SQLModel

from orchestrator.ids import new_id
from orchestrator.lifecycle import RunStatus

SCHEMA_VERSION = 1
"""Raised with every change of the tables; a newer database is refused."""

Json = JSON().with_variant(JSONB(), "postgresql")


class Money(TypeDecorator[Decimal]):
    """A `Decimal`, exactly: NUMERIC on PostgreSQL, text on SQLite, which has no decimals."""

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column's type by database."""
        chosen = Numeric(20, 10) if dialect.name == "postgresql" else String(40)
        return dialect.type_descriptor(chosen)

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """Write it as text where the database has no decimals."""
        return str(value) if value is not None and dialect.name != "postgresql" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """Read either form."""
        return None if value is None else Decimal(value)


class PlainText(TypeDecorator[str]):
    """Text of any origin; what no database takes is written as an escape.

    A model can answer with a lone surrogate, and a file can hold a NUL.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Escape lone surrogates and NUL."""
        if value is None:
            return None
        return value.encode(errors="backslashreplace").decode().replace("\0", "\\x00")


def _now() -> datetime:
    return datetime.now(UTC)


_STATUSES = ", ".join(f"'{status}'" for status in RunStatus)


class Table(SQLModel):
    """What the tables share: metadata of their own, with names for every constraint."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class SessionRow(Table, table=True):
    """A conversation: an ordered line of runs."""

    __tablename__ = "session"
    __table_args__ = (
        UniqueConstraint("owner", "external_id"),
        Index("ix_session_owner_updated", "owner", "updated_at"),
        Index("ix_session_owner_root_agent", "owner", "root", "agent", "updated_at"),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=36)
    owner: str = Field(max_length=200)
    external_id: str | None = Field(default=None, max_length=200)
    agent: str = Field(max_length=64)
    root: str
    title: str = Field(sa_type=PlainText)
    state: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    # The next two point on into tables that point back; the store sets them in the transaction
    # that writes what they point to, so there is no foreign key that would close the circle.
    head_message_id: int | None = None
    active_run_id: str | None = Field(default=None, max_length=36)
    last_event_seq: int = 0
    last_message_seq: int = 0
    usage: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    created_at: datetime = Field(default_factory=_now)
    updated_at: datetime = Field(default_factory=_now)


class RunRow(Table, table=True):
    """One execution of one agent."""

    __tablename__ = "run"
    __table_args__ = (
        CheckConstraint(f"status IN ({_STATUSES})", name="status"),
        Index("ix_run_session_started", "session_id", "started_at"),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=36)
    session_id: str = Field(foreign_key="session.id", max_length=36)
    parent_run_id: str | None = Field(default=None, foreign_key="run.id", max_length=36)
    status: str = Field(default=RunStatus.RUNNING.value, max_length=20)
    agent: str = Field(max_length=64)
    spec_sha256: str = Field(max_length=64)
    model: str = Field(max_length=200)
    prompt: str = Field(sa_type=PlainText)
    inputs: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    output: Any = Field(default=None, sa_type=Json)
    attempt: int = 1
    lease_owner: str = Field(max_length=200)
    lease_until: datetime
    requests: int = 0
    tool_calls: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal | None = Field(default=None, sa_type=Money)
    error_code: str | None = Field(default=None, max_length=64)
    error_text: str | None = Field(default=None, sa_type=PlainText)
    started_at: datetime = Field(default_factory=_now)
    ended_at: datetime | None = None


class MessageRow(Table, table=True):
    """One Pydantic AI `ModelMessage`, written once."""

    __tablename__ = "message"
    __table_args__ = (UniqueConstraint("session_id", "seq"),)

    id: int | None = Field(default=None, primary_key=True)
    parent_id: int | None = Field(default=None, foreign_key="message.id")
    session_id: str = Field(foreign_key="session.id", max_length=36)
    run_id: str = Field(foreign_key="run.id", max_length=36)
    seq: int
    kind: str = Field(max_length=20)
    body: dict[str, Any] = Field(sa_type=Json)
    """The message as Pydantic AI dumps it, without nulls and without the instructions."""
    instructions_sha256: str | None = Field(default=None, foreign_key="blob.sha256", max_length=64)


class EventRow(Table, table=True):
    """One fact, numbered within its session."""

    __tablename__ = "event"

    session_id: str = Field(foreign_key="session.id", primary_key=True, max_length=36)
    seq: int = Field(primary_key=True)
    run_id: str = Field(foreign_key="run.id", max_length=36)
    author: str = Field(sa_type=PlainText)
    type: str = Field(max_length=40)
    content: str | None = Field(default=None, sa_type=PlainText)
    partial: bool = False
    turn_complete: bool = False
    error_code: str | None = Field(default=None, max_length=64)
    error_text: str | None = Field(default=None, sa_type=PlainText)
    meta: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    at: datetime = Field(default_factory=_now)


class ToolCallRow(Table, table=True):
    """The effect of one tool call: after a crash, a row without an outcome is one not known."""

    __tablename__ = "tool_call"

    run_id: str = Field(foreign_key="run.id", primary_key=True, max_length=36)
    call_id: str = Field(primary_key=True, sa_type=PlainText)
    tool: str = Field(sa_type=PlainText)
    arguments_sha256: str = Field(max_length=64)
    outcome: str | None = Field(default=None, max_length=20)
    called_at: datetime = Field(default_factory=_now)
    returned_at: datetime | None = None


class BlobRow(Table, table=True):
    """Bytes by their hash: the instructions, which every request of a run repeats."""

    __tablename__ = "blob"

    sha256: str = Field(primary_key=True, max_length=64)
    content: bytes = Field(sa_type=LargeBinary)
