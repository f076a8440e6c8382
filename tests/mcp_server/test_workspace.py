"""Reading and writing as far as the grant goes, and only files."""

import errno
import os
import random
import socket
import stat
import struct
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from mcp_server.errors import (
    InvalidInputError,
    LimitError,
    NotAFileError,
    NotFoundError,
    NotTextError,
    PathEscapeError,
    PermissionDeniedError,
    ServerError,
    UnavailableError,
)
from mcp_server.fence.changes.change import Caller
from mcp_server.fence.changes.writing import WriteFile
from mcp_server.fence.confinement import Confinement
from mcp_server.fence.deadline import Deadline
from mcp_server.fence.grant import Grant, Limits
from mcp_server.fence.openers import Opener
from mcp_server.fence.reading.files import Files
from mcp_server.fence.search import Query
from mcp_server.fence.workspace import MAX_WORKERS, Workspace
from tests.mcp_server.conftest import SECRET, Yard, write_text

START_S = 20


@pytest.mark.parametrize("path", ["no/such/dir", "root/src/app.py", "", "a\0b"])
async def test_a_root_that_is_no_directory_is_refused(yard: Yard, path: str) -> None:
    root = str(yard.root.parent / path) if path else ""
    with pytest.raises(InvalidInputError, match=r"root is empty|cannot be opened"):
        async with Workspace.open(root, Grant.full()):
            pass


async def test_threads_are_confined_and_the_status_says_so(workspace: Workspace) -> None:
    expected = Path("/sys/kernel/security/lsm")
    assert str(workspace.confinement)
    if expected.exists() and "landlock" in expected.read_text():
        assert workspace.confinement.is_on


async def test_a_file_is_read_whole(yard: Yard, workspace: Workspace) -> None:
    yard.write("src/text.txt", "\ufeffgrüße\r\n")
    file = await workspace.read_text("src/text.txt")
    assert (file.path, file.text, file.size) == ("src/text.txt", "grüße\r\n", 12)


@pytest.mark.parametrize("path", ["../outside/secret.txt", "out", "dir/secret.txt", "/etc/passwd"])
async def test_nothing_outside_is_read_or_written_or_listed(
    yard: Yard, opener: Opener, path: str
) -> None:
    yard.link("out", "../outside/secret.txt")
    yard.link("dir", "../outside")
    async with Workspace.open(yard.root, Grant.full(), opener=opener) as workspace:
        for attempt in (
            lambda: workspace.read_text(path),
            lambda: write_text(workspace, path, "x"),
            lambda: workspace.list_directory(path),
            lambda: workspace.search(Query(pattern="secret", path=path)),
        ):
            with pytest.raises(PathEscapeError) as refused:
                await attempt()
            assert SECRET not in str(refused.value)
            assert str(yard.root.parent) not in str(refused.value)
    assert (yard.outside / "secret.txt").read_text() == SECRET


@pytest.mark.parametrize("kind", ["fifo", "socket", "device"])
async def test_what_is_not_a_file_is_refused_without_waiting(
    yard: Yard, workspace: Workspace, kind: str
) -> None:
    path = yard.root / "thing"
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as unix:
                unix.bind(str(path))
        case _:
            try:
                os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5))
            except PermissionError:
                pytest.skip("this user may not make a device")
    with anyio.fail_after(5):
        for attempt in (
            lambda: workspace.read_text("thing"),
            lambda: write_text(workspace, "thing", "x"),
            lambda: workspace.list_directory("thing"),
            lambda: workspace.search(Query(pattern="x", path="thing")),
        ):
            with pytest.raises(NotAFileError):
                await attempt()
        assert (await workspace.search(Query(pattern="main"))).matches


async def test_five_pipes_do_not_stop_the_server(yard: Yard, workspace: Workspace) -> None:
    """Four reads of a FIFO stop other servers for good: their threads wait for a writer."""
    os.mkfifo(yard.root / "pipe")
    with anyio.fail_after(5):
        for _ in range(5):
            with pytest.raises(NotAFileError):
                await workspace.read_text("pipe")
        await workspace.read_text("src/app.py")


@pytest.mark.parametrize("content", [b"a\0b", b"\xff\xfea"])
async def test_what_is_not_text_is_refused(
    yard: Yard, workspace: Workspace, content: bytes
) -> None:
    yard.write("file", content + b"\0\0\0")
    with pytest.raises(NotTextError, match="NUL"):
        await workspace.read_text("file")


async def test_text_of_other_encodings_is_read(yard: Yard, workspace: Workspace) -> None:
    yard.write("latin", b"caf\xe9")
    yard.write("wide", "\ufeffa\n".encode("utf-16-le"))
    latin, wide = [await workspace.read_text(name) for name in ("latin", "wide")]
    assert (latin.text, latin.encoding, latin.has_bom) == ("caf\udce9", "utf-8", False)
    assert (wide.text, wide.encoding, wide.has_bom) == ("a\n", "utf-16-le", True)


async def test_a_file_over_the_limit_is_not_read(yard: Yard) -> None:
    with (yard.root / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    grant = Grant.full().model_copy(update={"limits": Limits(file_bytes=10)})
    async with Workspace.open(yard.root, grant) as workspace:
        for path, size in (("sparse", 1 << 40), ("src/app.py", 25)):
            with pytest.raises(LimitError) as refused:
                await workspace.read_text(path)
            assert (refused.value.actual, refused.value.limit) == (size, 10)
        with pytest.raises(LimitError):
            await write_text(workspace, "new", "x" * 11)
        assert not (yard.root / "new").exists()


async def test_a_write_creates_replaces_and_keeps_the_mode(
    yard: Yard, workspace: Workspace
) -> None:
    (yard.root / "src/app.py").chmod(0o750)
    replaced = await write_text(workspace, "src/app.py", "new")
    created = await write_text(workspace, "a/b/c.txt", "grüße")
    assert (replaced.path, replaced.before is None) == ("src/app.py", False)
    assert (created.path, created.before is None) == ("a/b/c.txt", True)
    assert (yard.root / "a/b/c.txt").read_text(encoding="utf-8") == "grüße"
    assert (yard.root / "src/app.py").stat().st_mode & 0o7777 == 0o750
    umask = os.umask(0)
    os.umask(umask)
    assert (yard.root / "a/b/c.txt").stat().st_mode & 0o7777 == 0o666 & ~umask
    assert sorted(os.listdir(yard.root / "src")) == ["app.py"]


async def test_a_write_through_a_link_inside_keeps_the_link(
    yard: Yard, workspace: Workspace
) -> None:
    yard.link("link", "src/app.py")
    written = await write_text(workspace, "link", "new")
    assert written.path == "src/app.py"
    assert os.readlink(yard.root / "link") == "src/app.py"
    assert (yard.root / "src/app.py").read_text() == "new"


async def test_a_write_breaks_a_hard_link(yard: Yard, workspace: Workspace) -> None:
    """Package stores share files by hard links: the other name must keep its content."""
    os.link(yard.outside / "secret.txt", yard.root / "shared")
    await write_text(workspace, "shared", "mine")
    assert (yard.outside / "secret.txt").read_text() == SECRET


@pytest.mark.parametrize("path", ["src", "src/", "."])
async def test_a_directory_is_neither_read_nor_replaced(
    yard: Yard, workspace: Workspace, path: str
) -> None:
    for attempt in (lambda: workspace.read_text(path), lambda: write_text(workspace, path, "x")):
        with pytest.raises(NotAFileError, match="directory"):
            await attempt()
    assert (yard.root / "src/app.py").exists()


async def test_a_read_only_file_is_not_replaced(yard: Yard, workspace: Workspace) -> None:
    (yard.root / "src/app.py").chmod(0o444)
    with pytest.raises(PermissionDeniedError, match="read-only"):
        await write_text(workspace, "src/app.py", "x")


async def test_content_with_a_lone_surrogate_is_refused(yard: Yard, workspace: Workspace) -> None:
    with pytest.raises(InvalidInputError, match="surrogate"):
        await write_text(workspace, "src/app.py", "\ud800")
    assert (yard.root / "src/app.py").read_text().startswith("def main")


async def test_the_grant_is_asked_about_the_target_of_a_link(yard: Yard) -> None:
    yard.write("private/a.txt", "hidden")
    yard.write(".env", "KEY=1")
    yard.link("src/link", "../private/a.txt")
    yard.link("src/harmless", "../.env")
    yard.link("src/door", "../private")
    yard.link("elsewhere", "src/app.py")
    grant = Grant(read=("src/**",), write=("src/**",))
    async with Workspace.open(yard.root, grant) as workspace:
        assert (await workspace.read_text("elsewhere")).path == "src/app.py"
        for path in ("src/link", "src/harmless", "src/door/a.txt", "private/a.txt"):
            with pytest.raises(PermissionDeniedError):
                await workspace.read_text(path)
            with pytest.raises(PermissionDeniedError):
                await write_text(workspace, path, "x")
        with pytest.raises(PermissionDeniedError):
            await write_text(workspace, "src/door/new.txt", "x")
    assert sorted(os.listdir(yard.root / "private")) == ["a.txt"]
    assert (yard.root / "private/a.txt").read_text() == "hidden"


@pytest.mark.parametrize(
    "path",
    [".env", ".env/x", ".ENV", ".git/config", "src/../.env", "new/.env", "door/x", "Key.PEM"],
)
async def test_a_denied_name_is_refused_alike_whether_it_exists_or_not(
    yard: Yard, workspace: Workspace, path: str
) -> None:
    yard.link("door", ".git")
    answers = []
    for _ in range(2):
        for attempt in (lambda: workspace.read_text(path), lambda: write_text(workspace, path, "")):
            with pytest.raises(PermissionDeniedError) as refused:
                await attempt()
            answers.append(str(refused.value))
        for name in (".env", ".git/config", ".git/x", "Key.PEM", "new/.env"):
            yard.write(name, "secret")
    assert len(set(answers)) == 1


@pytest.mark.parametrize(
    ("present", "absent"),
    [
        ("door/config", "door/nope"),
        ("door/config/x", "door/nope/x"),
        ("door/hooks/../../src/app.py", "door/nope/../../src/app.py"),
        ("door/hooks/../../../x", "door/nope/../../../x"),
        (".git/hooks/../../src/app.py", ".git/nope/../../src/app.py"),
        (".git/hooks/../../../x", ".git/nope/../../../x"),
        ("to-config", "to-nope"),
        ("to-config/x", "to-nope/x"),
        ("private/a.txt/x", "private/nope/x"),
        ("private/../src/app.py", "gone/../src/app.py"),
        ("door/config/../../x", "door/nope/../../x"),
    ],
)
async def test_no_detour_tells_whether_something_hidden_exists(
    yard: Yard, opener: Opener, present: str, absent: str
) -> None:
    yard.write(".git/config")
    yard.write(".git/hooks/pre-commit")
    yard.write("private/a.txt")
    yard.link("door", ".git")
    yard.link("to-config", ".git/config")
    yard.link("to-nope", ".git/nope")
    grant = Grant(read=("src/**",), write=("**",))
    async with Workspace.open(yard.root, grant, opener=opener) as workspace:
        attempts: list[Callable[[str], Awaitable[object]]] = [
            lambda path: workspace.read_text(path),
            lambda path: workspace.list_directory(path),
            lambda path: workspace.search(Query(pattern="x", path=path)),
        ]
        if "private" not in present:  # which is hidden from reading only
            attempts.append(lambda path: write_text(workspace, path, "x"))
        for attempt in attempts:
            answers = []
            for path in (present, absent):
                with pytest.raises(PermissionDeniedError) as refused:
                    await attempt(path)
                answers.append(str(refused.value).replace(path, ""))
            assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("present", "absent"),
    [("private/a.txt/x", "private/nope/x"), ("private/../src/new.txt", "gone/../src/new.txt")],
)
async def test_no_write_tells_whether_there_is_what_may_be_neither_read_nor_written(
    yard: Yard, opener: Opener, present: str, absent: str
) -> None:
    yard.write("private/a.txt")
    grant = Grant(read=("src/**",), write=("src/**",))
    async with Workspace.open(yard.root, grant, opener=opener) as workspace:
        answers = []
        for path in (present, absent):
            with pytest.raises(PermissionDeniedError) as refused:
                await write_text(workspace, path, "x")
            answers.append(str(refused.value).replace(path, ""))
        assert answers[0] == answers[1]


async def test_a_denied_name_is_refused_even_as_a_link_to_what_is_allowed(
    yard: Yard, workspace: Workspace
) -> None:
    yard.link(".env", "src/app.py")
    yard.link("link", ".env")
    with pytest.raises(PermissionDeniedError):
        await workspace.read_text(".env")
    with pytest.raises(PermissionDeniedError):
        await write_text(workspace, ".env", "x")
    assert (await workspace.read_text("link")).path == "src/app.py"


async def test_what_is_missing_names_what_is_near_but_nothing_denied(
    yard: Yard, workspace: Workspace
) -> None:
    for name in ("Guide.md", "guides.md", "server.key", "server.kex"):
        yard.write(f"docs/{name}")
    for asked, near in (
        ("docs/guide.mD", "'docs' holds 'Guide.md' and 'guide.md' and 'guides.md'."),
        ("docs/server.ke", "'docs' holds 'server.kex'."),
        ("sr", "the root holds 'src'."),
        ("docs/zzz", "See what 'docs' holds with list_directory."),
        ("nope/zzz", "and neither does 'nope'."),
    ):
        with pytest.raises(NotFoundError) as missing:
            await workspace.read_text(asked)
        assert str(missing.value).startswith(f"File '{asked}' does not exist")
        assert str(missing.value).endswith(near)


async def test_a_missing_file_outside_the_grant_is_refused_not_missing(yard: Yard) -> None:
    async with Workspace.open(yard.root, Grant(read=("src/**",))) as workspace:
        for path in ("docs/guide.md", "docs/nope", "nope"):
            with pytest.raises(PermissionDeniedError, match=r"what may be: 'src/\*\*'"):
                await workspace.read_text(path)


async def test_a_thread_that_hangs_does_not_hang_its_caller(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr(Files, "read", lambda self, path, deadline: released.wait(START_S))
    grant = Grant.full().model_copy(update={"limits": Limits(call_s=0.05)})
    async with Workspace.open(yard.root, grant) as workspace:
        with anyio.fail_after(START_S / 2), pytest.raises(LimitError):
            await workspace.read_text("src/app.py")
        assert (await workspace.list_directory("src")).entries
        released.set()


@pytest.mark.usefixtures("no_landlock")
async def test_a_kernel_without_landlock_is_served_and_told(
    yard: Yard, caplog: pytest.LogCaptureFixture
) -> None:
    async with Workspace.open(yard.root, Grant.full()) as workspace:
        assert str(workspace.confinement) == "none (no Landlock in this kernel)"
        assert (await workspace.read_text("src/app.py")).size == 25
    assert "threads are not confined" in caplog.text


async def test_a_thread_that_cannot_be_confined_serves_nothing(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Confinement) -> None:
        raise PermissionError

    monkeypatch.setattr(Confinement, "apply", refused)
    with pytest.raises(UnavailableError, match="confined"):
        async with Workspace.open(yard.root, Grant.full()):
            pass


async def test_many_calls_at_once_all_get_their_answer(workspace: Workspace) -> None:
    answers: list[str] = []

    async def read() -> None:
        answers.append((await workspace.read_text("src/app.py")).path)

    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(read)
    assert answers == ["src/app.py"] * 100


async def test_every_refusal_is_an_error_of_ours(workspace: Workspace) -> None:
    for path in ("", "\0", "x" * 300, "src/app.py/x", "~", "C:\\x", "\ud800", "a/../../b", " "):
        with pytest.raises(ServerError):
            await workspace.read_text(path)


@pytest.mark.parametrize(
    "path",
    [
        "zz/../" * 600 + "a.txt",
        "zz/" * 1300 + "a",
        "zz/../" * 9 + "a",
        "a/" * 255 + "a",
        "\0" + "p" * 10_000_000,
        "\ud800" * 5000,
    ],
)
async def test_a_path_made_to_take_long_is_refused_at_once(workspace: Workspace, path: str) -> None:
    with anyio.fail_after(1):
        for attempt in (
            lambda: workspace.read_text(path),
            lambda: write_text(workspace, path, "x"),
            lambda: workspace.list_directory(path),
        ):
            with pytest.raises(InvalidInputError) as refused:
                await attempt()
            assert len(str(refused.value)) < 800


async def test_the_longest_path_is_answered_soon(yard: Yard, opener: Opener) -> None:
    yard.write("d/" * 100 + "x")
    async with Workspace.open(yard.root, Grant.full(), opener=opener) as workspace:
        with anyio.fail_after(1):
            for path in ("zz/" * 120 + "../" * 120, "d/" * 100 + "zz/" * 70 + "../" * 70):
                with pytest.raises(NotFoundError):
                    await workspace.read_text(path + "a")


async def test_a_read_and_a_write_stop_at_the_deadline(yard: Yard) -> None:
    yard.write("big", "x" * 9_000_000)
    async with Workspace.open(yard.root, Grant.full()) as workspace:
        deadline = Deadline(0)
        request = WriteFile(path="new/file", text="x")
        for attempt in (
            lambda: workspace._files.read("big", deadline),
            lambda: workspace._changer.change(request, Caller(), deadline),
        ):
            with pytest.raises(LimitError):
                attempt()
    assert not (yard.root / "new").exists()


async def test_a_call_that_never_had_its_turn_is_told_that_the_server_is_busy(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr(Files, "read", lambda self, path, deadline: released.wait(START_S))
    grant = Grant.full().model_copy(update={"limits": Limits(call_s=0.3)})
    errors: list[str] = []
    async with Workspace.open(yard.root, grant) as workspace:

        async def read() -> None:
            with pytest.raises(LimitError) as late:
                await workspace.read_text("src/app.py")
            errors.append(str(late.value))

        async with anyio.create_task_group() as tasks:
            for _ in range(MAX_WORKERS + 2):
                tasks.start_soon(read)
        released.set()
    assert sum("took longer" in each for each in errors) == MAX_WORKERS
    assert sum("server is busy" in each for each in errors) == 2


async def test_searches_that_take_long_stop_no_reader(
    yard: Yard, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, released = threading.Semaphore(0), threading.Event()

    def slow(self: Files, query: Query, ripgrep: object, deadline: Deadline) -> None:
        begun.release()
        released.wait(START_S)

    monkeypatch.setattr(Files, "search", slow)
    async with anyio.create_task_group() as tasks:
        for _ in range(MAX_WORKERS + 2):
            tasks.start_soon(workspace.search, Query(pattern="x"))
        for _ in range(MAX_WORKERS):
            await anyio.to_thread.run_sync(begun.acquire)
        assert (await workspace.read_text("src/app.py")).path == "src/app.py"
        released.set()


async def test_a_missing_name_among_thousands_is_answered_soon(
    yard: Yard, workspace: Workspace
) -> None:
    letters = random.Random(1)
    for number in range(2000):
        yard.write("many/" + "".join(letters.choices("ab", k=95 if number % 2 else 195)))
    with anyio.fail_after(2):
        for name in ("ab" * 97, "ab" * 48):
            with pytest.raises(NotFoundError):
                await workspace.read_text(f"many/{name}")


async def test_a_long_name_is_not_echoed_at_length(workspace: Workspace) -> None:
    for path in ("y" * 250, "nope/" + "y" * 250, ".env/" + "y" * 250, "../" + "y" * 250):
        with pytest.raises(ServerError) as refused:
            await workspace.read_text(path)
        assert len(str(refused.value)) < 400
        assert "y" * 100 not in str(refused.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_a_replaced_file_keeps_its_owner_and_group(yard: Yard, workspace: Workspace) -> None:
    os.chown(yard.root / "src/app.py", 1234, 2345)
    (yard.root / "src/app.py").chmod(0o640)
    await write_text(workspace, "src/app.py", "new")
    state = (yard.root / "src/app.py").stat()
    assert (state.st_uid, state.st_gid, state.st_mode & 0o7777) == (1234, 2345, 0o640)


@pytest.mark.parametrize(("mode", "left"), [(0o664, 0o644), (0o604, 0o600), (0o777, 0o777)])
async def test_a_group_that_cannot_be_kept_lets_nobody_else_in(
    yard: Yard, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, mode: int, left: int
) -> None:
    def refused(fd: int, uid: int, gid: int) -> None:
        raise PermissionError(errno.EPERM, "not yours")

    monkeypatch.setattr(os, "fchown", refused)
    (yard.root / "src/app.py").chmod(mode)
    await write_text(workspace, "src/app.py", "new")
    assert (yard.root / "src/app.py").stat().st_mode & 0o7777 == left


async def test_a_replaced_file_keeps_its_access_list(yard: Yard, workspace: Workspace) -> None:
    file = yard.root / "src/app.py"
    nobody = 0xFFFFFFFF
    entries = ((1, 6, nobody), (2, 6, 1234), (4, 0, nobody), (16, 6, nobody), (32, 0, nobody))
    access_list = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *each) for each in entries)
    try:
        os.setxattr(file, "system.posix_acl_access", access_list)
    except OSError as error:
        pytest.skip(f"no access lists here: {error}")
    await write_text(workspace, "src/app.py", "new")
    assert os.getxattr(file, "system.posix_acl_access") == access_list
    assert file.stat().st_mode & 0o777 == 0o660


async def test_a_file_to_write_cannot_end_in_a_slash(workspace: Workspace) -> None:
    with pytest.raises(NotAFileError, match="'new/' ends in '/'"):
        await write_text(workspace, "new/", "x")


async def test_a_name_is_taken_as_a_listing_shows_it(yard: Yard, workspace: Workspace) -> None:
    Path(os.fsdecode(os.fsencode(yard.root) + b"/docs/caf\xe9.txt")).write_text("needle")
    yard.write("docs/a\\xe9", "literal")
    assert (await workspace.read_text(r"docs/caf\xe9.txt")).text == "needle"
    assert (await write_text(workspace, r"docs/caf\xe9.txt", "new")).before is not None
    assert (await workspace.read_text(r"docs/a\xe9")).text == "literal"
    with pytest.raises(NotFoundError, match=r"'docs' holds 'caf\\xe9.txt'\.$"):
        await workspace.read_text("docs/caf.txt")


async def test_what_killed_writes_left_is_out_of_reach_and_removed(yard: Yard) -> None:
    old, new = ".workyard-0123456789ab.tmp", ".workyard-ba9876543210.tmp"
    for name in (old, new, ".workyard-mine.tmp"):
        yard.write(f"src/{name}", "half")
        os.utime(yard.root / "src" / name, (0, 0))
    os.utime(yard.root / "src" / new)
    grant = Grant(read=("**",), write=("**",), deny=("x",))
    async with Workspace.open(yard.root, grant) as workspace:
        for attempt in (workspace.read_text(f"src/{old}"), write_text(workspace, f"src/{old}", "")):
            with pytest.raises(PermissionDeniedError):
                await attempt
        await write_text(workspace, "src/app.py", "new")
    assert sorted(os.listdir(yard.root / "src")) == [
        ".workyard-ba9876543210.tmp",
        ".workyard-mine.tmp",
        "app.py",
    ]
