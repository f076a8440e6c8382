"""The fifth schema: runs have no index of the times at which they began.

Each turn wrote a page of it. Their sessions have one, which leads to the runs since a time as well.
"""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Drop the index."""
    op.drop_index("ix_run_started_at", table_name="run")
