"""The bytes of a file as text and back again, without the loss of one."""

import codecs
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from mcp_server.errors import InvalidInputError, NotTextError
from mcp_server.text import shown

Encoding = Literal["utf-8", "utf-16-le", "utf-16-be"]
LineEnds = Literal["LF", "CRLF", "mixed"]

_WIDE: tuple[tuple[bytes, Encoding], ...] = (
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
for _, _name in _WIDE:
    # Codecs are modules, imported when first used: later a confined thread could not open them.
    codecs.lookup(_name)
UTF16_MARKS = tuple(mark for mark, _ in _WIDE)
_STRAY = re.compile("[\udc80-\udcff]")
_LETTER = re.compile("[^\x00-\x7f\udc80-\udcff]")


@dataclass(frozen=True, slots=True)
class Text:
    r"""What a file says, and how it says it.

    A byte that is not UTF-8, as in Latin-1 or Shift-JIS, stands as one of U+DC80..U+DCFF (PEP 383)
    and becomes the same byte again; `mcp_server.text.outgoing` shows it as `\xe9`.
    """

    text: str
    """The content, without the byte order mark."""
    encoding: Encoding
    bom: bytes
    """The byte order mark; empty when the file has none."""
    path: str
    """The file, as the caller named it."""

    def encode(self, new_text: str) -> bytes:
        """Return the content of the file when it says `new_text` in the same way.

        Raises:
            InvalidInputError: `new_text` holds a lone surrogate that stands for no byte, or a
                letter in a file of which it is not known how it writes letters.
        """
        # Where all stray bytes have been replaced, the file has become UTF-8.
        if _STRAY.search(new_text) and not _LETTER.search(self.text):
            self._refuse_letters(new_text)
        errors = "surrogateescape" if self.encoding == "utf-8" else "strict"
        return self.bom + _encoded(new_text, self.encoding, errors, self.path)

    def _refuse_letters(self, new_text: str) -> None:
        letter = _LETTER.search(new_text)
        if letter is not None:
            raise InvalidInputError(
                f"File {shown(self.path)} is not UTF-8, so it is not known which bytes "
                f"{letter[0]!r} has in it. Use ASCII, or letters that are in the file, written as "
                r"read_file shows them, such as \xe4."
            )


def decode(content: bytes, path: str) -> Text:
    """Return the text of a file, such that encoding it again gives the same bytes.

    UTF-8 with and without a byte order mark, UTF-16 with one, and any other encoding that leaves
    ASCII as it is.

    Raises:
        NotTextError: there are NULs in it.
    """
    for bom, encoding in _WIDE:
        if content.startswith(bom):
            # Else these two bytes are letters of another encoding, and the rest is none of UTF-16.
            with suppress(UnicodeDecodeError):
                return _text(content[2:].decode(encoding), encoding, bom, path)
    bom = codecs.BOM_UTF8 if content.startswith(codecs.BOM_UTF8) else b""
    text = content[len(bom) :].decode("utf-8", "surrogateescape")
    return _text(text, "utf-8", bom, path)


def like(old: bytes, new_text: str, path: str) -> bytes:
    r"""Return the content of a file that is replaced as a whole, in the manner of the old one.

    It keeps the byte order mark with its encoding, and CRLF: when every line of the old file ends
    so and no line of the new text does, the caller has seen lines without their ends. A caller who
    sends CRLF decides itself. Other encodings are not kept, as nothing says which one it is: the
    new file is UTF-8. What was no text gives nothing to keep.

    Raises:
        InvalidInputError: `new_text` holds a lone surrogate or a NUL.
    """
    if "\0" in new_text:
        raise InvalidInputError(f"The content for {shown(path)} holds a NUL; no text does.")
    try:
        before = decode(old, path)
    except NotTextError:
        before = Text("", "utf-8", b"", path)
    if line_ends(before.text) == "CRLF" and "\r\n" not in new_text:
        new_text = new_text.replace("\n", "\r\n")
    if before.bom:
        new_text = new_text.removeprefix("\ufeff")  # the caller may send the mark along
    return before.bom + _encoded(new_text, before.encoding, "strict", path)


def line_ends(text: str) -> LineEnds | None:
    r"""Return how the lines of `text` end; None if none does.

    >>> line_ends("a\r\nb"), line_ends("a\nb\r\n"), line_ends("a\n"), line_ends("a")
    ('CRLF', 'mixed', 'LF', None)
    """
    ends, both = text.count("\n"), text.count("\r\n")
    if not ends:
        return None
    return "LF" if not both else "CRLF" if both == ends else "mixed"


def _text(text: str, encoding: Encoding, bom: bytes, path: str) -> Text:
    if "\0" in text:
        raise NotTextError(f"File {shown(path)} is not text: it holds NUL bytes.")
    return Text(text, encoding, bom, path)


def _encoded(text: str, encoding: Encoding, errors: str, path: str) -> bytes:
    try:
        return text.encode(encoding, errors)
    except UnicodeEncodeError:
        raise InvalidInputError(
            f"The content for {shown(path)} is not valid Unicode: it holds a lone surrogate."
        ) from None
