"""The second schema: rows name each other by integers, and what one row says no other repeats.

A message's number is its place in the conversation, so the chain of parents is gone. The results of
tools go from the messages into the ledger of calls; what else was stored twice stays so.
"""

import sqlalchemy as sa
from alembic import op

from orchestrator.store.migrations.first_to_second import Move

revision = "0002"
down_revision = "0001"


class JsonText(sa.types.UserDefinedType[str]):
    """The type JSON of SQLite, read and written as the text that it is: it need not be JSON."""

    cache_ok = True

    def get_col_spec(self, **_options: object) -> str:
        """Return the name of the type."""
        return "JSON"


JSON = JsonText().with_variant(sa.JSON(), "postgresql")
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.BigInteger().with_variant(sa.DateTime(timezone=True), "postgresql")
MONEY = sa.BigInteger().with_variant(sa.Numeric(20, 10), "postgresql")

TABLES = ("tool_call", "event", "message", "run", "blob", "session")
"""Those of the first schema; none points to one before it."""


def upgrade() -> None:
    """Make the tables, fill them from those of the first schema, and remove these."""
    first = _set_aside()
    second = {
        "session": _session(),
        "blob": _blob(),
        "session_blob": _session_blob(),
        "run": _run(),
        "message": _message(),
        "event": _event(),
        "tool_call": _tool_call(),
    }
    Move(op.get_bind(), first, second).carry_over()
    # SQLite looks, for each row it drops, for rows of the same table that point to it.
    for column in (first["message"].c.parent_id, first["run"].c.parent_run_id):
        sa.Index(f"ix_{column.name}", column).create(op.get_bind())
    for name in TABLES:
        first[name].drop(op.get_bind())
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP SCHEMA first")


def _set_aside() -> dict[str, sa.Table]:
    """Give the tables other names, and free those of their indexes and constraints."""
    if op.get_context().dialect.name == "postgresql":
        op.execute("CREATE SCHEMA first")
        for name in TABLES:
            op.execute(f"ALTER TABLE {name} SET SCHEMA first")
        return _reflected(prefix="", schema="first")
    for index in ("session_owner_root_agent", "session_owner_updated", "run_session_started"):
        op.drop_index(f"ix_{index}")
    for name in TABLES:
        op.rename_table(name, f"first_{name}")
    return _reflected(prefix="first_", schema=None)


def _reflected(*, prefix: str, schema: str | None) -> dict[str, sa.Table]:
    found = sa.MetaData(schema=schema)
    bind = op.get_bind()
    tables = {name: sa.Table(prefix + name, found, autoload_with=bind) for name in TABLES}
    for table in tables.values():
        for column in table.columns:
            if isinstance(column.type, sa.JSON):
                column.type = JSON
    return tables


def _session() -> sa.Table:
    table = op.create_table(
        "session",
        sa.Column("pk", KEY, nullable=False),
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("external_id", sa.String(200)),
        sa.Column("agent", sa.String(64), nullable=False),
        sa.Column("root", sa.String(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("state", JSON, nullable=False),
        sa.Column("state_version", sa.Integer(), nullable=False),
        sa.Column("origin_pk", KEY),
        sa.Column("origin_seq", sa.Integer()),
        sa.Column("window_seq", sa.Integer(), nullable=False),
        sa.Column("active_run_pk", KEY),
        sa.Column("last_event_seq", sa.Integer(), nullable=False),
        sa.Column("last_message_seq", sa.Integer(), nullable=False),
        sa.Column("usage", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("deleted_at", TIME),
        sa.PrimaryKeyConstraint("pk", name="pk_session"),
        sa.UniqueConstraint("owner", "external_id", name="uq_session_owner_external_id"),
        sa.CheckConstraint(
            "(origin_pk IS NULL) = (origin_seq IS NULL)", name=op.f("ck_session_origin")
        ),
        sa.UniqueConstraint("id", name="uq_session_id"),
        sa.ForeignKeyConstraint(["origin_pk"], ["session.pk"], name="fk_session_origin_pk"),
    )
    op.create_index("ix_session_updated", "session", ["updated_at"])
    op.create_index("ix_session_owner_updated", "session", ["owner", "updated_at"])
    _index_where_set("session", "origin_pk")
    op.create_index("ix_session_root_agent", "session", ["root", "agent"])
    return table


def _blob() -> sa.Table:
    return op.create_table(
        "blob",
        sa.Column("pk", KEY, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name="pk_blob"),
        sa.UniqueConstraint("sha256", name="uq_blob_sha256"),
    )


def _session_blob() -> sa.Table:
    table = op.create_table(
        "session_blob",
        sa.Column("session_pk", KEY, nullable=False),
        sa.Column("blob_pk", KEY, nullable=False),
        sa.PrimaryKeyConstraint("session_pk", "blob_pk", name="pk_session_blob"),
        sa.ForeignKeyConstraint(["session_pk"], ["session.pk"], name="fk_session_blob_session_pk"),
        sa.ForeignKeyConstraint(["blob_pk"], ["blob.pk"], name="fk_session_blob_blob_pk"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_session_blob_blob_pk", "session_blob", ["blob_pk"])
    return table


def _run() -> sa.Table:
    table = op.create_table(
        "run",
        sa.Column("pk", KEY, nullable=False),
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("session_pk", KEY, nullable=False),
        sa.Column("parent_pk", KEY),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("agent", sa.String(64), nullable=False),
        sa.Column("spec_sha256", sa.String(64), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("inputs", JSON, nullable=False),
        sa.Column("output", JSON),
        sa.Column("output_seq", sa.Integer()),
        sa.Column("output_part", sa.Integer()),
        sa.Column("first_message_seq", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.String(200), nullable=False),
        sa.Column("lease_until", TIME),
        sa.Column("cancel_asked_at", TIME),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("tool_calls", sa.Integer(), nullable=False),
        sa.Column("input_tokens", sa.Integer(), nullable=False),
        sa.Column("cache_read_tokens", sa.Integer(), nullable=False),
        sa.Column("output_tokens", sa.Integer(), nullable=False),
        sa.Column("cost", MONEY),
        sa.Column("error_code", sa.String(64)),
        sa.Column("error_text", sa.Text()),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("ended_at", TIME),
        sa.PrimaryKeyConstraint("pk", name="pk_run"),
        sa.CheckConstraint(
            "status IN ('running', 'succeeded', 'failed', 'cancelled', 'interrupted')",
            name=op.f("ck_run_status"),
        ),
        sa.UniqueConstraint("session_pk", "pk", name="uq_run_session_pk_pk"),
        sa.UniqueConstraint("id", name="uq_run_id"),
        sa.ForeignKeyConstraint(["session_pk"], ["session.pk"], name="fk_run_session_pk"),
        sa.ForeignKeyConstraint(["parent_pk"], ["run.pk"], name="fk_run_parent_pk"),
    )
    _index_where_set("run", "parent_pk")
    op.create_index("ix_run_started_at", "run", ["started_at"])
    if op.get_context().dialect.name == "postgresql":
        running = sa.text("status = 'running'")
        op.create_index("ix_run_running", "run", ["pk"], postgresql_where=running)
    return table


def _message() -> sa.Table:
    table = op.create_table(
        "message",
        sa.Column("session_pk", KEY, nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("run_pk", KEY, nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("instructions_pk", KEY),
        sa.PrimaryKeyConstraint("session_pk", "seq", name="pk_message"),
        _of_a_run("message"),
    )
    return table


def _event() -> sa.Table:
    return op.create_table(
        "event",
        sa.Column("session_pk", KEY, nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("run_pk", KEY, nullable=False),
        sa.Column("type", sa.String(40), nullable=False),
        sa.Column("body", sa.Text()),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("session_pk", "seq", name="pk_event"),
        _of_a_run("event"),
        sqlite_with_rowid=False,
    )


def _tool_call() -> sa.Table:
    return op.create_table(
        "tool_call",
        sa.Column("run_pk", KEY, nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("tool", sa.Text(), nullable=False),
        sa.Column("arguments_sha256", sa.String(64), nullable=False),
        sa.Column("outcome", sa.String(20)),
        sa.Column("result", sa.Text()),
        sa.Column("called_at", TIME, nullable=False),
        sa.Column("returned_at", TIME),
        sa.PrimaryKeyConstraint("run_pk", "call_id", name="pk_tool_call"),
        sa.ForeignKeyConstraint(["run_pk"], ["run.pk"], name="fk_tool_call_run_pk"),
    )


def _of_a_run(table: str) -> sa.ForeignKeyConstraint:
    """Return the rule that a row's run is one of its session."""
    name = f"fk_{table}_session_pk_run_pk"
    return sa.ForeignKeyConstraint(
        ["session_pk", "run_pk"], ["run.session_pk", "run.pk"], name=name
    )


def _index_where_set(table: str, column: str) -> None:
    where = sa.text(f"{column} IS NOT NULL")
    name = f"ix_{table}_{column}"
    op.create_index(name, table, [column], sqlite_where=where, postgresql_where=where)
