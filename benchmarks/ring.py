"""The stores that are measured beside each other, each in a process that waits for questions."""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self  # Any: what JSON holds

from benchmarks.measure import in_turn
from benchmarks.peers import PEERS, PeerMissingError
from benchmarks.processes import PYTHON, surroundings

OURS = "**Workyard**"
_REPOSITORY = Path(__file__).parents[1]

Answer = Mapping[str, Any]


class FallenError(Exception):
    """A store cannot go on; the message says why in one sentence."""


@dataclass(frozen=True)
class StoreProcess:
    """A store in its process, with a directory of its own."""

    place: Path
    _process: subprocess.Popen[str]
    _log: IO[bytes]

    @classmethod
    @contextmanager
    def started(cls, python: str, module: str, place: Path) -> Iterator[Self]:
        """Start a process, and end it with the context."""
        place.mkdir()
        with (
            tempfile.TemporaryFile() as log,
            subprocess.Popen(
                [python, "-m", f"benchmarks.stores.{module}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=_REPOSITORY,
                env=surroundings(place),
            ) as process,
        ):
            try:
                yield cls(place, process, log)
            finally:
                process.kill()
                assert process.stdin is not None, "it was asked for"
                with suppress(BrokenPipeError):  # what was asked last may still wait in it
                    process.stdin.close()

    def ask(self, what: str, **facts: object) -> Answer:
        """Ask a question of `benchmarks.stores.contest`, and wait for the answer.

        Raises:
            FallenError: The store cannot answer it.
        """
        self.send(what, **facts)
        return self.answer()

    def send(self, what: str, **facts: object) -> None:
        """Ask a question; a file is named below the store's directory."""
        if "file" in facts:
            facts["file"] = str(self.place / str(facts["file"]))
        assert self._process.stdin is not None, "it was asked for"
        with suppress(BrokenPipeError):  # there will be no answer, which says it
            self._process.stdin.write(f"{json.dumps({'ask': what, **facts})}\n")
            self._process.stdin.flush()

    def answer(self) -> Answer:
        """Wait for the answer to the question that was sent.

        Raises:
            FallenError: The store cannot answer it.
        """
        assert self._process.stdout is not None, "it was asked for"
        line = self._process.stdout.readline()
        answer: Answer = json.loads(line or json.dumps({"error": self._last_words()}))
        if "error" in answer:
            raise FallenError(f"it ended with {answer['error']}")
        return answer

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return f"its process: {lines[-1][:200] if lines else 'no word'}"


@dataclass
class Ring:
    """Ours and our peers', as far as they can be run here and have not fallen."""

    standing: dict[str, StoreProcess] = field(default_factory=dict)
    fallen: dict[str, str] = field(default_factory=dict)
    """Why a store is not measured, or not any more."""

    @classmethod
    @contextmanager
    def opened(cls, place: Path) -> Iterator[Self]:
        """Install what is not there yet, and start every store."""
        ring = cls()
        with ExitStack() as stack:
            start = StoreProcess.started
            ring.standing[OURS] = stack.enter_context(start(PYTHON, "ours", place / "ours"))
            for peer in PEERS:
                try:
                    python = peer.environment.python()
                except PeerMissingError as missing:
                    ring.fallen[peer.name] = _without_places(str(missing))
                    continue
                process = start(python, peer.module, place / peer.module)
                ring.standing[peer.name] = stack.enter_context(process)
            yield ring

    @property
    def names(self) -> Sequence[str]:
        """Return all names, ours first."""
        return [OURS, *(peer.name for peer in PEERS)]

    def ask(self, rounds: int, what: str, **facts: object) -> Iterator[tuple[str, Answer]]:
        """Ask each store that stands, in turn; one that cannot answer falls.

        Raises:
            FallenError: Ours has fallen.
        """
        for name in in_turn(list(self.standing), rounds):
            if name in self.standing:
                os.sync()  # each waits for what it writes itself, not for the one before it
                with self._watched(name):
                    yield name, self.standing[name].ask(what, **facts)

    def ask_all(self, what: str, **facts: object) -> dict[str, Answer]:
        """Ask all stores that stand at once, for what is not timed.

        Raises:
            FallenError: Ours has fallen.
        """
        answers = {}
        for process in self.standing.values():
            process.send(what, **facts)
        for name in list(self.standing):
            with self._watched(name):
                answers[name] = self.standing[name].answer()
        return answers

    @contextmanager
    def _watched(self, name: str) -> Iterator[None]:
        try:
            yield
        except FallenError as fallen:
            if name == OURS:
                raise
            del self.standing[name]
            self.fallen[name] = _without_places(str(fallen))


def _without_places(reason: str) -> str:
    """Return a reason without addresses and directories: it goes into the figures."""
    return re.sub(r"https?://[^\s`]+|(?<![\w.])/[^\s`:]+", "...", reason)
