"""Specs on record: every edit is a version, none is lost, and nobody finds what is not theirs."""

import json
from functools import partial
from typing import Any  # what JSON holds

import anyio
import pytest
from sqlalchemy import Engine, event
from sqlalchemy import text as sql

from orchestrator.catalogue import Catalogue
from orchestrator.definition import Visibility
from orchestrator.definitions.definitions import Definitions
from orchestrator.errors import (
    DefinitionEditedError,
    DefinitionTakenError,
    InvalidInputError,
    NotFoundError,
    SpecError,
)
from orchestrator.settings import load_settings
from orchestrator.store import definitions as stored
from orchestrator.store.store import Store, open_store
from orchestrator.store.writer import Transaction
from tests.orchestrator.by_hand import rows

BUDGET = {"Budget": {"requests": 5, "total_tokens": 1000, "cost_usd": 0.5}}


def notes(description: str = "Writes notes.", **more: Any) -> dict[str, Any]:
    return {"name": "notes", "description": description, "instructions": "Write.", **more}


def named(name: str, **more: Any) -> dict[str, Any]:
    return {**notes(), "name": name, **more}


@pytest.fixture
def definitions(store: Store) -> Definitions:
    return Definitions(store.access, Catalogue(()))


async def test_definition_is_read_as_it_was_written(definitions: Definitions) -> None:
    schema = {"type": "object", "properties": {"z": {"default": "é\x00\ud800"}, "a": {}}}
    values = notes(deps_schema=schema, capabilities=["Thinking", BUDGET])

    made = await definitions.create(values, by="ada", note="first")
    read = await definitions.get("notes")

    assert read == made
    assert json.dumps(read.values) == json.dumps(values)
    assert [*read.inputs] == ["z", "a"]
    assert (read.origin.owner, read.origin.version) == ("local", 1)
    (version,) = await definitions.versions("notes")
    assert (version.number, version.sha256, version.by, version.note) == (
        *(1, made.sha256),
        *("ada", "first"),
    )


async def test_edit_adds_a_version_and_changes_none(definitions: Definitions) -> None:
    first = await definitions.create(notes())

    second = await definitions.edit("notes", notes("Makes notes."), made_from=1)

    assert (await definitions.get("notes")).document.description == "Makes notes."
    assert await definitions.get("notes", version=1) == first
    assert [v.number for v in await definitions.versions("notes")] == [2, 1]
    assert second.origin.version == 2


async def test_edit_that_says_the_same_makes_no_version(definitions: Definitions) -> None:
    await definitions.create(notes(tool_timeout=5))
    same = dict(reversed(notes(tool_timeout=5).items()))

    again = await definitions.edit("notes", same, made_from=1)

    assert again.origin.version == 1
    assert len(await definitions.versions("notes")) == 1
    await definitions.edit("notes", notes(), made_from=1)
    late = await definitions.edit("notes", notes(), made_from=1)  # nothing would be lost
    assert late.origin.version == 2


async def test_edit_of_an_older_version_is_refused(definitions: Definitions) -> None:
    await definitions.create(notes())
    await definitions.edit("notes", notes("Mine."), made_from=1)

    with pytest.raises(DefinitionEditedError, match="is at version 2, and the edit was made from"):
        await definitions.edit("notes", notes("Yours."), made_from=1)

    assert (await definitions.get("notes")).document.description == "Mine."


async def test_one_of_many_edits_at_once_wins_and_the_others_hear_of_it(url: str) -> None:
    lost: list[int] = []

    async def edit(definitions: Definitions, number: int) -> None:
        try:
            await definitions.edit("notes", notes(f"Edit {number}."), made_from=1)
        except DefinitionEditedError:
            lost.append(number)

    async with open_store(url) as one, open_store(url) as other:
        await Definitions(one.access, Catalogue(())).create(notes())
        async with anyio.create_task_group() as group:
            for number in range(8):
                place = (one, other)[number % 2]
                group.start_soon(edit, Definitions(place.access, Catalogue(())), number)
        versions = await Definitions(one.access, Catalogue(())).versions("notes")

    assert len(lost) == 7
    assert [version.number for version in versions] == [2, 1]


async def test_one_of_many_creations_at_once_wins(url: str) -> None:
    taken: list[int] = []

    async def create(definitions: Definitions, number: int) -> None:
        try:
            await definitions.create(notes(f"Made by {number}."))
        except DefinitionTakenError:
            taken.append(number)

    async with open_store(url) as one, open_store(url) as other:
        async with anyio.create_task_group() as group:
            for number in range(8):
                place = (one, other)[number % 2]
                group.start_soon(create, Definitions(place.access, Catalogue(())), number)
        assert len(await Definitions(one.access, Catalogue(())).versions("notes")) == 1

    assert len(taken) == 7


async def test_work_that_is_tried_again_is_done_once(
    definitions: Definitions, store: Store
) -> None:
    """The writer does not always know whether a commit took place."""
    edit = await definitions._edit(notes(), Visibility.PRIVATE, None, "")
    other = await definitions._edit(notes("Other."), Visibility.PRIVATE, None, "")

    def twice(tx: Transaction) -> list[int]:
        create = partial(stored.create, "local", edit, Visibility.PRIVATE)
        change = partial(stored.add_version, "local", other, None, 1)
        again = Transaction(tx.connection, again=True)
        done = [create(tx), create(again), change(tx), change(again)]
        stored.delete("local", "notes", tx)
        stored.delete("local", "notes", again)
        return done

    assert await store.access.write(twice) == [1, 1, 2, 2]
    with pytest.raises(NotFoundError):
        await definitions.get("notes")


async def test_rollback_is_a_version_that_says_what_an_earlier_one_said(
    definitions: Definitions,
) -> None:
    first = await definitions.create(notes())
    await definitions.edit("notes", notes("Worse."), made_from=1)

    back = await definitions.rollback("notes", 1, by="ada")

    assert (back.origin.version, back.sha256) == (3, first.sha256)
    assert (await definitions.versions("notes"))[0].note == "As version 1."
    with pytest.raises(NotFoundError, match="no version 'notes@9'; did you mean 'notes@3'"):
        await definitions.rollback("notes", 9)


async def test_version_is_asked_for_behind_the_name(definitions: Definitions) -> None:
    first = await definitions.create(notes())
    await definitions.edit("notes", notes("Makes notes."), made_from=1)

    assert await definitions.get("notes@1") == first
    assert await definitions.get("local/notes@1", version=1) == first
    assert (first.reference, first.pinned) == ("local/notes", "local/notes@1")
    for wrong in ("notes@3", "notes@0", "notes@2147483648", "notes@99999999999999999999", "n@1"):
        with pytest.raises(NotFoundError):
            await definitions.get(wrong)
    for number in (0, -1, 2**31, 2**63, 10**30):
        with pytest.raises(NotFoundError):
            await definitions.get("notes", version=number)
    with pytest.raises(InvalidInputError, match="'notes@1' is no version 2"):
        await definitions.get("notes@1", version=2)
    with pytest.raises(NotFoundError):
        await definitions.edit("notes@2", notes("x"), made_from=2)


async def test_diff_is_of_what_a_person_reads(definitions: Definitions) -> None:
    await definitions.create(notes())
    await definitions.edit("notes", notes("Makes notes."), made_from=1)

    diff = await definitions.diff("notes", 1, 2)

    assert diff.splitlines()[:2] == ["--- notes@1", "+++ notes@2"]
    assert "-description: Writes notes.\n+description: Makes notes.\n" in diff


async def test_deleted_definition_is_not_found_and_its_numbers_go_on(
    definitions: Definitions,
) -> None:
    """What a run on record names as `notes@1` must never be something else."""
    first = await definitions.create(notes())
    await definitions.delete("notes")

    assert (await definitions.list()).definitions == ()
    with pytest.raises(NotFoundError):
        await definitions.edit("notes", notes("x"), made_from=1)
    with pytest.raises(NotFoundError):
        await definitions.delete("notes")
    assert await definitions.with_hash(first.sha256) == ["local/notes@1"]
    again = await definitions.create(notes("Another."))
    assert again.origin.version == 2
    assert await definitions.get("notes", version=1) == first


async def test_name_is_taken_once_for_each_owner(definitions: Definitions) -> None:
    await definitions.create(notes())

    for description in ("Another.", "Writes notes."):
        with pytest.raises(DefinitionTakenError, match="'local' has a definition 'notes' already"):
            await definitions.create(notes(description))

    theirs = await definitions.of("ada").create(notes("Of Ada."))
    assert theirs.origin.owner == "ada"
    assert (await definitions.get("notes")).document.description == "Writes notes."


async def test_what_another_owns_is_not_there(definitions: Definitions) -> None:
    ada = definitions.of("ada")
    made = await ada.create(notes())

    for attempt in (
        definitions.get("ada/notes"),
        definitions.get("ada/notes", version=1),
        definitions.versions("ada/notes"),
        definitions.edit("notes", notes("x"), made_from=1),
        definitions.rollback("ada/notes", 1),
        definitions.delete("notes"),
    ):
        with pytest.raises(NotFoundError) as caught:
            await attempt
        assert "ada" not in caught.value.known
    assert (await definitions.list()).definitions == ()
    assert await definitions.with_hash(made.sha256) == []
    assert await definitions.find_again("notes", made.sha256, ("local",)) is None


async def test_shared_definition_is_found_by_its_owner_and_name_alone(
    definitions: Definitions,
) -> None:
    """A name that was mistyped must not run a stranger's agent."""
    shared = notes(capabilities=[BUDGET])
    made = await definitions.of("ada").create(shared, visibility=Visibility.SHARED)

    assert (await definitions.get("ada/notes")).sha256 == made.sha256
    with pytest.raises(NotFoundError):
        await definitions.get("notes")
    (listed,) = (await definitions.list()).definitions
    assert (listed.reference, listed.visibility) == ("ada/notes", "shared")
    with pytest.raises(NotFoundError):
        await definitions.edit("notes", notes("Mine now."), made_from=1)

    await definitions.of("ada").edit("notes", shared, made_from=1, visibility=Visibility.PRIVATE)
    with pytest.raises(NotFoundError):
        await definitions.get("ada/notes")
    assert len(await definitions.of("ada").versions("notes")) == 1


async def test_name_stays(definitions: Definitions) -> None:
    await definitions.create(notes())

    with pytest.raises(SpecError, match="the name stays 'notes'"):
        await definitions.edit("notes", named("others"), made_from=1)


async def test_pages_hold_each_definition_once_the_own_ones_first(
    definitions: Definitions,
) -> None:
    for number in range(5):
        await definitions.create(named(f"mine_{number}"))
    for owner in ("ada", "zoe"):
        shared = named("theirs", capabilities=[BUDGET])
        await definitions.of(owner).create(shared, visibility=Visibility.SHARED)
        await definitions.of(owner).create(named("hidden"))

    found: list[str] = []
    cursor = None
    while True:
        page = await definitions.list(limit=2, cursor=cursor)
        found += [each.reference for each in page.definitions]
        cursor = page.cursor
        if cursor is None:
            break

    assert found == [*(f"local/mine_{n}" for n in range(5)), "ada/theirs", "zoe/theirs"]
    hits = await definitions.list(search="e_3")
    assert [each.name for each in hits.definitions] == ["mine_3"]
    assert (await definitions.list(search="%")).definitions == ()
    with pytest.raises(InvalidInputError, match="1 to 1000"):
        await definitions.list(limit=0)


@pytest.mark.parametrize("owner", ["", " ", "a\x00b", "\ud800", "x" * 201])
async def test_owner_that_no_database_takes_is_refused(
    definitions: Definitions, owner: str
) -> None:
    with pytest.raises(InvalidInputError, match="owner"):
        definitions.of(owner)
    with pytest.raises(NotFoundError):
        await definitions.get(f"{owner}/notes")


@pytest.mark.parametrize("name", ["", "no\x00tes", "\udcff", "'; DROP TABLE definition; --", "é"])
async def test_hostile_name_finds_nothing_and_is_none(definitions: Definitions, name: str) -> None:
    with pytest.raises(NotFoundError):
        await definitions.get(name)
    with pytest.raises(SpecError, match="name: "):
        await definitions.create(named(name))


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"x": value}
    return value


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"metadata": {"x": "y" * 300_000}}, "larger than"),
        ({"metadata": deep(100_000)}, "not JSON"),
        ({"metadata": deep(60)}, "more than 50 deep"),
        ({"metadata": {"x": float("nan")}}, "not JSON"),
        ({"modle": "x"}, "did you mean 'model'"),
        ({"instructions": "{{x}}"}, "no deps_schema"),
        ({"capabilities": [{"Budget": {"requests": 0}}]}, "above 0"),
        ({"capabilities": ["Nothing"]}, "Nothing is refused"),
    ],
)
async def test_what_is_no_spec_is_not_put_on_record(
    definitions: Definitions, more: dict[str, Any], problem: str
) -> None:
    with pytest.raises(SpecError, match=problem):
        await definitions.create(notes(**more))

    assert (await definitions.list()).definitions == ()


async def test_text_that_was_changed_behind_the_record_is_refused_and_hides_no_other() -> None:
    async with open_store(load_settings().effective_database_url) as store:
        definitions = Definitions(store.access, Catalogue(()))
        await definitions.create(notes())
        await definitions.create(named("others"))
        wide = json.dumps(notes(capabilities=[{"WorkspaceTools": {"tools": ["write_file"]}}]))
        rows("UPDATE definition_version SET spec = ? WHERE definition_pk = 1", wide)

        with pytest.raises(SpecError, match="its hash is another"):
            await definitions.get("notes")
        first, second = (await definitions.list()).definitions
        assert "its hash is another" in first.problem
        assert second.spec is not None


async def test_definition_that_is_no_spec_any_more_can_be_edited() -> None:
    """A newer program may be stricter; then its owner puts it right."""
    async with open_store(load_settings().effective_database_url) as store:
        definitions = Definitions(store.access, Catalogue(()))
        await definitions.create(notes())
        rows("UPDATE definition_version SET spec = '{}'")

        with pytest.raises(SpecError):
            await definitions.get("notes")
        edited = await definitions.edit("local/notes", notes("Right."), made_from=1)
        assert edited.origin.version == 2
        await definitions.delete("local/notes")


async def test_database_refuses_a_visibility_that_there_is_not(store: Store) -> None:
    await Definitions(store.access, Catalogue(())).create(notes())
    statement = sql("UPDATE definition SET visibility = 'public'")

    with pytest.raises(Exception, match="ck_definition_visibility"):
        await store.access.write(lambda tx: tx.connection.execute(statement))


async def test_listing_and_lookup_take_the_indexes() -> None:
    """Thousands of others' definitions must cost nothing."""
    asked: list[tuple[str, Any]] = []

    def note(_c: object, _x: object, statement: str, values: Any, *_: object) -> None:
        if "FROM definition" in statement:
            asked.append((statement, values))

    async with open_store(load_settings().effective_database_url) as store:
        definitions = Definitions(store.access, Catalogue(()))
        event.listen(Engine, "before_cursor_execute", note)
        try:
            await definitions.list(cursor="local/a")
            await definitions.list(cursor="ada/a")
            await definitions.with_hash("0" * 64)
            with pytest.raises(NotFoundError):
                await definitions.get("ada/notes")
        finally:
            event.remove(Engine, "before_cursor_execute", note)
    plans = [
        " ".join(str(row[-1]) for row in rows(f"EXPLAIN QUERY PLAN {statement}", *values))
        for statement, values in asked
    ]

    assert len(plans) >= 5
    shared = "SCAN definition USING INDEX ix_definition_shared"
    assert any(shared in plan for plan in plans)
    assert not [plan for plan in plans if "SCAN" in plan.replace(shared, "")]
