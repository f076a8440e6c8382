"""A session's state: a JSON dictionary that callers and agents share."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast

from pydantic import JsonValue

from orchestrator.errors import InvalidInputError, LimitError, StateConflictError

MAX_BYTES = 65_536
"""An agent reads all of it into its context. What is larger belongs into a file."""

MAX_DEPTH = 50

Values = dict[str, JsonValue]


@dataclass(frozen=True)
class State:
    """A session's state at one version."""

    values: Values
    version: int
    """0 for a state that was never changed; goes up by one with every change."""


class States(Protocol):
    """Where the states of sessions are."""

    async def state(self, session_id: str) -> State:
        """Return a session's state."""
        ...

    async def update_state(
        self, session_id: str, changes: Mapping[str, JsonValue], *, expected_version: int | None
    ) -> State:
        """Change a session's state and return what it is now."""
        ...


def changed(
    session_id: str, state: State, changes: Mapping[str, JsonValue], expected_version: int | None
) -> State:
    """Return a state with changes: a JSON merge patch.

    A value takes the place of the one before, an object is merged into an object, and null removes
    a key. So two callers who change different keys need not know of each other.

    Args:
        session_id: The session, for errors.
        state: The state so far.
        changes: The patch.
        expected_version: The version that the caller has seen; None takes any.

    Raises:
        StateConflictError: If the state has another version than was expected.
        InvalidInputError: If the changes are not JSON.
        LimitError: If the state would be too large.

    Source: RFC 7396.

    >>> before = State({"a": 1, "b": {"c": 2, "d": 3}}, version=4)
    >>> changed("s", before, {"a": None, "b": {"c": 5}}, expected_version=4)
    State(values={'b': {'c': 5, 'd': 3}}, version=5)
    """
    if expected_version is not None and expected_version != state.version:
        raise StateConflictError(session_id, expected=expected_version, actual=state.version)
    values = _merged(state.values, plain_json(changes))
    # As JSON: to Python, 1 and true are the same.
    if json.dumps(values, sort_keys=True) == json.dumps(state.values, sort_keys=True):
        return state
    return State(within_limits(values), state.version + 1)


def plain_json(values: object) -> Values:
    """Return a copy of values that JSON has words for.

    Raises:
        InvalidInputError: If it has none for them, or they are nested too deep.
    """
    try:
        plain = json.loads(json.dumps(values, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"The state must be JSON: {error}.") from None
    if not isinstance(plain, dict):
        raise InvalidInputError("The state must be a JSON object.")
    if _depth(plain) > MAX_DEPTH:
        raise InvalidInputError(f"The state is nested deeper than {MAX_DEPTH} levels.")
    return cast(Values, plain)


def within_limits(values: Values) -> Values:
    """Return the values.

    Raises:
        LimitError: If they are too large.
    """
    size = len(json.dumps(values, ensure_ascii=False).encode(errors="surrogatepass"))
    if size > MAX_BYTES:
        raise LimitError(
            f"The state would have {size} bytes of JSON; the limit is {MAX_BYTES}. Remove keys by "
            "setting them to null, or keep what is large in a file.",
            limit=MAX_BYTES,
            actual=size,
            unit="bytes",
        )
    return values


def _merged(values: Mapping[str, JsonValue], changes: Mapping[str, JsonValue]) -> Values:
    merged = dict(values)
    for key, change in changes.items():
        if change is None:
            merged.pop(key, None)
        elif isinstance(change, dict):
            before = merged.get(key)
            merged[key] = _merged(before if isinstance(before, dict) else {}, change)
        else:
            merged[key] = change
    return merged


def _depth(value: object) -> int:
    """Return how deep JSON is nested, as far as it matters."""
    depth, level = 0, [value]
    while level and depth <= MAX_DEPTH:
        inner = [each for each in level if isinstance(each, dict | list)]
        level = [v for each in inner for v in (each.values() if isinstance(each, dict) else each)]
        depth += bool(inner)
    return depth
