"""A file's bytes become text and the same bytes again, whatever they are."""

import codecs
import random
import subprocess
import sys

import pytest

from mcp_server.errors import InvalidInputError, NotTextError
from mcp_server.fence.texts.content import decode, like
from mcp_server.text import outgoing

ENCODINGS = [
    "utf-8",
    "utf-8-sig",
    "utf-16",
    "latin-1",
    "cp1252",
    "shift-jis",
    "gb18030",
    "koi8-r",
    "euc-kr",
]


@pytest.mark.parametrize(
    ("sample", "encoding"),
    [
        ("", "utf-8"),
        ("plain\n", "utf-8"),
        ("naïve €\r\nx\ry\n", "utf-8"),
        ("\ufeffnaïve", "utf-8"),
        ("\ufeff\ufeffnaïve", "utf-8"),
        ("naïve €\r\n😀", "utf-16-le"),
        ("naïve €\r\n😀", "utf-16-be"),
        ("naïve", "latin-1"),
        ("“naïve”", "cp1252"),
        ("日本語 ソ\\", "shift-jis"),
        ("日本語", "euc-jp"),
        ("中文", "gb18030"),
        ("ÿþ is Latin-1", "latin-1"),
        ("þÿ is Latin-1!", "latin-1"),
    ],
)
def test_every_text_becomes_the_same_bytes_again(sample: str, encoding: str) -> None:
    mark = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}.get(encoding, b"")
    stored = mark + sample.encode(encoding)
    text = decode(stored, "f")
    assert text.encode(text.text) == stored
    if encoding.startswith("utf"):
        assert text.text == sample.removeprefix("\ufeff")


def test_random_bytes_become_the_same_bytes_again() -> None:
    chance = random.Random(1)
    texts = 0
    for _ in range(3000):
        stored = b"".join(
            chance.choice(
                [b"a", b"\r\n", b"\n", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b"\xe9"]
            )
            if chance.random() < 0.5
            else bytes([chance.randrange(1, 256)])
            for _ in range(chance.randrange(9))
        )
        try:
            text = decode(stored, "f")
        except NotTextError:  # NULs of UTF-16
            continue
        assert text.encode(text.text) == stored
        texts += 1
    assert texts > 2900


def test_a_byte_that_is_not_utf_8_is_shown_as_an_escape() -> None:
    text = decode("café".encode("latin-1"), "f")
    assert outgoing(text.text) == "caf\\xe9"
    assert text.encode(text.text + "s") == b"caf\xe9s"
    assert text.encode("café") == "café".encode()
    with pytest.raises(InvalidInputError, match="not known which bytes 'é' has"):
        text.encode(text.text + "é")


@pytest.mark.parametrize(
    "stored",
    [
        b"a\0b",
        codecs.BOM_UTF8 + b"\0",
        "no mark".encode("utf-16-le"),
        codecs.BOM_UTF16_LE + "odd".encode("utf-16-le") + b"x",
        codecs.BOM_UTF16_LE + b"\x00\xd8",
        codecs.BOM_UTF32_LE + "text".encode("utf-32-le"),
        codecs.BOM_UTF32_BE + "text".encode("utf-32-be"),
        codecs.BOM_UTF16_BE + b"\0\0",
    ],
)
def test_what_holds_nuls_is_not_text(stored: bytes) -> None:
    with pytest.raises(NotTextError, match="File 'f' is not text"):
        decode(stored, "f")


@pytest.mark.parametrize(
    ("stored", "new_text"),
    [
        (b"a", "\ud800 high"),
        (b"a", "\udc41 low"),
        (codecs.BOM_UTF16_LE, "\ud800"),
        (codecs.BOM_UTF16_BE, "\udce9"),
    ],
)
def test_a_surrogate_that_stands_for_no_byte_is_refused(stored: bytes, new_text: str) -> None:
    with pytest.raises(InvalidInputError, match="'f' is not valid Unicode"):
        decode(stored, "f").encode(new_text)
    with pytest.raises(InvalidInputError, match="'f' is not valid Unicode"):
        like(stored, new_text, "f")


@pytest.mark.parametrize(
    ("old", "new_text", "stored"),
    [
        (b"a\nb\n", "x\ny\n", b"x\ny\n"),
        (b"a\r\nb\r\n", "x\ny\n", b"x\r\ny\r\n"),
        (b"a\r\nb", "x\ny", b"x\r\ny"),
        (b"a\r\nb\n", "x\ny\n", b"x\ny\n"),  # mixed: no manner to keep
        (b"a\r\nb\r\n", "x\r\ny\n", b"x\r\ny\n"),  # the caller decides
        (b"a\nb\n", "x\r\ny\r\n", b"x\r\ny\r\n"),
        (b"", "x\ny\n", b"x\ny\n"),
        (b"one line", "x\ny\n", b"x\ny\n"),
        (b"a\rb", "x\ny\n", b"x\ny\n"),
        (codecs.BOM_UTF8 + b"a", "\u00e9", codecs.BOM_UTF8 + b"\xc3\xa9"),
        (codecs.BOM_UTF8 + b"a", "\ufeffx", codecs.BOM_UTF8 + b"x"),
        (b"a", "\ufeffx", codecs.BOM_UTF8 + b"x"),
        (
            codecs.BOM_UTF16_BE + "a\r\n".encode("utf-16-be"),
            "é\n",
            codecs.BOM_UTF16_BE + "é\r\n".encode("utf-16-be"),
        ),
        ("é".encode("latin-1"), "é", "é".encode()),
        (b"\x89PNG\0\r\n", "now text\n", b"now text\n"),
    ],
)
def test_a_file_that_is_replaced_keeps_its_manner(old: bytes, new_text: str, stored: bytes) -> None:
    assert like(old, new_text, "f") == stored


def test_a_whole_file_takes_no_bytes_in_disguise() -> None:
    with pytest.raises(InvalidInputError, match="lone surrogate"):
        like(b"caf\xe9", "caf\udce9", "f")


def test_no_module_is_imported_when_text_is_decoded() -> None:
    """A worker thread is confined to the root by then: the import would fail."""
    script = (
        "import sys, mcp_server.fence.texts.content as content\n"
        "before = set(sys.modules)\n"
        "samples = [b'a\\r\\n', b'\\xff\\xfea\\0\\r\\0\\n\\0', b'\\xfe\\xff\\0a\\0\\r\\0\\n']\n"
        "for sample in samples:\n"
        "    text = content.decode(sample, 'f')\n"
        "    assert content.like(text.encode(text.text + 'b'), 'x\\n', 'f')\n"
        "assert content.decode(b'\\xff\\xfea', 'f').encode('\\udcff')\n"
        "assert set(sys.modules) == before, set(sys.modules) - before\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
