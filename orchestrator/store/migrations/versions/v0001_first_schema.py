"""The first schema, as it was: rows name each other by UUID, messages by a chain of parents."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")
MONEY = sa.String(40).with_variant(sa.Numeric(20, 10), "postgresql")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the tables."""
    _session()
    _blob()
    _run()
    _message()
    _event()
    _tool_call()


def _session() -> None:
    op.create_table(
        "session",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("external_id", sa.String(200)),
        sa.Column("agent", sa.String(64), nullable=False),
        sa.Column("root", sa.String(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("state", JSON, nullable=False),
        sa.Column("head_message_id", sa.Integer()),
        sa.Column("active_run_id", sa.String(36)),
        sa.Column("last_event_seq", sa.Integer(), nullable=False),
        sa.Column("last_message_seq", sa.Integer(), nullable=False),
        sa.Column("usage", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_session"),
        sa.UniqueConstraint("owner", "external_id", name="uq_session_owner_external_id"),
    )
    op.create_index(
        "ix_session_owner_root_agent", "session", ["owner", "root", "agent", "updated_at"]
    )
    op.create_index("ix_session_owner_updated", "session", ["owner", "updated_at"])


def _blob() -> None:
    op.create_table(
        "blob",
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_blob"),
    )


def _run() -> None:
    op.create_table(
        "run",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("session_id", sa.String(36), nullable=False),
        sa.Column("parent_run_id", sa.String(36)),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("agent", sa.String(64), nullable=False),
        sa.Column("spec_sha256", sa.String(64), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("inputs", JSON, nullable=False),
        sa.Column("output", JSON, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.String(200), nullable=False),
        sa.Column("lease_until", TIME, nullable=False),
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
        sa.PrimaryKeyConstraint("id", name="pk_run"),
        sa.CheckConstraint(
            "status IN ('running', 'succeeded', 'failed', 'cancelled', 'interrupted')",
            name=op.f("ck_run_status"),  # as it stands: the convention would add to it
        ),
        sa.ForeignKeyConstraint(["session_id"], ["session.id"], name="fk_run_session_id"),
        sa.ForeignKeyConstraint(["parent_run_id"], ["run.id"], name="fk_run_parent_run_id"),
    )
    op.create_index("ix_run_session_started", "run", ["session_id", "started_at"])


def _message() -> None:
    op.create_table(
        "message",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.Integer()),
        sa.Column("session_id", sa.String(36), nullable=False),
        sa.Column("run_id", sa.String(36), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("body", JSON, nullable=False),
        sa.Column("instructions_sha256", sa.String(64)),
        sa.PrimaryKeyConstraint("id", name="pk_message"),
        sa.UniqueConstraint("session_id", "seq", name="uq_message_session_id_seq"),
        sa.ForeignKeyConstraint(["parent_id"], ["message.id"], name="fk_message_parent_id"),
        sa.ForeignKeyConstraint(["session_id"], ["session.id"], name="fk_message_session_id"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_message_run_id"),
        sa.ForeignKeyConstraint(
            ["instructions_sha256"], ["blob.sha256"], name="fk_message_instructions_sha256"
        ),
    )


def _event() -> None:
    op.create_table(
        "event",
        sa.Column("session_id", sa.String(36), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(36), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("type", sa.String(40), nullable=False),
        sa.Column("content", sa.Text()),
        sa.Column("partial", sa.Boolean(), nullable=False),
        sa.Column("turn_complete", sa.Boolean(), nullable=False),
        sa.Column("error_code", sa.String(64)),
        sa.Column("error_text", sa.Text()),
        sa.Column("meta", JSON, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("session_id", "seq", name="pk_event"),
        sa.ForeignKeyConstraint(["session_id"], ["session.id"], name="fk_event_session_id"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_event_run_id"),
    )


def _tool_call() -> None:
    op.create_table(
        "tool_call",
        sa.Column("run_id", sa.String(36), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("tool", sa.Text(), nullable=False),
        sa.Column("arguments_sha256", sa.String(64), nullable=False),
        sa.Column("outcome", sa.String(20)),
        sa.Column("called_at", TIME, nullable=False),
        sa.Column("returned_at", TIME),
        sa.PrimaryKeyConstraint("run_id", "call_id", name="pk_tool_call"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_tool_call_run_id"),
    )
