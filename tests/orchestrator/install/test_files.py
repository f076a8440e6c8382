"""A settings file is read whole and replaced whole, and what it was is kept."""

import os
import stat
import sys
from pathlib import Path

import pytest

from orchestrator.errors import ConflictError, InvalidInputError, UnavailableError
from orchestrator.install.files import read_file, replace_file


def mode_of(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664])
def test_file_keeps_its_mode_and_what_was_there_is_beside_it(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "mcp.json"
    file.write_text("old")
    file.chmod(mode)

    found = read_file(file)
    replace_file(found, "new")

    assert (file.read_text(), found.backup.read_text()) == ("new", "old")
    assert (mode_of(file), mode_of(found.backup)) == (mode, mode)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["mcp.json", found.backup.name]


def test_new_file_is_its_users_alone(tmp_path: Path) -> None:
    file = tmp_path / "made" / "too" / "mcp.json"

    replace_file(read_file(file), "new")

    assert (file.read_text(), mode_of(file)) == ("new", 0o600)
    assert [each.name for each in file.parent.iterdir()] == ["mcp.json"]


def test_link_stays_a_link_and_the_file_behind_it_is_replaced(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "mcp.json"
    real.parent.mkdir()
    real.write_text("old")
    link = tmp_path / "mcp.json"
    link.symlink_to("dotfiles/mcp.json")

    replace_file(read_file(link), "new")

    assert os.readlink(link) == "dotfiles/mcp.json"
    assert real.read_text() == "new"
    assert (real.parent / "mcp.json.before-workyard").read_text() == "old"


def test_link_where_the_backup_goes_is_not_followed(tmp_path: Path) -> None:
    precious, file = tmp_path / "precious", tmp_path / "mcp.json"
    precious.write_text("precious")
    file.write_text("old")
    (tmp_path / "mcp.json.before-workyard").symlink_to(precious)

    replace_file(read_file(file), "new")

    assert precious.read_text() == "precious"
    assert (tmp_path / "mcp.json.before-workyard").read_text() == "old"


@pytest.mark.parametrize("link", [".mcp.json", ".vscode"])
def test_link_that_leads_out_of_a_project_is_refused(tmp_path: Path, link: str) -> None:
    project, outside = tmp_path / "project", tmp_path / "outside"
    project.mkdir()
    outside.mkdir()
    (outside / "mcp.json").write_text("{}")
    (project / link).symlink_to(outside if link == ".vscode" else outside / "mcp.json")
    file = project / (".vscode/mcp.json" if link == ".vscode" else link)

    with pytest.raises(InvalidInputError, match="leads out of"):
        read_file(file, within=project)


def test_byte_order_mark_and_line_ends_stay(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_bytes(b"\xef\xbb\xbf{}\r\n")

    found = read_file(file)
    replace_file(found, '{"a": 1}\r\n')

    assert found.text == "{}\r\n"
    assert file.read_bytes() == b'\xef\xbb\xbf{"a": 1}\r\n'


def test_file_that_somebody_else_has_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text("old")
    found = read_file(file)
    file.write_text("theirs")

    with pytest.raises(ConflictError, match="changed by somebody else"):
        replace_file(found, "new")

    assert file.read_text() == "theirs"
    assert [each.name for each in tmp_path.iterdir()] == ["mcp.json"]


def test_what_is_no_file_of_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "utf16").write_text("{}", encoding="utf-16")
    (tmp_path / "device").symlink_to(os.devnull)

    with pytest.raises(InvalidInputError, match="not UTF-8"):
        read_file(tmp_path / "utf16")
    for name in ("", "device"):
        with pytest.raises(InvalidInputError, match="is not a file"):
            read_file(tmp_path / name)


@pytest.mark.skipif(sys.platform == "win32", reason="a link to a place where nothing can be made")
def test_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "mcp.json").symlink_to("/proc/nowhere/mcp.json")
    (tmp_path / "file").write_text("")

    with pytest.raises(UnavailableError, match=r"mcp\.json cannot be written"):
        replace_file(read_file(tmp_path / "mcp.json"), "new")
    with pytest.raises(UnavailableError, match="cannot be read: Not a directory"):
        read_file(tmp_path / "file" / "mcp.json")
