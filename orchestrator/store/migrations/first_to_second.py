"""From the first schema to the second: what its rows say, as rows of the other.

This belongs to revision 0002 and does not change with the program.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any  # what rows and JSON hold

import sqlalchemy as sa

BATCH = 200
"""Rows that are written at one time."""

Tables = Mapping[str, sa.Table]
Row = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Move:
    """A database with the tables of both schemas, the second ones empty."""

    connection: sa.Connection
    first: Tables
    second: Tables
    _sessions: dict[str, int] = field(default_factory=dict)
    _runs: dict[str, int] = field(default_factory=dict)
    _blobs: dict[str, int] = field(default_factory=dict)
    """The new keys, by the old ones."""
    _ledger: set[tuple[int, str]] = field(default_factory=set)
    """Run and id of calls that are in the ledger without a result."""
    _results: list[Row] = field(default_factory=list)
    """Results for the ledger that are not written yet."""

    def carry_over(self) -> None:
        """Fill the tables of the second schema."""
        self._fill("blob", self._blob_rows())
        self._fill("session", self._session_rows())
        self._fill("run", self._run_rows())
        self._fill("tool_call", self._call_rows())
        self._fill("message", self._message_rows())
        self._refer_to_blobs()
        self._write_results()
        self._fill("event", self._event_rows())
        self._point_to_runs()
        if self._is_postgres:
            for name in ("blob", "session", "run"):
                self._advance_sequence(name)
        else:
            self._leave_signs()

    def _blob_rows(self) -> Iterator[Row]:
        for pk, row in enumerate(self._read(sa.select(self.first["blob"])), 1):
            self._blobs[row["sha256"]] = pk
            yield {"pk": pk, **row}

    def _refer_to_blobs(self) -> None:
        message, session_blob = self.second["message"], self.second["session_blob"]
        used = sa.select(message.c.session_pk, message.c.instructions_pk).distinct()
        columns = [session_blob.c.session_pk, session_blob.c.blob_pk]
        rows = used.where(message.c.instructions_pk.is_not(None))
        self.connection.execute(sa.insert(session_blob).from_select(columns, rows))

    def _session_rows(self) -> Iterator[Row]:
        session = self.first["session"]
        rows = self._read(sa.select(session).order_by(session.c.created_at, session.c.id))
        for pk, row in enumerate(rows, 1):
            self._sessions[row["id"]] = pk
            del row["head_message_id"], row["active_run_id"]
            yield {"pk": pk, **row, "state_version": 0, "window_seq": 0}

    def _run_rows(self) -> Iterator[Row]:
        run, message = self.first["run"], self.first["message"]
        counting = sa.select(message.c.run_id, sa.func.count()).group_by(message.c.run_id)
        written = {row[0]: row[1] for row in self.connection.execute(counting)}
        query = sa.select(run).order_by(run.c.started_at, run.c.id)
        next_message: dict[int, int] = {}
        for pk, row in enumerate(self._read(query), 1):
            self._runs[row["id"]] = pk
            session_pk = self._sessions[row.pop("session_id")]
            first = next_message.get(session_pk, 1)
            next_message[session_pk] = first + written.get(row["id"], 0)
            del row["parent_run_id"]
            row["cost"] = self._money(row["cost"])
            yield {"pk": pk, "session_pk": session_pk, **row, "first_message_seq": first}

    def _call_rows(self) -> Iterator[Row]:
        for row in self._read(sa.select(self.first["tool_call"])):
            run_pk = self._runs[row.pop("run_id")]
            self._ledger.add((run_pk, row["call_id"]))
            yield {"run_pk": run_pk, **row}

    def _message_rows(self) -> Iterator[Row]:
        message = self.first["message"]
        for row in self._read(sa.select(message).order_by(message.c.session_id, message.c.seq)):
            try:
                body = self._body(row)
            except (ValueError, LookupError, TypeError):
                # It could not be read before, and its session will say so as before.
                body = str(row["body"])
            yield {
                "session_pk": self._sessions[row["session_id"]],
                "seq": row["seq"],
                "run_pk": self._runs[row["run_id"]],
                "kind": row["kind"],
                "body": body,
                "instructions_pk": self._blobs.get(row["instructions_sha256"]),
            }

    def _body(self, row: Row) -> str:
        body = _object(row["body"])
        del body["kind"]
        known = {"run_id": row["run_id"], "conversation_id": row["session_id"]}
        said = {name: body.pop(name, None) for name in known}
        if row["kind"] == "request":
            run_pk = self._runs[row["run_id"]]
            body["parts"] = [self._part(part, run_pk) for part in body["parts"]]
        own = {name: value for name, value in said.items() if value != known[name]}
        return _as_json({**own, **body})

    def _part(self, part: Row, run_pk: int) -> Row:
        """Return a part of a request; the first result of a call goes into the ledger instead."""
        call = (run_pk, part.get("tool_call_id"))
        if part["part_kind"] != "tool-return" or call not in self._ledger:
            return part
        self._ledger.remove(call)
        self._results.append({"run": run_pk, "call": call[1], "text": _as_json(part)})
        if len(self._results) == BATCH:
            self._write_results()
        return {"in_ledger": call[1]}

    def _write_results(self) -> None:
        ledger = self.second["tool_call"]
        of_the_call = (
            ledger.c.run_pk == sa.bindparam("run"),
            ledger.c.call_id == sa.bindparam("call"),
        )
        update = ledger.update().where(*of_the_call).values(result=sa.bindparam("text"))
        if self._results:
            self.connection.execute(update, self._results)
        self._results.clear()

    def _event_rows(self) -> Iterator[Row]:
        event = self.first["event"]
        for row in self._read(sa.select(event).order_by(event.c.session_id, event.c.seq)):
            names = ("content", "error_code", "error_text")
            said = {name: row[name] for name in names if row[name] is not None}
            try:
                body = {**_object(row["meta"]), **said}
                body.pop("version", None)
            except (ValueError, TypeError):
                body = {"meta": row["meta"], **said}  # no event then, and no event now
            yield {
                "session_pk": self._sessions[row["session_id"]],
                "seq": row["seq"],
                "run_pk": self._runs[row["run_id"]],
                "type": row["type"],
                "body": _as_json(body),
                "at": row["at"],
            }

    def _point_to_runs(self) -> None:
        """Set what points on to runs that are there only now."""
        for table, column, new in (
            ("session", "active_run_id", "active_run_pk"),
            ("run", "parent_run_id", "parent_pk"),
        ):
            first, second = self.first[table], self.second[table]
            query = sa.select(first.c.id, first.c[column]).where(first.c[column].is_not(None))
            for row in self._read(query):
                points_on = second.update().where(second.c.id == row["id"])
                self.connection.execute(points_on.values({new: self._runs[row[column]]}))

    def _leave_signs(self) -> None:
        """Leave the files by which the runs of the dead are found, for those that were under way.

        No process of an older program goes on with one: these tables are strange to it.
        """
        run = self.first["run"]
        held = sa.select(run.c.lease_owner).where(run.c.status == "running").distinct()
        directory = Path(f"{self.connection.engine.url.database}-holders")
        for holder in self.connection.execute(held).scalars():
            directory.mkdir(mode=0o700, exist_ok=True)
            (directory / Path(holder).name).touch(mode=0o600)

    def _read(self, query: sa.Select[Any]) -> Iterator[Row]:
        """Yield rows with the times as the second schema has them."""
        # SQLite gives rows as they are asked for. From PostgreSQL they come at once: a cursor that
        # stays open there would not let go of the tables that are to be dropped.
        for row in self.connection.execute(query).mappings():
            yield {name: self._moment(value) for name, value in row.items()}

    def _fill(self, table: str, rows: Iterable[Row]) -> None:
        remaining = iter(rows)
        while batch := list(islice(remaining, BATCH)):
            self.connection.execute(self.second[table].insert(), batch)

    def _advance_sequence(self, table: str) -> None:
        pk = self.second[table].c.pk
        sequence = sa.func.pg_get_serial_sequence(table, "pk")
        last = sa.select(sa.func.setval(sequence, sa.func.max(pk))).having(sa.func.count() > 0)
        self.connection.execute(last)

    @property
    def _is_postgres(self) -> bool:
        return self.connection.dialect.name == "postgresql"

    def _moment(self, value: Any) -> Any:
        """Return a time as microseconds where it was text, in UTC; anything else as it is."""
        if not isinstance(value, datetime) or self._is_postgres:
            return value
        return (value.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)

    def _money(self, cost: Any) -> Any:
        """Return an amount in units of ten places where it was text; else as it is."""
        if self._is_postgres or cost is None:
            return cost
        return int((Decimal(cost) * 10**10).to_integral_value())


def _object(column: Any) -> Row:
    """Return what a column of JSON holds, which PostgreSQL's driver has decoded already."""
    return dict(json.loads(column) if isinstance(column, str) else column)


def _as_json(value: object) -> str:
    """Return compact JSON, lone surrogates escaped: no database takes them."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))
    return text
