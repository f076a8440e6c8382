"""The tables of definitions: specs that are kept on record, and every version of each."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, Text, UniqueConstraint, text
from sqlmodel import Field

from orchestrator.definition import MAX_NOTE_CHARS, Visibility
from orchestrator.session import MAX_NAME_CHARS
from orchestrator.store.tables import Key, Moment, PlainText, Table, core

_VISIBILITIES = ", ".join(f"'{visibility}'" for visibility in Visibility)
_SHARED = text("visibility = 'shared'")


class DefinitionRow(Table, table=True):
    """A stored spec, by its owner and name; what it says is in its versions."""

    __tablename__ = "definition"
    __table_args__ = (
        UniqueConstraint("owner", "name"),
        CheckConstraint(f"visibility IN ({_VISIBILITIES})", name="visibility"),
        Index(
            "ix_definition_shared", "owner", "name", sqlite_where=_SHARED, postgresql_where=_SHARED
        ),
    )

    pk: int | None = Field(default=None, primary_key=True, sa_type=Key)
    owner: str = Field(max_length=MAX_NAME_CHARS)
    name: str = Field(max_length=64)
    visibility: str = Field(max_length=20)
    current: int
    """The number of the version that is run; it only grows."""
    created_at: datetime = Field(sa_type=Moment)
    updated_at: datetime = Field(sa_type=Moment)
    deleted_at: datetime | None = Field(default=None, sa_type=Moment)
    """Since when nobody finds it. Its versions stay: runs on record name them by hash."""


class DefinitionVersionRow(Table, table=True):
    """What a definition has said since one edit of it, written once."""

    __tablename__ = "definition_version"
    __table_args__ = (Index("ix_definition_version_sha256", "sha256"),)

    definition_pk: int = Field(foreign_key="definition.pk", primary_key=True, sa_type=Key)
    number: int = Field(primary_key=True)
    sha256: str = Field(max_length=64)
    """That of the canonical JSON: `Spec.sha256`, which the run's row has too."""
    spec: str = Field(sa_type=Text)
    """JSON, its keys in the order in which they were written."""
    created_at: datetime = Field(sa_type=Moment)
    by: str = Field(max_length=MAX_NAME_CHARS)
    note: str = Field(max_length=MAX_NOTE_CHARS, sa_type=PlainText)


METADATA = Table.metadata
"""Of all tables: these, and those of `tables`."""

DEFINITION = core(DefinitionRow)
VERSION = core(DefinitionVersionRow)
