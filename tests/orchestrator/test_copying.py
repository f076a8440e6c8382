"""A copy of a workspace for a replay."""

import os
import stat
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from orchestrator.errors import LimitError
from orchestrator.replay import copying
from orchestrator.replay.copying import copied


async def test_copy_has_files_links_times_and_permissions(project: Path) -> None:
    (project / "run.sh").write_text("#!/bin/sh\n")
    (project / "run.sh").chmod(0o750)
    (project / "link").symlink_to("docs/rounding.md")
    (project / "there").symlink_to("docs")
    for name in ("README.md", "docs"):
        os.utime(project / name, ns=(1, 10**18))

    async with copied(project) as copy:
        root = copy.root
        found = sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))
        assert found == sorted(path.relative_to(project).as_posix() for path in project.rglob("*"))
        assert (root / "README.md").read_bytes() == (project / "README.md").read_bytes()
        assert (root / "link").readlink() == Path("docs/rounding.md")
        assert (root / "there").is_symlink()
        assert stat.S_IMODE((root / "run.sh").stat().st_mode) == 0o750
        assert [(root / n).stat().st_mtime_ns for n in ("README.md", "docs")] == [10**18] * 2
        assert stat.S_IMODE(root.parent.stat().st_mode) == 0o700


async def test_copy_leaves_out_what_no_tool_reads_and_what_is_ours(project: Path) -> None:
    os.mkfifo(project / "pipe")
    for name in (".git/objects/ab", ".git/info", "objects", "record"):
        (project / name).mkdir(parents=True)
        (project / name / "file").touch()

    async with copied(project, leave_out=[project / "record"]) as copy:
        names = {p.relative_to(copy.root).as_posix() for p in copy.root.rglob("*") if p.is_file()}

    assert {".git/info/file", "objects/file"} <= names
    assert not {"pipe", ".git/objects/ab/file", "record/file"} & names


async def test_copy_follows_no_link_out_of_the_root(project: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    (project / "out").symlink_to(tmp_path)
    (project / "file").symlink_to(tmp_path / "secret")

    async with copied(project) as copy:
        assert (copy.root / "out").is_symlink()
        assert (copy.root / "file").is_symlink()


@pytest.mark.parametrize("unit", ["bytes", "files"])
async def test_root_that_holds_too_much_is_refused_and_nothing_stays(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: str
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.setattr(copying, f"MAX_COPY_{unit.upper()}", 1)

    with pytest.raises(LimitError, match=f"more than 1 {unit}") as caught:
        async with copied(project):
            raise AssertionError("there is no copy")

    assert caught.value.unit == unit
    assert list(temporary.iterdir()) == []


async def test_copy_is_deleted_also_when_its_user_fails_or_is_cancelled(project: Path) -> None:
    (project / "docs").chmod(0o500)
    places: list[Path] = []
    with suppress(ValueError):
        async with copied(project) as copy:
            places.append(copy.root)
            raise ValueError
    with anyio.CancelScope() as scope:
        async with copied(project) as copy:
            places.append(copy.root)
            scope.cancel()
            await anyio.sleep_forever()
    (project / "docs").chmod(0o700)

    assert len(places) == 2
    assert not any(place.parent.exists() for place in places)
