"""`make hosts`: real hosts reach the server after `workyard install`, and only then.

Each is asked four times: before anything is installed, after it, when the root has gone so that
the server cannot start, and after `workyard uninstall`. It must say "connected" the second time,
and no other.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.hosts.programs import NODE, PROGRAMS, Program, environment

COMMAND = Path(sys.executable).parent / "workyard"
_DEADLINE_S = 60


def main() -> int:
    """Ask every host, print what each says, and return the exit code."""
    if not NODE.exists():
        print("The hosts are not installed, or are not to be had for this system.")
        return 2
    faults = [fault for program in PROGRAMS for fault in faults_with(program)]
    print(*faults, f"{len(PROGRAMS)} hosts, {len(faults)} faults", sep="\n")
    return 1 if faults else 0


def faults_with(program: Program) -> list[str]:
    """Return what a host does not say as it should."""
    with TemporaryDirectory() as place:
        home, root = Path(place) / "home", Path(place) / "root"
        home.mkdir()
        root.mkdir()

        def reached(when: str, *, expected: bool) -> list[str]:
            said = program.ask(home)
            is_reached = re.search(program.connected, said) is not None
            print(f"{program.host}, {when}: {'connected' if is_reached else 'not connected'}")
            fault = f"{program.host}, {when}, says: {said[-2000:]}"
            return [] if is_reached == expected else [fault]

        faults = reached("before", expected=False)
        workyard(home, "install", program.host, "--root", str(root), "--read-only")
        faults += reached("installed", expected=True)
        shutil.rmtree(root)
        faults += reached("without its root", expected=False)
        root.mkdir()
        workyard(home, "uninstall", program.host)
        return faults + reached("uninstalled", expected=False)


def workyard(home: Path, *arguments: str) -> None:
    """Run the command as its user does."""
    subprocess.run(
        [str(COMMAND), *arguments],
        env=environment(home),
        stdout=subprocess.DEVNULL,
        timeout=_DEADLINE_S,
        check=True,
    )


if __name__ == "__main__":
    sys.exit(main())
