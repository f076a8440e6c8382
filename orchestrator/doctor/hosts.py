"""The hosts: whether Workyard is in their settings, and whether what stands there starts."""

import os
import tempfile
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client

from orchestrator.doctor.findings import Finding, failed, ok, warning
from orchestrator.errors import OrchestratorError
from orchestrator.install.entry import Entry
from orchestrator.install.hosts import HOSTS, Host, Scope
from orchestrator.install.installing import Target, installed, settings_file
from orchestrator.install.machine import Machine
from orchestrator.words import one_line

START_S = 30.0
"""How long a server may take to list its tools; hosts wait ten seconds and more."""


@dataclass
class Hosts:
    """The hosts of a machine; a server that stands in several settings is started once."""

    machine: Machine
    project: Path | None
    _tried: dict[str, tuple[bool, str]] = field(default_factory=dict)

    async def findings(self) -> AsyncGenerator[Finding]:
        """Yield what there is to say of each host that has settings here."""
        found = False
        for host in HOSTS:
            for scope, project in self._scopes(host):
                target = Target(host, "", scope, project)
                if os.path.exists(settings_file(target, self.machine)):
                    found = True
                    async for each in self._of(target):
                        yield each
        if not found:
            yield ok("hosts", "none has settings here", "'workyard install HOST' makes them")

    def _scopes(self, host: Host) -> list[tuple[Scope, Path]]:
        scopes: list[tuple[Scope, Path]] = [("user", Path())]
        if self.project is not None and host.project_file is not None:
            scopes.append(("project", self.project))
        return scopes

    async def _of(self, target: Target) -> AsyncGenerator[Finding]:
        check = f"host {target.host.name}"
        if target.scope == "project":
            check += ", project"
        install = f"'workyard install {target.host.name} --root DIR'"
        try:
            entries = installed(target, self.machine)
        except OrchestratorError as error:
            yield warning(check, str(error))
            return
        if not entries:
            file = settings_file(target, self.machine)
            yield ok(check, f"Workyard is not in {file}", f"{install} puts it there")
        for name, entry in entries.items():
            if not os.path.isabs(entry.command) or not os.access(entry.command, os.X_OK):
                detail = f"{name!r} starts {entry.command}, which is no path of a program here"
                yield failed(check, detail, f"{install} names the present one")
            elif target.scope == "project":
                # Who has written the project could have doctor start whatever they like.
                yield ok(check, f"{name!r} is there; what a project starts is not tried")
            else:
                starts, detail = await self._try(entry)
                advice = f"run it in a terminal: {' '.join([entry.command, *entry.args])}"
                finding = ok if starts else failed
                yield finding(check, f"{name!r} {detail}", "" if starts else advice)

    async def _try(self, entry: Entry) -> tuple[bool, str]:
        key = repr((entry.command, entry.args, sorted(entry.env.items())))
        if key not in self._tried:
            self._tried[key] = await try_to_start(entry, START_S)
        return self._tried[key]


async def try_to_start(entry: Entry, patience_s: float) -> tuple[bool, str]:
    """Start a server as hosts do, and say whether it lists its tools, or why it does not."""
    # The client hands on what hosts hand on, and nothing else.
    server = StdioServerParameters(
        command=entry.command, args=[*entry.args], env={**entry.env}, cwd=Path.home()
    )
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        try:
            with anyio.fail_after(patience_s):
                async with Client(stdio_client(server, errlog=said)) as client:
                    count = len((await client.list_tools()).tools)
            return True, f"starts and lists {count} tools"
        except TimeoutError:
            return False, f"has not listed its tools within {patience_s:g} s"
        except (MCPError, OSError, ValueError, ExceptionGroup):
            said.seek(0)
            last = said.read().strip().rpartition("\n")[2]
            return False, f"does not start: {one_line(last, 300)}" if last else "does not start"
