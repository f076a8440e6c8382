"""The server of an orchestrator that was killed does nothing more behind anybody's back."""

import fcntl
import time
from collections.abc import Callable
from pathlib import Path

from tests.orchestrator.doomed import follow_script, fork
from tests.orchestrator.scripted import CHANGES, FILES, Place

WITHIN_S = 20.0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, "it has not come about"
        time.sleep(0.01)


def children_of(pid: int) -> list[int]:
    """Return the processes below one."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (thread / "children").read_text().split()):
            found += [child, *children_of(child)]
    return found


def is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


async def test_change_that_waits_is_given_up_with_its_client_and_made_once_when_it_goes_on(
    tmp_path: Path,
) -> None:
    place = Place(tmp_path / "place", f"sqlite+aiosqlite:///{tmp_path / 'record.db'}")
    place.furnish()
    async with place.yard() as yard:
        assert await yard.changes() == []  # which makes the journal
    (lock,) = (place.base / "state").rglob("lock")
    with lock.open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # somebody else changes files
        process, line = fork(follow_script, place, None)
        try:
            session_id = line.recv()
            until(lambda: any(name == "write_file" for name, _ in place.called()))
            server = children_of(process.pid or 0)
            assert any(map(is_alive, server))
        finally:
            process.kill()
            process.join()
            line.close()

        until(lambda: not any(map(is_alive, server)))
        fcntl.flock(held, fcntl.LOCK_UN)

    assert place.files() == {"log.txt": "END\n"}
    async with place.yard() as yard:
        await (await yard.resume(session_id, model=place.model())).result()
        changes = await yard.changes(limit=99)
    assert place.files() == FILES
    assert len(changes) == CHANGES
