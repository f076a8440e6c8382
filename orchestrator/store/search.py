r"""Which sessions say certain words: in their title, in a prompt or in an answer.

Every word must occur, each of them anywhere: `till rounding` finds a session whose title has the
one and whose third answer the other. A word is a part of the text, without regard to case, and
nothing in it is a wildcard. Case is that of ASCII; of other letters, a word is found as it was
typed and when it is all small, all capitals, or capitalised.

A fork is searched in what is its own. What agents think, what tools are given and what they return
are not searched.
"""

import json
from collections.abc import Iterator, Sequence, Set

from sqlalchemy import ColumnElement, Connection, Text, cast, or_, select

from orchestrator.errors import InvalidInputError
from orchestrator.store.tables import MESSAGE, RUN, SESSION, plain

MAX_WORDS = 10
MAX_CHARS = 200

_PORTION = 50
"""Sessions whose answers are read at once."""


def words_of(search: str) -> tuple[str, ...]:
    """Return the words that are looked for.

    Raises:
        InvalidInputError: If there are none, or too many.
    """
    words = tuple(dict.fromkeys(search.split()))
    if not words:
        raise InvalidInputError("The search is empty; name words that the session has.")
    if len(words) > MAX_WORDS or len(search) > MAX_CHARS:
        raise InvalidInputError(
            f"A search has {MAX_WORDS} words and {MAX_CHARS} characters at most."
        )
    if plain(search) != search:
        raise InvalidInputError("The search has characters that no text on record has.")
    return words


def saying(db: Connection, sessions: Sequence[int], words: Sequence[str]) -> Set[int]:
    """Return those of the sessions, given by their keys, that say every word."""
    found = set(sessions)
    for word in words:
        found = _with_title_or_prompt(db, found, word) | _with_answer(db, found, word)
    return found


def _with_title_or_prompt(db: Connection, sessions: Set[int], word: str) -> set[int]:
    titled = select(SESSION.c.pk).where(
        SESSION.c.pk.in_(sessions), _contains(SESSION.c.title, _cases(word))
    )
    # An answer that is no text of a message is on the run's row, as JSON in ASCII.
    output = [json.dumps(case)[1:-1] for case in _cases(word)]
    asked = select(RUN.c.session_pk).where(
        RUN.c.session_pk.in_(sessions),
        or_(_contains(RUN.c.prompt, _cases(word)), _contains(cast(RUN.c.output, Text), output)),
    )
    return {pk for query in (titled, asked) for (pk,) in db.execute(query)}


def _with_answer(db: Connection, sessions: Set[int], word: str) -> set[int]:
    """Return the sessions with the word in the text of a response.

    The database looks into the whole JSON, where words such as `content` stand in every row, and
    those that it finds are read.
    """
    inside_json = [json.dumps(case, ensure_ascii=False)[1:-1] for case in _cases(word)]
    ordered = sorted(sessions)
    found: set[int] = set()
    for start in range(0, len(ordered), _PORTION):
        query = select(MESSAGE.c.session_pk, MESSAGE.c.body).where(
            MESSAGE.c.session_pk.in_(ordered[start : start + _PORTION]),
            MESSAGE.c.kind == "response",
            _contains(MESSAGE.c.body, inside_json),
        )
        for pk, body in db.execute(query):
            if pk not in found and any(word.casefold() in text.casefold() for text in _texts(body)):
                found.add(pk)
    return found


def _cases(word: str) -> tuple[str, ...]:
    if word.isascii():
        return (word,)
    return tuple(dict.fromkeys((word, word.lower(), word.upper(), word.capitalize())))


def _contains(column: ColumnElement[str], cases: Sequence[str]) -> ColumnElement[bool]:
    return or_(*(column.icontains(case, autoescape=True) for case in cases))


def _texts(body: str) -> Iterator[str]:
    try:
        parts = json.loads(body)["parts"]
        yield from (part["content"] for part in parts if part["part_kind"] == "text")
    except (ValueError, LookupError, TypeError):
        return  # a damaged row says nothing; whoever reads the session is told
