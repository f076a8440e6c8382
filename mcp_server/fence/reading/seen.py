"""What callers have been shown of late, so that they can be told what has changed since."""

import threading
from collections import OrderedDict

_MAX_BYTES = 8_000_000
_MAX_FILE_BYTES = 250_000  # of a larger file nobody reads a diff


class Seen:
    """The contents of the files that were read last, as far as they fit into some megabytes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._contents: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._size = 0

    def note(self, path: str, sha256: str, content: bytes) -> None:
        """Remember what the file at the canonical `path` held when it was read."""
        if len(content) > _MAX_FILE_BYTES:
            return
        with self._lock:
            known = self._contents.pop((path, sha256), b"")
            self._contents[path, sha256] = content
            self._size += len(content) - len(known)
            while self._size > _MAX_BYTES:
                _, forgotten = self._contents.popitem(last=False)
                self._size -= len(forgotten)

    def find(self, path: str, start: str) -> bytes | None:
        """Return what `path` held when its SHA-256 began with `start`, if that is remembered."""
        with self._lock:
            for (known, sha256), content in reversed(self._contents.items()):
                if known == path and sha256.startswith(start):
                    return content
        return None
