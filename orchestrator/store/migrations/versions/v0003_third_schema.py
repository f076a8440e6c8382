"""The third schema: a run can wait for a person's yes.

That is one more status. SQLite has no statement that changes a constraint; what it documents for it
("Making Other Kinds Of Table Schema Changes", https://www.sqlite.org/lang_altertable.html) is to
write the table's text anew. No row changes: each fits the wider constraint as it fitted the other.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_BEFORE = "'cancelled', 'interrupted')"
_NOW = "'cancelled', 'interrupted', 'waiting')"


def upgrade() -> None:
    """Let a run wait."""
    if op.get_context().dialect.name == "postgresql":
        op.drop_constraint(op.f("ck_run_status"), "run")
        statuses = f"status IN ('running', 'succeeded', 'failed', {_NOW}"
        op.create_check_constraint(op.f("ck_run_status"), "run", statuses)
    else:
        _widen()
    waiting = sa.text("status = 'waiting'")
    op.create_index("ix_run_waiting", "run", ["pk"], sqlite_where=waiting, postgresql_where=waiting)


def _widen() -> None:
    version = op.get_bind().exec_driver_sql("PRAGMA schema_version").scalar_one()
    op.execute("PRAGMA writable_schema = ON")
    changed = op.get_bind().execute(
        sa.text(
            "UPDATE sqlite_master SET sql = replace(sql, :before, :now)"
            " WHERE type = 'table' AND name = 'run'"
        ),
        {"before": _BEFORE, "now": _NOW},
    )
    # Other connections, and this one, read the schema again.
    op.execute(f"PRAGMA schema_version = {version + 1}")
    op.execute("PRAGMA writable_schema = OFF")
    if changed.rowcount != 1:
        raise ValueError("the table of runs is not there")
