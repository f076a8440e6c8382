"""Definitions in their tables: read by whoever may, and changed by adding a version."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any  # a row of any columns

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    insert,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.exc import IntegrityError

from orchestrator.definition import Edit, Text, Version, Visibility
from orchestrator.errors import DefinitionEditedError, DefinitionTakenError, NotFoundError
from orchestrator.session import is_plain
from orchestrator.store.definition_tables import DEFINITION, VERSION
from orchestrator.store.writer import Transaction

Found = Row[*tuple[Any, ...]]

MAX_NUMBER = 2**31 - 1
"""What a column of either database takes."""

NEAR = 200
"""Names that an error is made from when none fits."""

_SHARED = text("definition.visibility = 'shared'")
"""Its value in the statement itself: only so is the index of those that are shared taken."""

_TEXT = (
    DEFINITION.c.owner,
    DEFINITION.c.name,
    DEFINITION.c.visibility,
    VERSION.c.number,
    VERSION.c.sha256,
    VERSION.c.spec,
)
_JOINED = select(*_TEXT, DEFINITION.c.updated_at).join(
    VERSION, VERSION.c.definition_pk == DEFINITION.c.pk
)
_CURRENT = _JOINED.where(
    VERSION.c.number == DEFINITION.c.current, DEFINITION.c.deleted_at.is_(None)
)


def text_of(
    db: Connection, owner: str, name: str, *, reader: str, number: int | None = None
) -> Text:
    """Return what a definition says: its current version, or one of its earlier ones.

    Raises:
        NotFoundError: If the reader may see none of that owner and name, or it has no such version.
    """
    query = _JOINED if number is not None else _CURRENT
    if number is not None:
        sought = number if 0 < number <= MAX_NUMBER else 0  # which none has
        query = query.where(VERSION.c.number == sought, DEFINITION.c.deleted_at.is_(None))
    found = db.execute(query.where(_called(owner, name), _seen_by(reader))).one_or_none()
    if found is not None:
        return _text(found)
    if number is not None:
        current = text_of(db, owner, name, reader=reader).number
        raise NotFoundError("version", f"{name}@{number}", known=[f"{name}@{current}"])
    raise _none(db, owner, name, reader)


def find_texts(db: Connection, sha256: str, name: str, owners: Sequence[str]) -> Sequence[Text]:
    """Return the current versions of definitions of a name that have once had this hash.

    Theirs come first whose owner comes first; what others own has to be shared.
    """
    once = select(VERSION.c.definition_pk).where(VERSION.c.sha256 == sha256)
    visible = or_(DEFINITION.c.owner.in_(owners), _SHARED)
    query = _CURRENT.where(DEFINITION.c.pk.in_(once), DEFINITION.c.name == name, visible)
    found = [_text(row) for row in db.execute(query.limit(NEAR))]
    return sorted(found, key=lambda t: owners.index(t.owner) if t.owner in owners else len(owners))


def names_of_hash(
    db: Connection, sha256: str, reader: str | None
) -> Sequence[tuple[str, str, int]]:
    """Return owner, name and number of each version that has a hash, also of what is deleted."""
    query = (
        select(DEFINITION.c.owner, DEFINITION.c.name, VERSION.c.number)
        .join(VERSION, VERSION.c.definition_pk == DEFINITION.c.pk)
        .where(VERSION.c.sha256 == sha256)
        .order_by(DEFINITION.c.owner, DEFINITION.c.name, VERSION.c.number)
        .limit(NEAR)
    )
    if reader is not None:
        query = query.where(_seen_by(reader))
    return [(row.owner, row.name, row.number) for row in db.execute(query)]


def list_texts(
    db: Connection, reader: str, *, limit: int, after: tuple[str, str] | None, search: str = ""
) -> Sequence[tuple[Text, datetime]]:
    """Return what the reader may see, the reader's own first, each by owner and name.

    Args:
        db: The database.
        reader: Who looks.
        limit: How many at most.
        after: The owner and name of the one before.
        search: What the name must contain.
    """
    # Two queries, each of which one index answers: an OR of them would go through all there is.
    query = _CURRENT.order_by(DEFINITION.c.owner, DEFINITION.c.name)
    if search:
        query = query.where(DEFINITION.c.name.contains(search, autoescape=True))
    rows: list[Found] = []
    if after is None or after[0] == reader:
        own = query.where(DEFINITION.c.owner == reader, DEFINITION.c.name > (after or ("", ""))[1])
        rows += db.execute(own.limit(limit))
        after = None
    if len(rows) < limit:
        others = query.where(_SHARED, DEFINITION.c.owner != reader)
        if after is not None:
            others = others.where(tuple_(DEFINITION.c.owner, DEFINITION.c.name) > tuple_(*after))
        rows += db.execute(others.limit(limit - len(rows)))
    return [(_text(row), row.updated_at) for row in rows]


def versions_of(
    db: Connection, owner: str, name: str, *, reader: str, limit: int
) -> Sequence[Version]:
    """Return a definition's versions, the latest first.

    Raises:
        NotFoundError: If the reader may see none of that owner and name.
    """
    text_of(db, owner, name, reader=reader)
    query = (
        select(VERSION)
        .join(DEFINITION, DEFINITION.c.pk == VERSION.c.definition_pk)
        .where(_called(owner, name))
        .order_by(VERSION.c.number.desc())
        .limit(limit)
    )
    return [
        Version(
            number=row.number,
            sha256=row.sha256,
            created_at=row.created_at,
            by=row.by,
            note=row.note,
        )
        for row in db.execute(query)
    ]


def create(owner: str, edit: Edit, visibility: Visibility, tx: Transaction) -> int:
    """Put a definition on record, and return its version: 1, or the next one of a deleted one.

    Raises:
        DefinitionTakenError: If the owner has one of this name.
    """
    row = _locked(tx.connection, owner, edit.name)
    if row is None:
        try:
            with tx.connection.begin_nested():
                return _made(tx.connection, owner, edit, visibility)
        except IntegrityError:  # another process was quicker
            row = _locked(tx.connection, owner, edit.name)
            if row is None:
                raise
    if row.deleted_at is None:
        if tx.again and _hash_of(tx.connection, row) == edit.sha256:
            return int(row.current)
        raise DefinitionTakenError(owner, edit.name, row.current)
    return _added(tx.connection, row, edit, visibility)


def add_version(
    owner: str, edit: Edit, visibility: Visibility | None, made_from: int, tx: Transaction
) -> int:
    """Add a version to a definition, unless it says so already; return its current number.

    Args:
        owner: Whose it is; nobody else edits it.
        edit: What it is to say.
        visibility: What it is to be; None leaves it.
        made_from: The version that the edit was made from.
        tx: The transaction.

    Raises:
        NotFoundError: If the owner has none of this name.
        DefinitionEditedError: If somebody else has edited it since.
    """
    row = _owned(tx.connection, owner, edit.name)
    same = _hash_of(tx.connection, row) == edit.sha256
    wanted = visibility or Visibility(row.visibility)
    if same and wanted == row.visibility:
        return int(row.current)
    if row.current != made_from:
        raise DefinitionEditedError(edit.name, made_from=made_from, version=row.current)
    if same:
        values = {"visibility": wanted.value, "updated_at": datetime.now(UTC)}
        tx.connection.execute(update(DEFINITION).where(DEFINITION.c.pk == row.pk).values(values))
        return int(row.current)
    return _added(tx.connection, row, edit, wanted)


def delete(owner: str, name: str, tx: Transaction) -> None:
    """Let nobody find a definition any more; what it has said stays, for the runs of it.

    Raises:
        NotFoundError: If the owner has none of this name.
    """
    row = _locked(tx.connection, owner, name)
    if tx.again and row is not None and row.deleted_at is not None:
        return
    row = _owned(tx.connection, owner, name)
    gone = update(DEFINITION).where(DEFINITION.c.pk == row.pk)
    tx.connection.execute(gone.values(deleted_at=datetime.now(UTC)))


def _called(owner: str, name: str) -> ColumnElement[bool]:
    # No database holds such a name; PostgreSQL's driver does not even take it.
    plain = is_plain(owner) and is_plain(name)
    return and_(
        DEFINITION.c.owner == (owner if plain else ""), DEFINITION.c.name == (name if plain else "")
    )


def _seen_by(reader: str) -> ColumnElement[bool]:
    return or_(DEFINITION.c.owner == reader, _SHARED)


def _locked(db: Connection, owner: str, name: str) -> Found | None:
    query = select(DEFINITION).where(_called(owner, name)).with_for_update()
    return db.execute(query).one_or_none()


def _owned(db: Connection, owner: str, name: str) -> Found:
    row = _locked(db, owner, name)
    if row is None or row.deleted_at is not None:
        raise _none(db, owner, name, owner)
    return row


def _none(db: Connection, owner: str, name: str, reader: str) -> NotFoundError:
    query = (
        select(DEFINITION.c.name)
        .where(DEFINITION.c.owner == (owner if is_plain(owner) else ""))
        .where(DEFINITION.c.deleted_at.is_(None), _seen_by(reader))
        .order_by(DEFINITION.c.name)
        .limit(NEAR)
    )
    return NotFoundError("definition", name, known=db.execute(query).scalars())


def _hash_of(db: Connection, row: Found) -> str:
    query = select(VERSION.c.sha256).where(
        VERSION.c.definition_pk == row.pk, VERSION.c.number == row.current
    )
    return str(db.execute(query).scalar_one())


def _made(db: Connection, owner: str, edit: Edit, visibility: Visibility) -> int:
    now = datetime.now(UTC)
    values = {
        "owner": owner,
        "name": edit.name,
        "visibility": visibility.value,
        "current": 0,
        "created_at": now,
        "updated_at": now,
    }
    db.execute(insert(DEFINITION).values(values))
    row = _locked(db, owner, edit.name)
    assert row is not None, "it was made in this transaction"
    return _added(db, row, edit, visibility)


def _added(db: Connection, row: Found, edit: Edit, visibility: Visibility) -> int:
    """Write the next version of a definition whose row is locked, and make it the current one."""
    now = datetime.now(UTC)
    number = int(row.current) + 1
    version = {
        "definition_pk": row.pk,
        "number": number,
        "sha256": edit.sha256,
        "spec": edit.spec,
        "created_at": now,
        "by": edit.by,
        "note": edit.note,
    }
    db.execute(insert(VERSION).values(version))
    moved = {
        "current": number,
        "visibility": visibility.value,
        "updated_at": now,
        "deleted_at": None,
    }
    db.execute(update(DEFINITION).where(DEFINITION.c.pk == row.pk).values(moved))
    return number


def _text(row: Found) -> Text:
    return Text(
        owner=row.owner,
        name=row.name,
        visibility=Visibility(row.visibility),
        number=row.number,
        sha256=row.sha256,
        spec=row.spec,
    )
