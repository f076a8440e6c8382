"""The fourth schema: specs are kept on record too, as definitions with their versions."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.BigInteger().with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Make the two tables; no other changes."""
    op.create_table(
        "definition",
        sa.Column("pk", KEY, nullable=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("visibility", sa.String(20), nullable=False),
        sa.Column("current", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("deleted_at", TIME),
        sa.PrimaryKeyConstraint("pk", name="pk_definition"),
        sa.UniqueConstraint("owner", "name", name="uq_definition_owner_name"),
        sa.CheckConstraint(
            "visibility IN ('private', 'shared')", name=op.f("ck_definition_visibility")
        ),
    )
    shared = sa.text("visibility = 'shared'")
    op.create_index(
        "ix_definition_shared",
        "definition",
        ["owner", "name"],
        sqlite_where=shared,
        postgresql_where=shared,
    )
    op.create_table(
        "definition_version",
        sa.Column("definition_pk", KEY, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("by", sa.String(200), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("definition_pk", "number", name="pk_definition_version"),
        sa.ForeignKeyConstraint(
            ["definition_pk"], ["definition.pk"], name="fk_definition_version_definition_pk"
        ),
    )
    op.create_index("ix_definition_version_sha256", "definition_version", ["sha256"])
