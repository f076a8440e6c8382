"""What a store is put through, in its own process: told by lines of JSON, answered by such.

Times are taken here, between a call and its return; the process that asks only collects them.
Standard library alone: this runs in the peers' environments too.
"""

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic  # Any: what JSON holds

from benchmarks.stores.crowd import Crowd
from benchmarks.stores.interface import Conversation, Said, TurnStore, at_once, told
from benchmarks.stores.workload import Turn, turns_of

PATIENCE_S = 300
"""One answer may take this long: a store that hangs must not hold the others up for ever."""


@dataclass
class Contest(Generic[Conversation, Said]):
    """One store, and what can be asked of it: each public method is a question."""

    store: TurnStore[Conversation, Said]
    _file: Path = Path()
    _conversations: dict[str, Conversation] = field(default_factory=dict)
    _turns: dict[str, int] = field(default_factory=dict)

    async def open(self, file: str) -> dict[str, Any]:
        """Open a database."""
        self._file, self._turns, self._conversations = Path(file), {}, {}
        await self.store.open(self._file)
        return {}

    async def turns(self, session: str, count: int) -> dict[str, Any]:
        """Append turns to a session; give the milliseconds of each, and the bytes written."""
        if session not in self._conversations:
            self._conversations[session] = await self.store.begin(session)
        ms, before = [], _written_bytes()
        for _ in range(count):
            turn = self._next(session)
            started = time.perf_counter()
            loading_s = await self.store.turn(self._conversations[session], turn, at_once)
            ms.append((time.perf_counter() - started - loading_s) * 1000)
        return {"ms": ms, "written": _written_bytes() - before}

    async def short(self, sessions: int, count: int) -> dict[str, Any]:
        """Do the same with several new sessions."""
        ms, written = [], 0
        for _ in range(sessions):
            answer = await self.turns(f"short-{len(self._turns)}", count)
            ms += answer["ms"]
            written += answer["written"]
        return {"ms": ms, "written": written}

    async def runs(self, session: str, count: int) -> dict[str, Any]:
        """Append turns to a session, and load it for each of them as runners do."""
        ms, before = [], _written_bytes()
        for _ in range(count):
            turn = self._next(session)
            started = time.perf_counter()
            self._conversations[session] = await self.store.begin(session)
            await self.store.turn(self._conversations[session], turn, at_once)
            ms.append((time.perf_counter() - started) * 1000)
        return {"ms": ms, "written": _written_bytes() - before}

    async def close(self) -> dict[str, Any]:
        """Close the database; give the bytes that it takes then."""
        await self.store.close()
        files = self._file.parent.glob(f"{self._file.name}*")
        return {"bytes": sum(file.stat().st_size for file in files)}

    async def load(self, file: str, session: str) -> dict[str, Any]:
        """Open the last database anew and load a session; give the milliseconds of both."""
        started = time.perf_counter()
        await self.store.open(Path(file))
        messages = await self.store.load(session)
        ms = (time.perf_counter() - started) * 1000
        await self.store.close()
        turns = turns_of(session, self._turns[session])
        texts = [text for turn in turns for text in (turn.user, turn.reply)]
        assert self.store.texts(messages) == texts, f"{len(messages)} messages of {len(texts)}"
        return {"ms": ms, "kind": type(messages[0]).__name__}

    async def talk(self, file: str, sessions: int, turns: int) -> dict[str, Any]:
        """Hold many conversations at once; see `Crowd.talk`."""
        return await Crowd(self.store, Path(file)).talk(sessions, turns)

    async def compete(self, file: str, sessions: int) -> dict[str, Any]:
        """Begin two turns of one session at a time; see `Crowd.compete`."""
        return await Crowd(self.store, Path(file)).compete(sessions)

    def _next(self, session: str) -> Turn:
        self._turns[session] = self._turns.get(session, 0) + 1
        return Turn(session, self._turns[session])


def serve(store: TurnStore[Conversation, Said]) -> None:
    """Answer what is asked until there is nothing more."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a framework prints is no answer

    def answer(said: dict[str, Any]) -> None:
        answers.write(f"{json.dumps(said)}\n")
        answers.flush()

    asyncio.run(_serve(Contest(store), answer))


async def _serve(contest: Contest[Any, Any], answer: Callable[[dict[str, Any]], None]) -> None:
    # As services do: Python does not look through what is imported for garbage again and again.
    gc.collect()
    gc.freeze()
    while line := await asyncio.to_thread(sys.stdin.readline):
        asked = json.loads(line)
        try:
            async with asyncio.timeout(PATIENCE_S):
                said = await getattr(contest, asked.pop("ask"))(**asked)
        except Exception as error:  # whatever stops a store is told in its row
            said = {"error": told(error)}
        answer(said)


def _written_bytes() -> int:
    """Return what all threads of this process have passed to write() so far.

    Source: `wchar` in proc_pid_io(5); Linux alone has it.
    """
    try:
        counters = Path("/proc/self/io").read_text(encoding="ascii")
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in counters.splitlines() if "wchar" in line)
