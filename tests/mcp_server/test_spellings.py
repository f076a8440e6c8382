"""The decided answer for each odd thing that a path can be, or lead to, tried on every operation.

What is never: an escape, a hang, a way round what is denied on a file system that folds names.
"""

import os
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from mcp_server.errors import (
    InvalidInputError,
    NotAFileError,
    NotFoundError,
    PathEscapeError,
    PermissionDeniedError,
    ServerError,
)
from mcp_server.fence.grant import Grant
from mcp_server.fence.openers import Opener
from mcp_server.fence.workspace import Workspace
from tests.mcp_server.conftest import SECRET, Yard, write_text
from tests.mcp_server.layouts import root_at, snapshot, untouched
from tests.mcp_server.operations import OPERATIONS, answer

pytestmark = pytest.mark.usefixtures("no_disk")

OWN = "its own content"
READ, LISTED = OWN, "a directory"
Answer = str | type[ServerError]


def socket_at(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(path))


def device_at(path: Path) -> None:
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("this user may not make a device")


def hard_link_at(path: Path) -> None:
    (path.parent / "other-name").write_text(OWN)
    os.link(path.parent / "other-name", path)


def link_to(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def file_at(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(OWN)


def nothing_at(path: Path) -> None:
    """Leave the place empty."""


@dataclass(frozen=True)
class Odd:
    """One odd path: what is there, and what a read, a listing and a write answer."""

    decided: str
    path: str
    there: Callable[[Path], None]
    read: Answer
    listed: Answer
    written: Answer

    def __str__(self) -> str:
        return self.decided.split(":")[0].replace(" ", "-")


NAF, NF, ESC = NotAFileError, NotFoundError, PathEscapeError
INV, DENIED = InvalidInputError, PermissionDeniedError
WRITTEN = "written"
LONG, LONGER = "n" * 255, "n" * 256
DEEP = "/".join("d" * 250) + "/file"

ODDITIES = (
    # what a path leads to
    Odd("FIFO: refused at once", "thing", os.mkfifo, NAF, NAF, NAF),
    Odd("socket: refused", "thing", socket_at, NAF, NAF, NAF),
    Odd("device: refused", "thing", device_at, NAF, NAF, NAF),
    Odd("hard link: a file; a write parts it", "thing", hard_link_at, READ, NAF, WRITTEN),
    Odd("link to a FIFO elsewhere: an escape", "thing", link_to("../pipe"), ESC, ESC, ESC),
    Odd("link into proc: an escape", "thing", link_to("/proc/self/environ"), ESC, ESC, ESC),
    Odd("link to itself: a loop", "thing", link_to("thing"), INV, INV, INV),
    Odd("trailing slash on a file: a directory is meant", "file/", nothing_at, NF, NF, NAF),
    Odd("trailing dot on a file: likewise", "src/app.py/.", nothing_at, NAF, NAF, NAF),
    # what a path is
    Odd("NUL: no name has one", "a\0b", nothing_at, INV, INV, INV),
    Odd("lone surrogate: no text has one", "a\ud800b", nothing_at, INV, INV, INV),
    Odd("bad UTF-8: by the spelling of listings", r"caf\xe9",
        lambda path: file_at(path.with_name("caf\udce9")), READ, NAF, WRITTEN),
    Odd("255 bytes: a name", LONG, file_at, READ, NAF, WRITTEN),
    Odd("256 bytes: too long", LONGER, nothing_at, INV, INV, INV),
    Odd("128 letters of two bytes: too long too", "é" * 128, nothing_at, INV, INV, INV),
    Odd("251 names: deep, and a path", DEEP, file_at, READ, NAF, WRITTEN),
    Odd("300 names: too deep", "d/" * 300 + "file", nothing_at, INV, INV, INV),
    Odd("4095 bytes: a path", "/".join(["n" * 63] * 64), nothing_at, NF, NF, WRITTEN),
    Odd("4096 bytes: too long", "/".join(["n" * 63] * 64) + "n", nothing_at, INV, INV, INV),
    Odd("newline: a name", "two\nlines", file_at, READ, NAF, WRITTEN),
    Odd("escape sequence: a name", "\x1b[31mred", file_at, READ, NAF, WRITTEN),
    Odd("spaces: a name", "  ", file_at, READ, NAF, WRITTEN),
    Odd("three dots: a name", "...", file_at, READ, NAF, WRITTEN),
    # Windows, UNC and URLs: names on a system that gives them no meaning
    Odd("drive: a name", r"C:\x", file_at, READ, NAF, WRITTEN),
    Odd("drive with slashes: a directory", "C:/x", file_at, READ, NAF, WRITTEN),
    Odd("UNC: a name", r"\\server\share", file_at, READ, NAF, WRITTEN),
    Odd("UNC with slashes: a foreign absolute path", "//server/share", nothing_at, ESC, ESC, ESC),
    Odd("backslashes: a name", r"..\..\x", file_at, READ, NAF, WRITTEN),
    Odd("file URL: a directory `file:`", "file:///etc/passwd", file_at, READ, NAF, WRITTEN),
    Odd("CON: a name", "CON", file_at, READ, NAF, WRITTEN),
    Odd("stream: a name", "a:stream", file_at, READ, NAF, WRITTEN),
    Odd("percent: never decoded", "%2e%2e/%2fetc", file_at, READ, NAF, WRITTEN),
    Odd("tilde: a name", "~/x", file_at, READ, NAF, WRITTEN),
    Odd("variable: a name", "$HOME", file_at, READ, NAF, WRITTEN),
    Odd("glob: a name", "*", file_at, READ, NAF, WRITTEN),
    # twins: other names, unless what they are twins of is denied
    Odd("case twin: another name", "SRC/APP.PY", file_at, READ, NAF, WRITTEN),
    Odd("composed: another name than decomposed", "caf\u00e9", file_at, READ, NAF, WRITTEN),
    Odd("decomposed: another name", "cafe\u0301", file_at, READ, NAF, WRITTEN),
    Odd("full width: a name; nobody folds it", ".\uff47\uff49\uff54", file_at, READ, NAF, WRITTEN),
    Odd("dots like slashes: a name", "..\u2215..\u2215etc", file_at, READ, NAF, WRITTEN),
    Odd("short name of what is not denied: a name", "LONGNA~1.TXT", file_at, READ, NAF, WRITTEN),
)  # fmt: skip

TWINS = (
    ".GIT", ".Git", ".giT",  # case: APFS, NTFS, FAT, ext4 with casefold
    ".g\u200cit", ".git\u200d", "\ufeff.git", ".g\u00adit", ".\u2060git",  # no glyph: HFS+, ext4
    ".git.", ".git ", ".git. .", ".git...",  # the end: FAT, NTFS
    ".git::$INDEX_ALLOCATION", ".git:stream", ".git ::$DATA",  # streams: NTFS
    "GIT~1", "git~2", "GI7D29~1",  # short names: FAT, NTFS
)  # fmt: skip
"""Names that some file system takes for `.git`: CVE-2014-9390, CVE-2019-1352, CVE-2019-1353."""

OTHER_TWINS = (".ENV", ".env.", "\u200b.env", "ENV~1", "ENV~1.LOC", "ID_RSA", "id_rsa ", "ID_RSA~1",
               "KEY.PEM", "key.pem.", "key.pem::$DATA", "SERVER~1.PEM", "\u017fecret.\u212aEY",
               "VAULT~1.KDB")  # fmt: skip


@pytest.mark.parametrize("odd", ODDITIES, ids=str)
async def test_an_odd_path_has_its_decided_answer(yard: Yard, opener: Opener, odd: Odd) -> None:
    odd.there(yard.root / odd.path) if odd.there is not nothing_at else None
    with untouched(yard.outside):
        async with Workspace.open(yard.root, Grant.full(), opener=opener) as workspace:
            with anyio.fail_after(20):
                check(await said(lambda: workspace.read_text(odd.path)), odd.read)
                check(await said(lambda: workspace.list_directory(odd.path)), odd.listed)
                check(await said(lambda: write_text(workspace, odd.path, "x")), odd.written)


async def said(ask: Callable[[], object]) -> object:
    try:
        return await ask()  # type: ignore[misc]  # each is an awaitable of its own kind
    except ServerError as error:
        return error


def check(found: object, expected: Answer) -> None:
    if not isinstance(expected, str):
        assert type(found) is expected, found
    elif expected is READ:
        assert getattr(found, "text", found) == OWN
    else:
        assert not isinstance(found, ServerError), found


@pytest.mark.parametrize("odd", ODDITIES, ids=str)
async def test_no_operation_hangs_or_gets_out_by_an_odd_path(yard: Yard, odd: Odd) -> None:
    with untouched(yard.outside):
        async with Workspace.open(yard.root, Grant.full()) as workspace:
            for operation in OPERATIONS:
                if odd.there is not nothing_at and not os.path.lexists(yard.root / odd.path):
                    odd.there(yard.root / odd.path)
                with anyio.fail_after(20):
                    text = str(await answer(workspace, operation, odd.path))
                assert SECRET not in text
                assert "root:x:0" not in text
                assert "bug" not in text


@pytest.mark.parametrize("name", [*TWINS, *OTHER_TWINS])
async def test_no_twin_of_a_denied_name_is_a_way_round(yard: Yard, name: str) -> None:
    """It is denied even here, where it is another name: a folding file system may be mounted."""
    yard.write(f"{name}/config", SECRET)
    yard.write(f"docs/{name}/config", SECRET)
    async with Workspace.open(yard.root, Grant.full()) as workspace:
        with untouched(yard.root):
            for operation in OPERATIONS:
                for path in (name, f"{name}/config", f"docs/{name}/config", f"{name}/new"):
                    text = str(await answer(workspace, operation, path))
                    assert SECRET not in text
                    assert "out of reach" in text, f"{operation} {path}: {text}"
        listing = await workspace.list_directory(".", depth=3)
        assert not [each for each in listing.entries if name in each.path]


@pytest.mark.parametrize(
    "name",
    [".gitignore", ".github", ".gitattributes", "git", ".git-blame-ignore-revs", "env", ".envoy",
     "draft~1.txt", "a~b", "notes.", "12:30.txt", "environment~1", "HEAD~1", "keys.txt", "pem"],
)  # fmt: skip
async def test_a_name_that_is_no_twin_is_an_ordinary_one(yard: Yard, name: str) -> None:
    async with Workspace.open(yard.root, Grant.full()) as workspace:
        await write_text(workspace, name, OWN)
        assert (await workspace.read_text(name)).text == OWN


def test_a_link_to_a_special_file_inside_is_not_opened(yard: Yard, opener: Opener) -> None:
    """Opening it would wait, or have an effect: O_NONBLOCK, then a look at what it is."""
    os.mkfifo(yard.root / "pipe")
    yard.link("to-pipe", "pipe")
    with root_at(yard.root, opener) as root, root.open("to-pipe", os.O_NONBLOCK) as opened:
        assert stat.S_ISFIFO(os.fstat(opened.fd).st_mode)
    assert snapshot(yard.root)["pipe"]
