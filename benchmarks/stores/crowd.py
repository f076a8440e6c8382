"""Many turns at once, of many sessions or of one: how they went, and what is left of them."""

import asyncio
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic  # Any: what JSON holds

from benchmarks.stores.interface import Conversation, Model, Said, TurnStore, at_once, told
from benchmarks.stores.workload import Found, Turn, found, turns_of


@dataclass
class Crowd(Generic[Conversation, Said]):
    """Turns of several sessions of a new database."""

    store: TurnStore[Conversation, Said]
    file: Path
    ms: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    _settled: dict[str, list[int]] = field(default_factory=dict)
    """By session, the turns that were said to be stored."""
    _asked: set[Turn] = field(default_factory=set)
    """The turns that have cost a request to a model."""

    async def talk(self, sessions: int, turns: int) -> dict[str, Any]:
        """Hold many conversations at once."""
        await self.store.open(self.file)
        names = [f"many-{number}" for number in range(sessions)]
        conversations = [await self.store.begin(name) for name in names]
        started = time.perf_counter()
        await asyncio.gather(
            *(
                self._talk(name, talk, turns)
                for name, talk in zip(names, conversations, strict=True)
            )
        )
        seconds = time.perf_counter() - started
        left = await self._left(names)
        return {
            "seconds": seconds,
            "p99": sorted(self.ms)[int(len(self.ms) * 0.99)],
            "lost": sessions * turns - _answered(left),
            "wrong": self._wrong(left),
            "errors": self.errors[:1],
        }

    async def compete(self, sessions: int) -> dict[str, Any]:
        """Begin a turn while another one of the same session waits for its model."""
        await self.store.open(self.file)
        names = [f"both-{number}" for number in range(sessions)]
        for name in names:
            await self._compete(name)
        left = await self._left(names)
        return {
            "refused": 3 * sessions - len(self._asked),
            "lost": len(self._asked) - _answered(left),
            "wrong": self._wrong(left),
            "errors": self.errors[:1],
        }

    async def _talk(self, name: str, conversation: Conversation, turns: int) -> None:
        for turn in turns_of(name, turns):
            if not await self._attempt(self.store.turn(conversation, turn, at_once), turn):
                conversation = await self.store.begin(name)  # as the next run does

    async def _compete(self, name: str) -> None:
        opening, first, second = turns_of(name, 3)
        await self._attempt(self._whole(opening, at_once), opening)
        first_waits, second_waits, first_ended = (asyncio.Event() for _ in range(3))

        async def until_the_second_waits() -> None:
            first_waits.set()
            await second_waits.wait()

        async def compete() -> None:
            await first_waits.wait()
            await self._attempt(self._whole(second, until_the_first_ended), second)
            second_waits.set()  # or never will: it was refused

        async def until_the_first_ended() -> None:
            second_waits.set()
            await first_ended.wait()

        rival = asyncio.create_task(compete())
        await self._attempt(self._whole(first, until_the_second_waits), first)
        first_ended.set()
        await rival

    async def _whole(self, turn: Turn, model: Model) -> None:
        """Do what a process does that knows nothing of the session."""

        async def asked() -> None:
            self._asked.add(turn)
            await model()

        await self.store.turn(await self.store.begin(turn.session), turn, asked)

    async def _attempt(self, work: Awaitable[object], turn: Turn) -> bool:
        """Do a turn, and say whether the store took it."""
        started = time.perf_counter()
        try:
            await work
        except Exception as error:  # whatever a store refuses a turn with is counted
            self.errors.append(told(error))
            return False
        finally:
            self.ms.append((time.perf_counter() - started) * 1000)
        self._settled.setdefault(turn.session, []).append(turn.number)
        return True

    async def _left(self, names: Sequence[str]) -> dict[str, Found]:
        """Read all sessions back by another engine."""
        await self.store.close()
        await self.store.open(self.file)
        left = {}
        for name in names:
            texts = self.store.texts(await self.store.load(name))
            left[name] = found(name, texts, await self.store.numbers(name))
        await self.store.close()
        return left

    def _wrong(self, left: dict[str, Found]) -> int:
        return sum(not one.is_right(self._settled.get(name, ())) for name, one in left.items())


def _answered(left: dict[str, Found]) -> int:
    return sum(one.answered for one in left.values())
