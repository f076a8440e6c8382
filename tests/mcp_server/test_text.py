"""Nothing that leaves breaks the wire, poses as another line or names a place on the host."""

import pytest

from mcp_server.text import outgoing, printable_name, without_host_paths


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain ä €\n\tline", "plain ä €\n\tline"),
        ("caf\udce9", "caf\\xe9"),
        ("\udc80\udcff", "\\x80\\xff"),
        ("\ud800 alone", "\\ud800 alone"),
        ("😀", "😀"),
    ],
)
def test_what_leaves_can_be_encoded(given: str, shown: str) -> None:
    assert outgoing(given) == shown
    outgoing(given).encode()


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("src/app.py", "src/app.py"),
        ("naïve 名前.txt", "naïve 名前.txt"),
        ("a\nb", "a\\x0ab"),
        ("a\x1b[2Jb\x7f", "a\\x1b[2Jb\\x7f"),
        ("a\u2028b\x85", "a\\u2028b\\x85"),
        ("bad\udcff\r", "bad\\xff\\x0d"),
    ],
)
def test_a_name_is_one_line_of_plain_text(given: str, shown: str) -> None:
    assert printable_name(given) == shown


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("open('/srv/yard/a/b.py')", "open('a/b.py')"),
        ("in /srv/yard", "in ."),
        ("in /srv/yard/", "in ."),
        ("in '/srv/yard'", "in '.'"),
        ("in /srv/yard-2/a", "in /srv/yard-2/a"),
        ("in /srv/yard.old", "in /srv/yard.old"),
        ("in /srv/other", "in /srv/other"),
    ],
)
def test_the_root_is_not_named(given: str, shown: str) -> None:
    assert without_host_paths(given, ["/srv/yard"]) == shown


def test_a_root_that_is_the_whole_disk_changes_nothing() -> None:
    assert without_host_paths("in /srv", ["/"]) == "in /srv"
