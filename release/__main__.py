"""`make bundle`: dist/workyard-VERSION.mcpb and dist/server.json.

The official tool has to find the manifest sound, and the bundle, unpacked and started as its
manifest says, has to list its tools to a client.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
from mcp import Client, StdioServerParameters

from release.bundle import lay_out, manifest
from release.project import REPOSITORY, project
from release.server_json import server_json

TOOL = REPOSITORY / ".tools/release/node_modules/@anthropic-ai/mcpb/dist/cli/cli.js"
UV = REPOSITORY / ".tools/bin/uv"
DIST = REPOSITORY / "dist"
_INSTALL_S = 300


def main() -> int:
    """Make and check both, and return the exit code."""
    DIST.mkdir(exist_ok=True)
    bundle = DIST / f"workyard-{project()['version']}.mcpb"
    with TemporaryDirectory() as place:
        sources, unpacked = Path(place) / "bundle", Path(place) / "unpacked"
        sources.mkdir()
        lay_out(sources)
        _mcpb("validate", str(sources / "manifest.json"))
        _mcpb("pack", str(sources), str(bundle))
        _mcpb("unpack", str(bundle), str(unpacked))
        print(f"{bundle.name} starts, and lists {anyio.run(_count_tools, unpacked)} tools")
    (DIST / "server.json").write_text(json.dumps(server_json(), indent=2) + "\n", encoding="utf-8")
    print("server.json is written")
    return 0


def _mcpb(*arguments: str) -> None:
    """Run the official tool.

    Raises:
        SystemExit: It has found a fault; what it says is in it.
    """
    done = subprocess.run(
        ["node", str(TOOL), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"mcpb {arguments[0]} fails:\n{done.stdout}{done.stderr}")


async def _count_tools(directory: Path) -> int:
    """Start an unpacked bundle as a host does, with itself as what it serves."""
    filled = {"${__dirname}": str(directory), "${user_config.root}": str(directory)}
    words: list[str] = manifest()["server"]["mcp_config"]["args"]
    server = StdioServerParameters(
        command=str(UV),
        args=[filled.get(word, word) for word in words],
        env=_environment(directory.with_name("home")),
    )
    with anyio.fail_after(_INSTALL_S):  # the first start downloads what the server needs
        async with Client(server) as client:
            return len((await client.list_tools()).tools)


def _environment(home: Path) -> dict[str, str]:
    # Where packages come from is this machine's matter, as it is a user's.
    passed = {name: value for name, value in os.environ.items() if name.startswith(("UV_", "SSL_"))}
    return {**passed, "HOME": str(home)}


if __name__ == "__main__":
    sys.exit(main())
