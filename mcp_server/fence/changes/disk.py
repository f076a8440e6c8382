"""Look at and change one name in an open directory; links are never followed.

Whoever calls has found the directory beneath the root and holds it open: what happens here happens
in that directory, whatever is renamed meanwhile.
"""

import ctypes
import errno
import os
import re
import secrets
import stat
import sys
import time
from contextlib import suppress

from mcp_server.errors import LimitError, NotAFileError
from mcp_server.fence import libc
from mcp_server.fence.changes.change import Kind, State
from mcp_server.fence.deadline import Deadline
from mcp_server.fence.openers import READ_FLAGS, Opened, join
from mcp_server.fence.reading.file import read_at_most
from mcp_server.text import shown

_TEMPORARY = re.compile(r"\.workyard-[0-9a-f]{12}\.tmp")
_STALE_S = 3600  # a write takes seconds; what is older was left by one that was killed
_ACCESS_LIST = "system.posix_acl_access"
_RENAME_NOREPLACE = 1


def state_of(directory_fd: int, name: str) -> os.stat_result | None:
    """Return the state of `name`, or None if there is nothing."""
    try:
        return os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def look(directory: Opened, name: str, max_bytes: int, deadline: Deadline) -> State | None:
    """Return what is at `name`, whole, or None if there is nothing.

    Raises:
        NotAFileError: it is a pipe, a socket or a device.
        LimitError: it is a file of more than `max_bytes`.
        OSError: anything else that the system says.
    """
    found = state_of(directory.fd, name)
    if found is None:
        return None
    path = shown(join(directory.path, name))
    if stat.S_ISDIR(found.st_mode):
        return State(Kind.DIRECTORY, mode=found.st_mode & 0o7777)
    if stat.S_ISLNK(found.st_mode):
        return State(Kind.LINK, os.fsencode(os.readlink(name, dir_fd=directory.fd)))
    if not stat.S_ISREG(found.st_mode):
        raise NotAFileError(f"Path {path} is a pipe, a socket or a device; only files are changed.")
    fd = os.open(name, READ_FLAGS | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory.fd)
    try:
        content = read_at_most(fd, max_bytes + 1, deadline)
    finally:
        os.close(fd)
    if len(content) > max_bytes:
        raise LimitError(
            f"File {path} has more than {max_bytes} bytes, so what it holds could not be put back. "
            "Leave it as it is.",
            limit=max_bytes,
            actual=max(found.st_size, len(content)),
            unit="bytes",
        )
    return State(Kind.FILE, content, found.st_mode & 0o777)


def put(directory_fd: int, name: str, before: State | None, after: State | None) -> None:
    """Make `name` what `after` says, where `before` says what is there.

    It is put there at once: whoever looks sees the old thing or the new one, whole.

    Raises:
        FileExistsError: something is there although `before` says nothing, or another kind.
        OSError: anything else that the system says; what is there is whole, old or new.
    """
    if after is None:
        (os.rmdir if before and before.kind is Kind.DIRECTORY else os.unlink)(
            name, dir_fd=directory_fd
        )
    elif after.kind is Kind.FILE:
        replaced = None if before is None else state_of(directory_fd, name)
        if replaced is not None and not stat.S_ISREG(replaced.st_mode):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        _put_file(directory_fd, name, after, replaced)
    elif after.kind is Kind.LINK:
        os.symlink(os.fsdecode(after.content), name, dir_fd=directory_fd)
    elif after.mode is None:
        os.mkdir(name, dir_fd=directory_fd)
    else:
        _put_directory(directory_fd, name, after.mode)


def move(source_fd: int, source: str, destination_fd: int, destination: str) -> None:
    """Rename without replacing anything.

    Raises:
        FileExistsError: something is at the destination.
        OSError: anything else that the system says.
    """
    if sys.platform != "linux":
        _move_carefully(source_fd, source, destination_fd, destination)
        return
    try:
        libc.call(
            "renameat2",
            ctypes.c_int(source_fd),
            ctypes.c_char_p(os.fsencode(source)),
            ctypes.c_int(destination_fd),
            ctypes.c_char_p(os.fsencode(destination)),
            ctypes.c_uint(_RENAME_NOREPLACE),
        )
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
        # Some file systems do not know the flag. EINVAL is also a directory moved into itself: then
        # the ordinary rename says so.
        _move_carefully(source_fd, source, destination_fd, destination)


def _move_carefully(source_fd: int, source: str, destination_fd: int, destination: str) -> None:
    if state_of(destination_fd, destination) is not None:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    os.rename(source, destination, src_dir_fd=source_fd, dst_dir_fd=destination_fd)


def _put_file(directory_fd: int, name: str, after: State, replaced: os.stat_result | None) -> None:
    """Put a file at `name` at once; who could use the one that it replaces can use it too.

    Hard links are broken on purpose: package stores share files by them.
    """
    remove_temporaries(directory_fd, older_than_s=_STALE_S)
    temporary = _temporary_name()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    # A new file gets what the umask leaves; a secret one is never readable by others on its way.
    is_plain = replaced is None and after.mode is None
    fd = os.open(temporary, flags, 0o666 if is_plain else 0o600, dir_fd=directory_fd)
    try:
        try:
            view = memoryview(after.content)
            while view:
                view = view[os.write(fd, view) :]
            if replaced is not None:
                _keep_access(fd, replaced, _access_list(directory_fd, name))
            elif after.mode is not None:
                os.fchmod(fd, after.mode)
            os.fsync(fd)
        finally:
            os.close(fd)
        if replaced is None:
            move(directory_fd, temporary, directory_fd, name)
        else:
            os.rename(temporary, name, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=directory_fd)
        raise
    os.fsync(directory_fd)  # the rename survives a power cut too


def _put_directory(directory_fd: int, name: str, mode: int) -> None:
    """Put an empty directory at `name` at once, with its mode."""
    temporary = _temporary_name()
    os.mkdir(temporary, 0o700, dir_fd=directory_fd)
    try:
        # By descriptor: a chmod by name follows links.
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(temporary, flags, dir_fd=directory_fd)
        try:
            os.fchmod(fd, mode)
        finally:
            os.close(fd)
        move(directory_fd, temporary, directory_fd, name)
    except BaseException:
        with suppress(FileNotFoundError):
            os.rmdir(temporary, dir_fd=directory_fd)
        raise


def _temporary_name() -> str:
    return f".workyard-{secrets.token_hex(6)}.tmp"


def _keep_access(fd: int, replaced: os.stat_result, access_list: bytes | None) -> None:
    """Let those use the new file who could use the one it replaces, and nobody else.

    Raises:
        PermissionError: it has an access list that cannot be kept.
    """
    mode = replaced.st_mode & 0o777  # setuid and setgid go, as the kernel does it for any write
    try:
        os.fchown(fd, replaced.st_uid if os.geteuid() == 0 else -1, replaced.st_gid)
    except PermissionError:
        if access_list is not None:
            raise
        # Another group: its members were others before, and those of the old one are others now.
        both = mode >> 3 & mode & 0o7
        mode = mode & 0o700 | both << 3 | both
    if access_list is not None:
        os.setxattr(fd, _ACCESS_LIST, access_list)
    os.fchmod(fd, mode)


def _access_list(directory_fd: int, name: str) -> bytes | None:
    """Return the POSIX access list of a file, None if it has none beyond its mode."""
    if not hasattr(os, "getxattr"):
        return None
    try:
        path = f"/proc/self/fd/{directory_fd}/{name}"
        return os.getxattr(path, _ACCESS_LIST, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return None
        raise


def remove_temporaries(directory_fd: int, older_than_s: float) -> None:
    """Remove what writes have left in the directory that were killed on their way."""
    before = time.time() - older_than_s
    with os.scandir(directory_fd) as found:
        names = [each.name for each in found if _TEMPORARY.fullmatch(each.name)]
    for name in names:
        with suppress(FileNotFoundError):  # another write was quicker
            state = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
            if state.st_mtime <= before:
                remove = os.rmdir if stat.S_ISDIR(state.st_mode) else os.unlink
                with suppress(OSError):  # not ours: something is in it
                    remove(name, dir_fd=directory_fd)
