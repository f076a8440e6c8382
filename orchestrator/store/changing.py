"""What users do to sessions beside running agents in them: made, renamed, their state changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import JsonValue
from sqlalchemy import Connection, Update, insert, select, update
from sqlalchemy.exc import IntegrityError

from orchestrator.errors import ExternalIdTakenError, InvalidInputError
from orchestrator.ids import new_id
from orchestrator.session import is_plain, named, titled
from orchestrator.state import State, Values, changed, plain_json, within_limits
from orchestrator.store.finding import find_row, lock_row
from orchestrator.store.tables import SESSION, SessionRow
from orchestrator.store.writer import Transaction

MAX_AGENT_CHARS = 64


@dataclass(frozen=True, kw_only=True)
class SessionDraft:
    """What is known of a session before it is made."""

    owner: str
    agent: str
    root: str
    title: str = ""
    external_id: str | None = None
    state: Values = field(default_factory=dict)
    id: str = field(default_factory=new_id)

    def __post_init__(self) -> None:
        named("owner", self.owner)
        named("agent", self.agent, MAX_AGENT_CHARS)
        if self.external_id is not None:
            named("external id", self.external_id)
        if not self.root or not is_plain(self.root):
            raise InvalidInputError(f"The root {self.root!r} cannot be put on record.")


def create(draft: SessionDraft, tx: Transaction) -> str:
    """Make an empty session and return its id.

    Raises:
        ExternalIdTakenError: If the owner has one of this external id.
    """
    db = tx.connection
    if tx.again and db.execute(select(SESSION.c.pk).where(SESSION.c.id == draft.id)).first():
        return draft.id
    taken = _with_external_id(db, draft)
    if taken is None:
        try:
            with db.begin_nested():
                return _made(db, draft)
        except IntegrityError:  # another process was quicker
            taken = _with_external_id(db, draft)
            if taken is None:
                raise
    raise ExternalIdTakenError(str(draft.external_id), taken)


def get_or_create(draft: SessionDraft, tx: Transaction) -> str:
    """Return the id of the owner's session of an external id, made if there is none."""
    try:
        return create(draft, tx)
    except ExternalIdTakenError as taken:
        return taken.session_id


def rename(session_id: str, owner: str | None, title: str, tx: Transaction) -> None:
    """Give a session another title.

    Raises:
        NotFoundError: If there is no such session.
        InvalidInputError: If the title is empty or too long.
    """
    row = lock_row(tx.connection, session_id, owner)
    tx.connection.execute(_changing(row).values(title=titled(title)))


def state_of(db: Connection, session_id: str, owner: str | None) -> State:
    """Return a session's state.

    Raises:
        NotFoundError: If there is no such session.
    """
    row = find_row(db, session_id, owner)
    return State(row.state, row.state_version)


def update_state(
    session_id: str,
    owner: str | None,
    changes: Mapping[str, JsonValue],
    expected_version: int | None,
    tx: Transaction,
) -> State:
    """Change a session's state, as `changed` says.

    Raises:
        NotFoundError: If there is no such session.
        StateConflictError: If its state has another version than was expected.
    """
    row = lock_row(tx.connection, session_id, owner)
    now = State(row.state, row.state_version)
    if tx.again and changed(session_id, now, changes, None) == now:
        return now
    state = changed(session_id, now, changes, expected_version)
    new = {"state": state.values, "state_version": state.version}
    tx.connection.execute(_changing(row).values(new))
    return state


def _changing(row: SessionRow) -> Update:
    return update(SESSION).where(SESSION.c.pk == row.pk)


def _with_external_id(db: Connection, draft: SessionDraft) -> str | None:
    query = select(SESSION.c.id).where(
        SESSION.c.owner == draft.owner, SESSION.c.external_id == draft.external_id
    )
    found: str | None = None
    if draft.external_id is not None:
        found = db.execute(query).scalar_one_or_none()
    return found


def _made(db: Connection, draft: SessionDraft) -> str:
    now = datetime.now(UTC)
    row = SessionRow(
        id=draft.id,
        owner=draft.owner,
        external_id=draft.external_id,
        agent=draft.agent,
        root=draft.root,
        title=draft.title and titled(draft.title),
        state=within_limits(plain_json(draft.state)),
        created_at=now,
        updated_at=now,
    )
    db.execute(insert(SESSION), row.model_dump(exclude={"pk"}))
    return draft.id
