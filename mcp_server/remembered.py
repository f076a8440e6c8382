"""What a server has answered to the first questions of its hosts, kept from one start to the next.

A file for each way to start it (program, arguments, directory, settings), in the user's cache. It
holds the results, and the state of every file that they were made from: when one of those is
another, nothing is remembered. It is written by the user alone and trusted only then, and never
when it lies below the root: whoever could write it would tell hosts what the tools are.
"""

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Self

import platformdirs

METHODS = frozenset(
    ("initialize", "server/discover", "tools/list", "prompts/list", "resources/templates/list")
)
"""What is remembered: it depends on the request, the way of starting and files, and no more."""

_FORMAT = 1
_SETTINGS = ("WORKYARD_", "XDG_", "HOME", "USERPROFILE", "LOCALAPPDATA")
_MAX_RESULTS = 64
_MAX_FILES = 256
_MAX_BYTES = 1 << 20

_OURS = ("mcp_server", "orchestrator")

State = list[int] | None
"""What the system says of a file or directory; None where there is none."""


class Asker:
    """A client, as far as answers depend on it: what it has said of itself."""

    def __init__(self) -> None:
        self._introduction: object = None

    @property
    def is_introduced(self) -> bool:
        """Whether it has said `initialize`, as those of before 2026-07-28 do."""
        return self._introduction is not None

    def key(self, method: str, params: object) -> str | None:
        """Return what stands for a request of this client; None for one that is not remembered."""
        if method not in METHODS:
            return None
        if method == "initialize":
            self._introduction = params
        asked = json.dumps([self._introduction, method, params], sort_keys=True)
        return hashlib.sha256(asked.encode()).hexdigest()


class Memory:
    """The results of one way to start a server, as JSON, by the keys of the requests."""

    def __init__(self, file: Path, roots: Sequence[str]) -> None:
        self.results: dict[str, str] = {}
        self._file = file
        self._roots = roots
        self._made_of: dict[str, State] = {}

    @classmethod
    def of(cls, program: str, arguments: Sequence[str]) -> Self:
        """Return the memory of a server that is started like this, here and now."""
        settings = [(n, v) for n, v in sorted(os.environ.items()) if n.startswith(_SETTINGS)]
        start = [_FORMAT, program, *arguments, _here(), sys.executable, settings]
        digest = hashlib.sha256(json.dumps(start).encode()).hexdigest()
        directory = platformdirs.user_cache_path("workyard", appauthor=False) / "answers"
        return cls(directory / f"{digest}.json", _roots(arguments))

    def recall(self) -> bool:
        """Read what is remembered, and say whether there is anything that still holds."""
        if not all(map(os.path.isdir, self._roots)) or self._is_within_reach():
            return False
        try:
            with self._file.open("rb") as opened:
                _check_that_it_is_ours(opened.fileno())
                kept = json.loads(opened.read(_MAX_BYTES))
            made_of = kept["made_of"]
            if any(state(file) != made_of[file] for file in made_of):
                return False
            results = kept["results"]
            if not all(isinstance(result, str) for result in results.values()):
                return False
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return False  # nothing, or nothing that was written here
        self._made_of, self.results = made_of, results
        return bool(results)

    def learn(self, key: str, result: str, made_of: Mapping[str, State]) -> str | None:
        """Take in a result; return what the file should hold now, None if it holds that.

        Args:
            key: of the request.
            result: as JSON.
            made_of: the files that it depends on, as they were before it was made.
        """
        if made_of != self._made_of:
            self._made_of, self.results = dict(made_of), {}
        if self.results.get(key) == result or self._is_within_reach():
            return None
        self.results.pop(key, None)
        self.results[key] = result
        newest = list(self.results.items())[-_MAX_RESULTS:]
        return json.dumps({"made_of": self._made_of, "results": dict(newest)})

    def keep(self, text: str) -> None:
        """Write the file, at once and whole; a cache that cannot be written is none."""
        with suppress(OSError):
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._file.parent)
            with open(descriptor, "w", encoding="utf-8") as opened:
                opened.write(text)
            os.replace(name, self._file)
            by_age = sorted(self._file.parent.iterdir(), key=lambda file: file.stat().st_mtime)
            for file in by_age[:-_MAX_FILES]:
                file.unlink()

    def _is_within_reach(self) -> bool:
        """Whether a caller of the server could write the file."""
        place = os.path.realpath(self._file)
        return any(Path(place).is_relative_to(os.path.realpath(root)) for root in self._roots)


def state(file: str) -> State:
    """Return what is another when a file has been written or exchanged, or a directory has."""
    try:
        status = os.stat(file)
    except (OSError, ValueError):
        return None
    return [status.st_ino, status.st_mtime_ns, status.st_size]


def states_of_code() -> dict[str, State]:
    """Return the states of our modules that are loaded, and of the top of each package."""
    modules = [m for n, m in list(sys.modules.items()) if n.startswith(_OURS) or "." not in n]
    files = (getattr(module, "__file__", None) for module in modules)
    return {file: state(file) for file in files if isinstance(file, str)}


def states_of(places: Iterable[str]) -> dict[str, State]:
    """Return the states of files and directories."""
    return {place: state(place) for place in places}


def _here() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""


def _roots(arguments: Sequence[str]) -> list[str]:
    """Return what may be served, of arguments that nobody has parsed yet."""
    following = [after for name, after in pairwise(arguments) if name == "--root"]
    joined = [word.removeprefix("--root=") for word in arguments if word.startswith("--root=")]
    return [os.path.expanduser(root) for root in (*following, *joined)]


def _check_that_it_is_ours(descriptor: int) -> None:
    status = os.fstat(descriptor)
    if hasattr(os, "geteuid") and (status.st_uid != os.geteuid() or status.st_mode & 0o022):
        raise PermissionError
