"""Trees of links by chance, on disk and as the oracle's model; a seed makes each one again."""

import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from tests.mcp_server.layouts import snapshot
from tests.mcp_server.oracle import Directory, File, Link, Node, Place

NAMES = ("a", "b", "c", "d", ".git")
DENIED = ".git"
OUTSIDE = "never to be told"
PATHS_PER_LAYOUT = 200

Tree = dict[Place, Node]


def outside_of(base: Path) -> None:
    """Make a directory beside the root whose names are as those in it."""
    for name in ("secret.txt", "a", "b/secret.txt", "c/a"):
        (base / "outside" / name).parent.mkdir(parents=True, exist_ok=True)
        (base / "outside" / name).write_text(OUTSIDE)


def layouts(paths: int, base: Path) -> Iterator[tuple[Tree, random.Random]]:
    """Yield layouts, each on disk below `base`, for so many paths, with the chance of each.

    A failure prints its seed; `WORKYARD_TEST_SEED=… pytest …` then runs that layout alone.
    """
    outside = snapshot(base / "outside")
    given = os.environ.get("WORKYARD_TEST_SEED")
    first = int(given or time.time_ns() // 1000)
    for seed in range(first, first + (1 if given else max(1, paths // PATHS_PER_LAYOUT))):
        print(f"WORKYARD_TEST_SEED={seed}")  # shown by pytest when the test fails
        chance = random.Random(seed)
        tree = _layout(chance, base)
        put_on_disk(tree, base)
        yield tree, chance
        assert snapshot(base / "outside") == outside
        assert sorted(os.listdir(base)) == ["outside", "root"]


def path_by(chance: random.Random) -> str:
    """Return a path; an absolute one is a question of its own, asked elsewhere."""
    return (_wandering(chance, 6) + chance.choice(("", "", "", "/", "/."))).lstrip("/")


def put_on_disk(tree: Tree, base: Path) -> None:
    """Let `base/root` hold `tree` and nothing else."""
    root = base / "root"
    root.mkdir(exist_ok=True)
    for name in os.listdir(root):
        path = root / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    for place, node in tree.items():
        path = root.joinpath(*place)
        match node:
            case Directory():
                path.mkdir(exist_ok=True)
            case File(content):
                path.write_text(content)
            case Link(target):
                path.symlink_to(target)


def read_from_disk(base: Path) -> Tree:
    """Return what `base/root` holds."""
    tree: Tree = {(): Directory()}
    for at, directories, files in os.walk(base / "root"):
        for name in (*directories, *files):
            path = Path(at, name)
            place = path.relative_to(base / "root").parts
            if path.is_symlink():
                tree[place] = Link(os.readlink(path))
            else:
                tree[place] = Directory() if path.is_dir() else File(path.read_text())
    return tree


def _layout(chance: random.Random, base: Path) -> Tree:
    tree: Tree = {(): Directory()}
    for _ in range(chance.randint(6, 24)):
        above = chance.choice([at for at, node in tree.items() if isinstance(node, Directory)])
        place = (*above, chance.choice(NAMES))
        if len(place) > 4 or place in tree:
            continue
        kind = chance.random()
        if kind < 0.35:
            tree[place] = Directory()
        elif kind < 0.5:
            tree[place] = File("/".join(place))
        else:
            starts = ("", "../", "../../", f"{base}/root/", f"{base}/outside/", "/")
            start = chance.choices(starts, (9, 6, 2, 1, 1, 1))[0]
            tree[place] = Link(start + _wandering(chance, 3) or ".")
    return tree


def _wandering(chance: random.Random, most: int) -> str:
    words = (*NAMES, *NAMES, "..", "..", ".", "", "root", "outside", "secret.txt")
    return "/".join(chance.choice(words) for _ in range(chance.randint(1, most)))
