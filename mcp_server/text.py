"""What leaves the server as text: nothing in it breaks the wire or names a place on the host."""

import re
import unicodedata
from collections.abc import Iterable

SURROGATE = re.compile("[\ud800-\udfff]")
"""Half a character: it has no UTF-8."""
_CONTROL_IN_LINE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_ESCAPED_BYTE = re.compile(r"\\x([89a-f][0-9a-f])")
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})|\\u([0-9a-f]{4})")
_SHOWN_CHARS = 80
MAX_ANSWER_BYTES = 50_000
"""Bytes of rows in one answer, about 12,000 tokens: hosts refuse results over 25,000."""
_UNSAFE_IN_NAMES = frozenset({"Cc", "Zl", "Zp"})
"""Unicode categories that end or erase a line: a name with a newline could pose as two entries."""


def outgoing(text: str) -> str:
    r"""Return `text` without lone surrogates; a byte that was not UTF-8 reads `\x80`.

    A lone surrogate cannot be encoded, and the SDK's stdio writer dies of it.

    >>> outgoing("caf\udce9")
    'caf\\xe9'
    """
    return SURROGATE.sub(_escape_surrogate, text)


def printable_name(name: str) -> str:
    r"""Return a file name or path as one line of plain text, to be shown in a result.

    >>> printable_name("two\nlines")
    'two\\x0alines'
    """
    if name.isprintable():
        return name
    return outgoing("".join(map(_escape_control, name)))


def stored_name(shown: str) -> str:
    r"""Return the name that `printable_name` shows as `shown`, as far as that can be told.

    >>> stored_name(r"caf\xe9"), stored_name(r"two\x0alines"), stored_name(r"a\x41")
    ('caf\udce9', 'two\nlines', 'a\\x41')
    """
    name = _ESCAPED.sub(lambda match: chr(int(match[1] or match[2], 16)), unescaped_bytes(shown))
    return name if printable_name(name) == shown and "\0" not in name else shown


def unescaped_bytes(shown: str) -> str:
    r"""Return `shown` with the bytes in it that `outgoing` writes as `\x80` to `\xff`.

    >>> unescaped_bytes(r"caf\xe9, two\x0alines")
    'caf\udce9, two\\x0alines'
    """
    return _ESCAPED_BYTE.sub(lambda match: chr(0xDC00 + int(match[1], 16)), shown)


def count_lines(text: str) -> int:
    r"""Return how many lines `text` has; a last line without an end is one too.

    >>> count_lines("a\r\nb\n"), count_lines("a\nb"), count_lines("")
    (2, 2, 0)
    """
    return text.count("\n") + (bool(text) and not text.endswith("\n"))


def printable_line(line: str) -> str:
    r"""Return a line of a file without control characters other than TAB.

    >>> printable_line("\x1b[31mred")
    '\\x1b[31mred'
    """
    return _CONTROL_IN_LINE.sub(lambda match: _escape_control(match[0]), line)


def quoted(value: str) -> str:
    """Return what a caller gave, in quotes and short enough to be shown to it again.

    >>> quoted("a" * 100) == repr("a" * 80) + "…"
    True
    """
    return repr(value) if len(value) <= _SHOWN_CHARS else f"{value[:_SHOWN_CHARS]!r}…"


def shown(name: str) -> str:
    """Return a name or path in quotes, as a listing writes it and short enough to be shown.

    >>> shown("docs/a.md")
    "'docs/a.md'"
    """
    short = name if len(name) <= _SHOWN_CHARS else name[:_SHOWN_CHARS] + "…"
    return f"'{printable_name(short)}'"


def byte_size(text: str) -> int:
    """Return the bytes of `text` as UTF-8, without making them where it is plain ASCII."""
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


def rows_that_fit(rows: Iterable[str], max_bytes: int = MAX_ANSWER_BYTES) -> list[str]:
    """Return the first `rows` that fit into `max_bytes`, but at least one: each says something."""
    fitting: list[str] = []
    size = 0
    for row in rows:
        size += byte_size(row) + 1
        if size > max_bytes and fitting:
            break
        fitting.append(row)
    return fitting


def counted(count: int, one: str, more: str = "") -> str:
    """Return the count with its noun; the plural is `one` with an s unless it is given.

    >>> counted(1, "line"), counted(0, "line"), counted(2, "entry", "entries")
    ('1 line', '0 lines', '2 entries')
    """
    return f"{count} {one if count == 1 else more or one + 's'}"


def without_host_paths(text: str, roots: Iterable[str]) -> str:
    """Return `text` with every path below one of `roots` made relative.

    A second lock on error texts, which are written without host paths in the first place. Contents
    of files are never changed by it: they are the caller's own.

    >>> without_host_paths("'/srv/yard/a.py' and '/srv/yard-2' in /srv/yard", ["/srv/yard"])
    "'a.py' and '/srv/yard-2' in ."
    """
    for root in sorted(roots, key=len, reverse=True):
        if root != "/":
            text = re.sub(rf"{re.escape(root)}/+(?=[^\s'\"/])", "", text)
            text = re.sub(rf"{re.escape(root)}/*(?![\w.-])", ".", text)
    return text


def _escape_surrogate(match: re.Match[str]) -> str:
    code = ord(match[0])
    # os.fsdecode() stands U+DC80..U+DCFF for the bytes 0x80..0xFF.
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def _escape_control(character: str) -> str:
    if unicodedata.category(character) not in _UNSAFE_IN_NAMES:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
