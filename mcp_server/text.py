"""What leaves the server as text: nothing in it breaks the wire or names a place on the host."""

import re
import unicodedata
from collections.abc import Iterable

_SURROGATE = re.compile("[\ud800-\udfff]")
_UNSAFE_IN_NAMES = frozenset({"Cc", "Zl", "Zp"})
"""Unicode categories that end or erase a line: a name with a newline could pose as two entries."""


def outgoing(text: str) -> str:
    r"""Return `text` without lone surrogates; a byte that was not UTF-8 reads `\x80`.

    A lone surrogate cannot be encoded, and the SDK's stdio writer dies of it.

    >>> outgoing("caf\udce9")
    'caf\\xe9'
    """
    return _SURROGATE.sub(_escape_surrogate, text)


def printable_name(name: str) -> str:
    r"""Return a file name or path as one line of plain text, to be shown in a result.

    >>> printable_name("two\nlines")
    'two\\x0alines'
    """
    if name.isprintable():
        return name
    return outgoing("".join(map(_escape_control, name)))


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
