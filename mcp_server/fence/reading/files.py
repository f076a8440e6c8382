"""The work on files itself, blocking: what is read, listed and searched."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from mcp_server.errors import NotAFileError
from mcp_server.fence.deadline import Deadline
from mcp_server.fence.finding.names import FoundNames, Names, find_names
from mcp_server.fence.finding.ripgrep import Ripgrep
from mcp_server.fence.gate import Gate
from mcp_server.fence.openers import Opened
from mcp_server.fence.reading.facts import PathFacts, facts_about
from mcp_server.fence.reading.file import OtherFile, TextFile, read_any, read_text
from mcp_server.fence.reading.listing import Listing, list_tree
from mcp_server.fence.reading.seen import Seen
from mcp_server.fence.search import FileCounts, Query, Search, SearchResult
from mcp_server.text import shown


class Files:
    """The files beneath one root, as far as one grant goes."""

    def __init__(self, gate: Gate, seen: Seen) -> None:
        self._gate = gate
        self._seen = seen

    def read(self, path: str, deadline: Deadline) -> TextFile:
        """Read a whole file of text."""
        with self._gate.opened(path, "File", deadline) as opened:
            file = read_text(opened, path, self._gate.grant.limits, deadline)
        return self._noted(file)

    def read_any(self, path: str, deadline: Deadline) -> TextFile | OtherFile:
        """Read a whole file, whatever it is."""
        with self._gate.opened(path, "File", deadline) as opened:
            file = read_any(opened, path, self._gate.grant.limits, deadline)
        return self._noted(file) if isinstance(file, TextFile) else file

    def _noted(self, file: TextFile) -> TextFile:
        self._seen.note(file.path, file.sha256, file.content)
        return file

    def facts(self, path: str, deadline: Deadline) -> PathFacts:
        """Tell what is at a path."""
        return facts_about(self._gate, path, deadline)

    def list(self, path: str, depth: int, deadline: Deadline) -> Listing:
        """List a directory, `depth` levels deep."""
        with self._directory(path, deadline) as opened:
            return list_tree(opened, depth, grant=self._gate.grant, deadline=deadline)

    def search(self, query: Query, ripgrep: Ripgrep, deadline: Deadline) -> SearchResult:
        """Search a directory or one file."""
        with self._gate.opened(query.path, "Path", deadline) as opened:
            return Search(ripgrep, opened, query, self._gate.grant, deadline).lines()

    def count(self, query: Query, ripgrep: Ripgrep, deadline: Deadline) -> FileCounts:
        """Count matches in the files of a directory, or in one file."""
        with self._gate.opened(query.path, "Path", deadline) as opened:
            return Search(ripgrep, opened, query, self._gate.grant, deadline).counts()

    def find(self, names: Names, ripgrep: Ripgrep, deadline: Deadline) -> FoundNames:
        """Find files below a directory by their names."""
        with self._directory(names.path, deadline) as opened:
            return find_names(ripgrep, opened, names, grant=self._gate.grant, deadline=deadline)

    @contextmanager
    def _directory(self, path: str, deadline: Deadline) -> Iterator[Opened]:
        with self._gate.opened(path, "Directory", deadline) as opened:
            if not stat.S_ISDIR(os.fstat(opened.fd).st_mode):
                raise NotAFileError(
                    f"Path {shown(path)} is a file, not a directory. Read it with read_file."
                )
            yield opened
