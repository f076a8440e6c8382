"""The tables: messages and events are written once; sessions, runs and calls move.

What leaves the store names sessions and runs by their `id`, a UUIDv7. Inside it rows name each
other by integers, `pk`, a tenth of the size, which stand in every row of the two long tables. JSON
is kept as text: no query looks into it, and PostgreSQL's own type refuses NUL. Times are aware UTC.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast  # Any: JSON columns hold what their adapters wrote

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy import Table as CoreTable
from sqlalchemy.types import TypeDecorator, TypeEngine
from sqlmodel import Field, SQLModel

from orchestrator.ids import new_id
from orchestrator.lifecycle import RunStatus

Key = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite numbers rows by itself only in a column of exactly this type."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Moment(TypeDecorator[datetime]):
    """An aware time: `timestamptz` on PostgreSQL, microseconds since 1970 (UTC) on SQLite."""

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column's type by database."""
        postgres = dialect.name == "postgresql"
        return dialect.type_descriptor(DateTime(timezone=True) if postgres else BigInteger())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Write it; a naive time is a fault of ours and raises `TypeError`."""
        if value is None or dialect.name == "postgresql":
            return value
        return (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Read either form.

        Raises:
            ValueError: If it is none.
        """
        if value is None or isinstance(value, datetime):
            return value
        try:
            return _EPOCH + timedelta(microseconds=value)
        except (TypeError, OverflowError):
            raise ValueError(f"{value!r} is no time") from None


class Money(TypeDecorator[Decimal]):
    """US dollars, exactly, to ten places: NUMERIC on PostgreSQL, an integer of them on SQLite.

    Either can be added up by the database.
    """

    impl = Numeric
    cache_ok = True
    places = Decimal(10) ** 10

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column's type by database."""
        postgres = dialect.name == "postgresql"
        return dialect.type_descriptor(Numeric(20, 10) if postgres else BigInteger())

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """Write either form."""
        if value is None or dialect.name == "postgresql":
            return value
        return int((value * self.places).to_integral_value())

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """Read either form, without zeros at the end.

        Raises:
            ValueError: If it is none.
        """
        if value is None:
            return None
        if not isinstance(value, int | Decimal):
            raise ValueError(f"{value!r} is no amount")
        dollars = value if isinstance(value, Decimal) else Decimal(value) / self.places
        if not dollars.is_finite():  # PostgreSQL keeps NaN
            raise ValueError(f"{value!r} is no amount")
        return (
            dollars.quantize(Decimal(1))
            if dollars == dollars.to_integral()
            else dollars.normalize()
        )


def plain(text: str) -> str:
    """Return text that every database takes: lone surrogates and NUL as escapes.

    A model can answer with a lone surrogate, and a file can hold a NUL.
    """
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")


class PlainText(TypeDecorator[str]):
    """Text of any origin, made `plain`."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Escape what no database takes."""
        return None if value is None else plain(value)


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


def _where(condition: str) -> dict[str, Any]:
    """Return how an index leaves rows out, in the words of either database."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def _of_a_run() -> ForeignKeyConstraint:
    """Return that a row belongs to a run of its own session.

    It is found from the other end by the session, which the keys of these tables begin with.
    """
    return ForeignKeyConstraint(["session_pk", "run_pk"], ["run.session_pk", "run.pk"])


class SessionRow(Table, table=True):
    """A conversation: an ordered line of runs."""

    __tablename__ = "session"
    __table_args__ = (
        UniqueConstraint("owner", "external_id"),
        Index("ix_session_updated", "updated_at"),
        Index("ix_session_owner_updated", "owner", "updated_at"),
        # Without the time, which every run changes: those of one agent in one root are few.
        Index("ix_session_root_agent", "root", "agent"),
        CheckConstraint("(origin_pk IS NULL) = (origin_seq IS NULL)", name="origin"),
        Index("ix_session_origin_pk", "origin_pk", **_where("origin_pk IS NOT NULL")),
    )

    pk: int | None = Field(default=None, primary_key=True, sa_type=Key)
    id: str = Field(default_factory=new_id, unique=True, max_length=36)
    owner: str = Field(max_length=200)
    external_id: str | None = Field(default=None, max_length=200)
    agent: str = Field(max_length=64)
    root: str
    title: str = Field(sa_type=PlainText)
    state: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    state_version: int = 0
    """Goes up by one with every change of `state`."""
    origin_pk: int | None = Field(default=None, foreign_key="session.pk", sa_type=Key)
    """The session that this one was forked from."""
    origin_seq: int | None = None
    """The last message that it shares with its origin; its own ones are numbered from there on."""
    window_seq: int = 0
    """The message that begins what a model is given: a compaction; 0 when there is none."""
    # It points on into a table that points back; the store sets it in the transaction that writes
    # what it points to, so there is no foreign key that would close the circle.
    active_run_pk: int | None = Field(default=None, sa_type=Key)
    last_event_seq: int = 0
    last_message_seq: int = 0
    usage: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    created_at: datetime = Field(default_factory=_now, sa_type=Moment)
    updated_at: datetime = Field(default_factory=_now, sa_type=Moment)
    """When somebody last turned to it: when its last run began. No run of it began later."""
    deleted_at: datetime | None = Field(default=None, sa_type=Moment)
    """Since when nobody finds it: it is here for the messages that its forks share."""


class RunRow(Table, table=True):
    """One execution of one agent."""

    __tablename__ = "run"
    __table_args__ = (
        CheckConstraint(f"status IN ({_STATUSES})", name="status"),
        # The order of the keys is that in which a session's runs began.
        UniqueConstraint("session_pk", "pk"),
        Index("ix_run_parent_pk", "parent_pk", **_where("parent_pk IS NOT NULL")),
        # SQLite's files tell of dead processes. Not by the lease: to renew one need not touch it.
        Index("ix_run_waiting", "pk", **_where("status = 'waiting'")),
        Index("ix_run_running", "pk", postgresql_where=text("status = 'running'")).ddl_if(
            dialect="postgresql"
        ),
    )

    pk: int | None = Field(default=None, primary_key=True, sa_type=Key)
    id: str = Field(default_factory=new_id, unique=True, max_length=36)
    session_pk: int = Field(foreign_key="session.pk", sa_type=Key)
    parent_pk: int | None = Field(default=None, foreign_key="run.pk", sa_type=Key)
    status: str = Field(default=RunStatus.RUNNING.value, max_length=20)
    agent: str = Field(max_length=64)
    spec_sha256: str = Field(max_length=64)
    model: str = Field(max_length=200)
    prompt: str = Field(sa_type=PlainText)
    inputs: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    output: Any = Field(default=None, sa_type=JSON(none_as_null=True), nullable=True)
    """The answer, unless it is the text of a message: then the next two say of which."""
    output_seq: int | None = None
    output_part: int | None = None
    first_message_seq: int = 1
    """The number that the run's first message has or would have had."""
    attempt: int = 1
    lease_owner: str = Field(max_length=200)
    """The process that holds it or did last."""
    lease_until: datetime | None = Field(default=None, sa_type=Moment)
    """By the database's clock; none where a lock tells whether the process is alive."""
    cancel_asked_at: datetime | None = Field(default=None, sa_type=Moment)
    """When another process asked for it to be cancelled."""
    requests: int = 0
    tool_calls: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal | None = Field(default=None, sa_type=Money)
    error_code: str | None = Field(default=None, max_length=64)
    error_text: str | None = Field(default=None, sa_type=PlainText)
    started_at: datetime = Field(default_factory=_now, sa_type=Moment)
    ended_at: datetime | None = Field(default=None, sa_type=Moment)


class MessageRow(Table, table=True):
    """One Pydantic AI `ModelMessage`, written once.

    `seq` is its number in the conversation: 1, 2, … without gaps, also across a fork.
    """

    __tablename__ = "message"
    __table_args__ = (_of_a_run(),)

    session_pk: int = Field(primary_key=True, sa_type=Key)
    seq: int = Field(primary_key=True)
    run_pk: int = Field(sa_type=Key)
    kind: str = Field(max_length=20)
    body: str = Field(sa_type=Text)
    """JSON: the message as Pydantic AI dumps it, without nulls and what other rows say already."""
    instructions_pk: int | None = Field(default=None, sa_type=Key)
    """A blob that the session refers to in `session_blob`."""


class EventRow(Table, table=True):
    """One fact, numbered within its session."""

    __tablename__ = "event"
    # Its rows are small, and always read in the order of the key: no second tree for them.
    __table_args__ = (_of_a_run(), {"sqlite_with_rowid": False})

    session_pk: int = Field(primary_key=True, sa_type=Key)
    seq: int = Field(primary_key=True)
    run_pk: int = Field(sa_type=Key)
    type: str = Field(max_length=40)
    body: str | None = Field(default=None, sa_type=Text)
    """JSON: the fact's fields, without what other rows say already."""
    at: datetime = Field(default_factory=_now, sa_type=Moment)


class ToolCallRow(Table, table=True):
    """The effect of one tool call: after a crash, a row without an outcome is one not known."""

    __tablename__ = "tool_call"

    run_pk: int = Field(foreign_key="run.pk", primary_key=True, sa_type=Key)
    call_id: str = Field(primary_key=True, sa_type=PlainText)
    tool: str = Field(sa_type=PlainText)
    arguments_sha256: str = Field(max_length=64)
    outcome: str | None = Field(default=None, max_length=20)
    result: str | None = Field(default=None, sa_type=Text)
    """JSON: the `ToolReturnPart` as Pydantic AI dumps it; messages and events take it from here."""
    called_at: datetime = Field(default_factory=_now, sa_type=Moment)
    returned_at: datetime | None = Field(default=None, sa_type=Moment)


class BlobRow(Table, table=True):
    """Bytes by their hash: the instructions, which every request of a run repeats."""

    __tablename__ = "blob"

    pk: int | None = Field(default=None, primary_key=True, sa_type=Key)
    sha256: str = Field(unique=True, max_length=64)
    content: bytes = Field(sa_type=LargeBinary)


class SessionBlobRow(Table, table=True):
    """That messages of a session refer to a blob.

    Told here, once for a session: an index of the messages would cost a page at every step of a
    run, for the sake of the day when the session is deleted.
    """

    __tablename__ = "session_blob"
    __table_args__ = (
        Index("ix_session_blob_blob_pk", "blob_pk"),
        {"sqlite_with_rowid": False},
    )

    session_pk: int = Field(foreign_key="session.pk", primary_key=True, sa_type=Key)
    blob_pk: int = Field(foreign_key="blob.pk", primary_key=True, sa_type=Key)


def core(row: type[Table]) -> CoreTable:
    """Return the table of a row, for statements that need no objects."""
    return cast(CoreTable, row.__table__)  # type: ignore[attr-defined]  # SQLModel adds it


# For the statements that are made for each step of each run.
SESSION = core(SessionRow)
RUN = core(RunRow)
MESSAGE = core(MessageRow)
EVENT = core(EventRow)
TOOL_CALL = core(ToolCallRow)
BLOB = core(BlobRow)
SESSION_BLOB = core(SessionBlobRow)
