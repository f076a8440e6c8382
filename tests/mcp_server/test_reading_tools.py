"""What a caller reads of files of any kind: several at once, pictures, binaries, facts."""

import hashlib
import os
import struct
import zlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mcp_server.errors import (
    InvalidInputError,
    LimitError,
    NotAFileError,
    NotFoundError,
    PathEscapeError,
    PermissionDeniedError,
    ServerError,
)
from mcp_server.fence.changes.change import Caller
from mcp_server.fence.grant import Grant, Limits
from mcp_server.fence.openers import Opener
from mcp_server.fence.reading.magic import media_type
from mcp_server.fence.workspace import Workspace
from mcp_server.tools.registry import TOOLS
from mcp_server.tools.tool import Media
from tests.mcp_server.conftest import Yard, call


def png(width: int, height: int) -> bytes:
    """A black picture."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        end = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + end

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * (width + 1) * height)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", rows), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


GIF = b"GIF89a" + struct.pack("<HH", 20, 10) + b"\0" * 20
JPEG = (
    b"\xff\xd8\xff\xe0\0\x10JFIF" + b"\0" * 10 + b"\xff\xc4\0\x04ab"
    b"\xff\xc2\0\x11\x08" + struct.pack(">HH", 300, 400) + b"\0" * 20
)  # fmt: skip
WEBP_LOSSY = b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 64, 32)
WEBP_LOSSLESS = b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + struct.pack("<I", 63 | 31 << 14)
WEBP_EXTENDED = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\x3f\0\0" + b"\x1f\0\0"
PDF = b"%PDF-1.7\n1 0 obj\n<< >>\nendobj\n%%EOF\n"


async def read(workspace: Workspace, path: str) -> Media:
    answer = await TOOLS["read_file"].parse({"path": path}).call(workspace, Caller())
    assert isinstance(answer, Media)
    return answer


@pytest.mark.parametrize(
    ("content", "mime", "pixels"),
    [
        (png(3, 5), "image/png", " · 3x5 pixels"),
        (GIF, "image/gif", " · 20x10 pixels"),
        (JPEG, "image/jpeg", " · 400x300 pixels"),
        (WEBP_LOSSY, "image/webp", " · 64x32 pixels"),
        (WEBP_LOSSLESS, "image/webp", " · 64x32 pixels"),
        (WEBP_EXTENDED, "image/webp", " · 64x32 pixels"),
        (PDF, "application/pdf", ""),
        (b"\xff\xd8\xff\xe0\0", "image/jpeg", ""),
    ],
)
async def test_pictures_and_pdf_are_given_as_what_they_hold_not_as_they_are_called(
    yard: Yard, workspace: Workspace, content: bytes, mime: str, pixels: str
) -> None:
    yard.write("docs/thing.txt", content)
    answer = await read(workspace, "docs/thing.txt")
    digest = hashlib.sha256(content).hexdigest()[:12]
    assert answer == Media(
        f"docs/thing.txt · {mime}{pixels} · {len(content)} bytes · sha256 {digest}",
        "docs/thing.txt",
        mime,
        content,
    )


@pytest.mark.parametrize(
    "content", [png(3, 5), GIF, JPEG, WEBP_LOSSY, WEBP_LOSSLESS, WEBP_EXTENDED]
)
def test_a_picture_cut_anywhere_is_looked_at_safely(content: bytes) -> None:
    for end in range(len(content)):
        media_type(content[:end])


async def test_a_large_picture_is_described_and_not_sent(yard: Yard) -> None:
    yard.write("a.png", png(100, 100))
    limits = Limits(media_bytes=50)
    async with Workspace.open(yard.root, Grant.full().model_copy(update={"limits": limits})) as it:
        answer = await call(it, "read_file", path="a.png")
    assert answer.startswith("a.png · image/png · 100x100 pixels · ")
    assert answer.endswith(" · not shown: over 50 bytes")


async def test_svg_is_text_and_a_text_called_png_is_text(yard: Yard, workspace: Workspace) -> None:
    yard.write("a.svg", "<svg/>\n")
    yard.write("a.png", "no picture\n")
    assert "     1\t<svg/>" in await call(workspace, "read_file", path="a.svg")
    assert "     1\tno picture" in await call(workspace, "read_file", path="a.png")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"PK\x03\x04\0\0", "zip archive"),
        (b"\x1f\x8b\x08\0", "gzip archive"),
        (b"\x7fELF\x02\0", "ELF program or library"),
        (b"SQLite format 3\0", "SQLite database"),
        (b"\0" * 257 + b"ustar\0", "tar archive"),
        (b"text\0text", "binary"),
        (b"\xff\xfe\0", "binary"),
    ],
)
async def test_what_is_no_text_is_described_in_a_line(
    yard: Yard, workspace: Workspace, content: bytes, kind: str
) -> None:
    yard.write("thing", content)
    digest = hashlib.sha256(content).hexdigest()[:12]
    assert await call(workspace, "read_file", path="thing") == (
        f"thing · {kind} · {len(content)} bytes · sha256 {digest} · not text"
    )


async def test_a_file_too_large_to_read_is_described_if_it_is_no_text(yard: Yard) -> None:
    yard.write("a.zip", b"PK\x03\x04" + b"\0" * 2000)
    yard.write("a.txt", "x" * 2000)
    limits = Limits(file_bytes=1000)
    async with Workspace.open(yard.root, Grant.full().model_copy(update={"limits": limits})) as it:
        assert await call(it, "read_file", path="a.zip") == (
            "a.zip · zip archive · 2004 bytes · not text"
        )
        with pytest.raises(LimitError, match="Find what you need in it with grep"):
            await call(it, "read_file", path="a.txt")
        assert "type: text, too large to be read" in await call(it, "file_info", path="a.txt")


async def test_a_page_says_how_its_text_is_stored(yard: Yard, workspace: Workspace) -> None:
    for content, facts in (
        (b"a\r\nb\r\n", " · CRLF"),
        (b"a\r\nb\n", " · CRLF and LF"),
        (b"\xef\xbb\xbfa\n", " · BOM"),
        ("\ufeffa\r\n".encode("utf-16-le"), " · UTF-16-LE · BOM · CRLF"),
        (b"caf\xe9\r\n", " · not UTF-8: \\xHH is one byte · CRLF"),
        (b"a\n", ""),
    ):
        yard.write("file", content)
        header = (await call(workspace, "read_file", path="file")).split("\n")[0]
        digest = hashlib.sha256(content).hexdigest()[:12]
        assert header.endswith(f"{len(content)} bytes · sha256 {digest}{facts}")


async def test_several_files_are_read_at_once_each_with_its_own_error(
    yard: Yard, workspace: Workspace
) -> None:
    yard.write("thing", b"\0")
    yard.write(".env", "x")
    paths = ["src/app.py", "nope", "thing", ".env", "../x", "src", "src/app.py", "docs/guide.md"]
    answer = await call(workspace, "read_files", paths=paths)
    assert answer.split("\n\n") == [
        await call(workspace, "read_file", path="src/app.py"),
        "Error: File 'nope' does not exist. See what the root holds with list_directory.",
        await call(workspace, "read_file", path="thing"),
        "Error: Path '.env' is out of reach of all tools: it is denied, as secrets, history and "
        "settings are. Go on without it.",
        "Error: Path '../x' leads out of the workspace. Give a path relative to its root, such as "
        "'src/app.py'; links and '..' are followed only inside.",
        "Error: Path 'src' is a directory. See what it holds with list_directory.",
        await call(workspace, "read_file", path="docs/guide.md"),
    ]


async def test_an_absolute_path_is_named_from_the_root_on_however_deep_the_root_lies(
    tmp_path: Path,
) -> None:
    """Cut before, it would be named by nothing but the root."""
    root = tmp_path / ("deep" * 20)
    root.mkdir()
    async with Workspace.open(root, Grant.full()) as it:
        with pytest.raises(NotFoundError, match=r"^File 'src/nope\.py' does not exist"):
            await call(it, "read_file", path=f"{root}/src/nope.py")


async def test_files_share_one_budget_and_large_ones_say_how_to_go_on(
    yard: Yard, workspace: Workspace
) -> None:
    yard.write("small", "s\n" * 10)
    for name in ("large", "larger"):
        yard.write(name, f"{name} line of some length\n" * 9000)
    answer = await call(workspace, "read_files", paths=["large", "small", "larger"])
    large, small, larger = answer.split("\n\n")
    assert small == await call(workspace, "read_file", path="small")
    assert 45_000 < len(answer) < 51_000
    for page in (large, larger):
        shown = len(page.split("\n")) - 2
        assert 20_000 < len(page) < 26_000
        assert page.endswith(f"… {9000 - shown} more lines; go on with offset={shown + 1}.")


async def test_many_wide_files_stay_within_the_budget(yard: Yard, workspace: Workspace) -> None:
    for number in range(50):
        yard.write(f"{number}.js", "ä" * 1_000_000)
    answer = await call(workspace, "read_files", paths=[f"{number}.js" for number in range(50)])
    assert len(answer.encode()) < 60_000
    assert answer.count("… 1 more line; go on with offset=1.") == 50
    with pytest.raises(InvalidInputError, match="at most 50 items"):
        await call(workspace, "read_files", paths=[str(number) for number in range(51)])


async def test_the_facts_about_a_file_are_told(yard: Yard, workspace: Workspace) -> None:
    file = yard.write("src/b.py", b"\xef\xbb\xbfa\r\nb\r\n")
    file.chmod(0o640)
    os.utime(file, (0, 1_700_000_000))
    assert await call(workspace, "file_info", path="src/b.py") == (
        "src/b.py\n"
        "type: text, 2 lines, UTF-8 with BOM, line ends CRLF\n"
        "size: 9 bytes\n"
        f"modified: {datetime.fromtimestamp(1_700_000_000, UTC):%Y-%m-%dT%H:%M:%SZ}\n"
        "mode: 0640\n"
        f"sha256: {hashlib.sha256(file.read_bytes()).hexdigest()}\n"
        "writable: yes"
    )
    yard.write("a.png", png(3, 5))
    assert "\ntype: image/png, 3x5 pixels\n" in await call(workspace, "file_info", path="a.png")
    yard.write("zip", b"PK\x03\x04\0")
    assert "\ntype: zip archive, not text\n" in await call(workspace, "file_info", path="zip")


async def test_the_facts_about_a_directory_count_only_what_may_be_seen(yard: Yard) -> None:
    yard.write("src/.env")
    yard.write("src/x.md")
    yard.write("src/deep/a.md")
    (yard.root / "src").chmod(0o755)
    async with Workspace.open(yard.root, Grant(read=("src/*.py",))) as workspace:
        rows = (await call(workspace, "file_info", path="src")).split("\n")
    assert [rows[0], rows[1], rows[3]] == ["src", "type: directory, 1 entry", "mode: 0755"]
    assert rows[2].startswith("modified: ")
    assert len(rows) == 4


async def test_a_link_is_told_with_where_it_leads(yard: Yard, opener: Opener) -> None:
    yard.link("docs/link", "../src/app.py")
    yard.link("way", "docs")
    async with Workspace.open(yard.root, Grant(read=("**",)), opener=opener) as workspace:
        for path in ("docs/link", "way/link", "docs/../docs/link"):
            rows = (await call(workspace, "file_info", path=path)).split("\n")
            assert rows[:2] == ["src/app.py", "link: docs/link -> ../src/app.py"]
            assert rows[-1] == "writable: no"
        assert "link:" not in await call(workspace, "file_info", path="src/app.py")
        assert "link: way -> docs" in await call(workspace, "file_info", path="way")
        assert "link:" not in await call(workspace, "file_info", path="way/")


async def test_no_facts_get_past_the_fence(yard: Yard, opener: Opener) -> None:
    yard.write(".env", "x")
    yard.write("hidden/a", "x")
    yard.link("out", yard.outside / "secret.txt")
    yard.link("to-env", ".env")
    yard.link("hidden/link", "../src/app.py")
    yard.link("way", "hidden")
    os.mkfifo(yard.root / "pipe")
    refused: dict[str, type[ServerError]] = {
        ".env": PermissionDeniedError,
        "to-env": PermissionDeniedError,
        "hidden": PermissionDeniedError,
        "hidden/link": PermissionDeniedError,
        "out": PathEscapeError,
        "..": PathEscapeError,
        "/etc/passwd": PathEscapeError,
        "pipe": NotAFileError,
        "nope": NotFoundError,
    }
    grant = Grant(read=("**",), deny=("hidden/**", "hidden"))
    async with Workspace.open(yard.root, grant, opener=opener) as workspace:
        for path, kind in refused.items():
            with pytest.raises(kind):
                await call(workspace, "file_info", path=path)
            answer = await call(workspace, "read_files", paths=[path])
            assert answer.startswith("Error: ")
        assert "hidden" not in await call(workspace, "file_info", path="way/link")


async def test_hostile_names_are_told_in_one_line(yard: Yard, workspace: Workspace) -> None:
    Path(os.fsdecode(os.fsencode(yard.root) + b"/two\nlines\xe9")).write_bytes(b"\0")
    for name in ("file_info", "read_file"):
        answer = await call(workspace, name, path="two\\x0alines\\xe9")
        assert answer.startswith("two\\x0alines\\xe9")
