"""Every operation while another process exchanges what lies on its path: nothing gets out.

For a few seconds in the ordinary run, for a minute in the long one.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcp_server.errors import PathEscapeError, PermissionDeniedError, ServerError
from mcp_server.fence.grant import Grant
from mcp_server.fence.openers import Opened, Opener, Parts
from mcp_server.fence.workspace import Workspace
from tests.mcp_server.conftest import SECRET, Yard, write_text
from tests.mcp_server.exchange import (
    INSIDE,
    PAIRS,
    Refill,
    exchanging,
    needs_exchange,
    with_traps,
)
from tests.mcp_server.layouts import follow_everything, untouched
from tests.mcp_server.operations import OPERATIONS, answer

pytestmark = [needs_exchange, pytest.mark.usefixtures("no_disk")]

FILES = (
    "door/secret.txt",
    "door/victim/secret.txt",
    "door/new-0/secret.txt",
    "file",
    "tree/sub/secret.txt",
    "door/../door/./secret.txt",
    "src/../door/secret.txt",
)
PATHS = ("tree", FILES[0], "door/victim", *FILES[1:], "door/new-1")


def lasting(ordinary_s: float, long_s: float) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "race_s", [ordinary_s, pytest.param(long_s, marks=pytest.mark.long)]
    )


@pytest.fixture
def refill(yard: Yard) -> Iterator[Refill]:
    made = Refill(with_traps(yard).root)
    made()
    yield made
    made.close()


async def race(workspace: Workspace, yard: Yard, refill: Refill, race_s: float) -> Counter[str]:
    """Try every operation on every path, until the time is over; return how each one ended.

    Without Landlock, no directory is searched: ripgrep walks by name (CVE-2024-8244).
    """
    is_confined = workspace.confinement.is_on
    seen: Counter[str] = Counter()
    with untouched(yard.outside), exchanging(yard.root, PAIRS):
        end = time.monotonic() + race_s
        while time.monotonic() < end or seen["calls"] < len(OPERATIONS) * len(PATHS):
            for operation in OPERATIONS:
                path = PATHS[seen["calls"] // len(OPERATIONS) % len(PATHS)]
                seen["calls"] += 1
                if operation.walks_by_name and not is_confined and path not in FILES:
                    continue
                said = await answer(workspace, operation, path)
                assert SECRET not in str(said), f"{operation} {path}: {said}"
                seen[f"{operation.tool} {type(said).__name__}"] += 1
                refill()
        # What was made is inside, whatever it is.
        assert set(os.listdir(yard.root.parent)) == {"root", "outside"}
    return seen


@lasting(1, 15)
async def test_no_operation_gets_out_of_both_locks_while_its_path_is_exchanged(
    yard: Yard, refill: Refill, race_s: float
) -> None:
    async with Workspace.open(yard.root, Grant.full()) as workspace:
        if not workspace.confinement.is_on:
            pytest.skip(f"confinement is {workspace.confinement}")
        seen = await race(workspace, yard, refill, race_s)
    assert_raced(seen, "PathEscapeError")


@lasting(1, 15)
@pytest.mark.usefixtures("no_landlock")
async def test_no_operation_gets_out_while_its_path_is_exchanged(
    yard: Yard, opener: Opener, refill: Refill, race_s: float
) -> None:
    async with Workspace.open(yard.root, Grant.full(), opener=opener) as workspace:
        seen = await race(workspace, yard, refill, race_s)
    assert_raced(seen, "PathEscapeError", without=("find_files",))  # it searches directories only


def assert_raced(seen: Counter[str], refusal: str, without: tuple[str, ...] = ()) -> None:
    """Assert that an exchange was met, and was not met all the time, which would prove nothing."""
    ends = {end for name in seen for end in name.split()[1:]}
    assert {"str", refusal} <= ends, seen
    if seen["calls"] > 100 * len(OPERATIONS):
        done = {name.split()[0] for name in seen if name.endswith(" str")}
        assert done >= {each.tool for each in OPERATIONS if each.tool not in without}, seen


@lasting(1, 15)
async def test_landlock_alone_lets_no_operation_out_while_its_path_is_exchanged(
    yard: Yard, refill: Refill, race_s: float
) -> None:
    way = follow_everything
    async with Workspace.open(yard.root, Grant.full(), opener=way) as workspace:
        if not workspace.confinement.is_on:
            pytest.skip(f"confinement is {workspace.confinement}")
        seen = await race(workspace, yard, refill, race_s)
    assert_raced(seen, "PermissionDeniedError")


@lasting(0.5, 5)
@pytest.mark.usefixtures("no_landlock")
async def test_a_denied_directory_exchanged_with_the_link_to_it_is_neither_read_nor_written(
    yard: Yard, opener: Opener, race_s: float
) -> None:
    """`pub` is a directory, then a link to `.git`: the grant is asked about what was opened."""
    yard.write("pub/config", INSIDE)
    yard.write(".git/config", SECRET)
    yard.link("pub-trap", ".git")
    seen: Counter[str] = Counter()
    async with Workspace.open(yard.root, Grant.full(), opener=opener) as workspace:
        with untouched(yard.root / ".git"), exchanging(yard.root, (("pub", "pub-trap"),)):
            end = time.monotonic() + race_s
            while time.monotonic() < end:
                try:
                    seen[(await workspace.read_text("pub/config")).text] += 1
                    await write_text(workspace, "pub/new", INSIDE)
                except PermissionDeniedError:
                    seen["refused"] += 1
                except ServerError:  # the moment between two names
                    seen["other"] += 1
    assert seen[INSIDE], seen
    assert seen["refused"], seen
    assert SECRET not in seen


def check_then_open(root: Path) -> Opener:
    """Return what other servers do: resolve, compare the prefix, open by name."""

    def opened(root_fd: int, parts: Parts, flags: int) -> Opened:
        path = os.path.realpath(root.joinpath(*parts))
        if not f"{path}/".startswith(f"{root}/"):
            raise PathEscapeError("access denied")
        return Opened(os.open(root.joinpath(*parts), flags), "/".join(parts) or ".")

    return opened


@pytest.mark.usefixtures("no_landlock")
async def test_the_race_finds_a_server_that_checks_and_then_opens(
    yard: Yard, refill: Refill
) -> None:
    """The test of the tests above: within their time, they fail for what others do."""
    way = check_then_open(yard.root)
    async with Workspace.open(yard.root, Grant.full(), opener=way) as workspace:
        with pytest.raises(AssertionError, match=f"{SECRET}|'outside' was changed"):
            await race(workspace, yard, refill, 20)
