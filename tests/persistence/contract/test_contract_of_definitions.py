"""Stored definitions in the database: versions, conditions, limits, and the numbers after a deletion."""

import asyncio
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from msgspec import UNSET, json

from stepwell.basics.errors import InvalidRequest, NotFound, PreconditionFailed, QuotaExceeded
from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.contract.stored_definitions import DefinitionUpdate
from stepwell.ports.stored_definitions import Definitions
from stepwell.rules.stored_definitions import (
    NO_CONDITIONS,
    DefinitionFilter,
    DefinitionLimits,
    DefinitionUse,
    NewContent,
    RevisionConditions,
    StoredDefinition,
    StoredVersion,
)
from support.database.stored_workflows import OTHER, Stored

LIMITS = DefinitionLimits(names=3, versions=4, bytes=1_000)
NOW = datetime(2026, 12, 1, 12, 30, 15, 123456, UTC)
ABSENT = RevisionConditions(if_none_match=frozenset("*"))


async def put(
    definitions: Definitions,
    name: str,
    text: str,
    conditions: RevisionConditions = NO_CONDITIONS,
    *,
    tenant: str | None = "t",
    limits: DefinitionLimits = LIMITS,
    dry_run: bool = False,
    refers_to: tuple[str, ...] = (),
) -> StoredDefinition:
    content = f'{{"steps": "{text}"}}'.encode()
    digest = sha256(content).hexdigest()
    size, author = len(content), "ann"
    version = StoredVersion(digest=digest, size=size, created_by=author, created_at=NOW, refers_to=refers_to)
    new = NewContent(content=content, version=version, conditions=conditions, limits=limits)
    return await definitions.put(tenant, name, new, dry_run=dry_run)


def matching(definition: StoredDefinition) -> RevisionConditions:
    return RevisionConditions(frozenset({definition.name.revision}))


async def test_each_new_content_is_the_next_version_and_each_version_stays_as_it_was(stored: Stored) -> None:
    definitions = stored.here.definitions
    first, same, second, again = [await put(definitions, "a", text) for text in ("x", "x", "y", "x")]
    assert [each.version.version for each in (first, same, second, again)] == [1, 1, 2, 3]
    assert [each.created for each in (first, same, second, again)] == [True, False, True, True]
    assert [await definitions.content("t", "a", number) for number in (1, 2, 3)] == [
        b'{"steps": "x"}',
        b'{"steps": "y"}',
        b'{"steps": "x"}',
    ]
    newest = await definitions.find("t", "a")
    assert (newest.name, newest.version) == (again.name, again.version)
    assert (newest.version.created_by, newest.version.created_at) == ("ann", NOW)
    assert (await definitions.find("t", "a", 1)).version == first.version
    assert [each.version for each in await definitions.versions("t", "a")] == [3, 2, 1]


async def test_a_definition_is_seen_by_its_tenant_only(stored: Stored) -> None:
    definitions = stored.here.definitions
    mine = await put(definitions, "a", "mine")
    nobodys = await put(definitions, "a", "nobody's", tenant=None)
    assert (mine.version.version, nobodys.version.version) == (1, 1)
    assert await definitions.content(None, "a", 1) == b'{"steps": "nobody\'s"}'
    for call in (
        definitions.find("u", "a"),
        definitions.content("u", "a", 1),
        definitions.versions("u", "a"),
        definitions.update("u", "a", DefinitionUpdate(archived=True), NO_CONDITIONS),
        definitions.delete("u", "a", NO_CONDITIONS),
    ):
        with pytest.raises(NotFound):
            await call
    assert await definitions.page("u", DefinitionFilter(limit=9)) == []
    assert [await definitions.use(tenant) for tenant in ("t", "u")] == [DefinitionUse(1, 17, 1), DefinitionUse()]


async def test_a_version_or_a_name_that_does_not_exist_is_not_found(stored: Stored) -> None:
    definitions = stored.here.definitions
    await put(definitions, "a", "x")
    for name, version in (("b", None), ("a", 2), ("b", 1)):
        with pytest.raises(NotFound):
            await definitions.find("t", name, version)
    with pytest.raises(NotFound):
        await definitions.content("t", "a", 2)
    with pytest.raises(NotFound):
        await definitions.versions("t", "b")


async def test_of_editors_at_once_one_stores_the_next_version_and_the_others_are_refused(stored: Stored) -> None:
    definitions, elsewhere = stored.here.definitions, (await stored.process(OTHER)).definitions
    base = matching(await put(definitions, "a", "base"))
    outcomes = await asyncio.gather(
        *(put(elsewhere if number % 2 else definitions, "a", str(number), base) for number in range(7)),
        return_exceptions=True,
    )
    assert [type(each) for each in outcomes].count(StoredDefinition) == 1
    assert [type(each) for each in outcomes].count(PreconditionFailed) == 6
    assert (await definitions.find("t", "a")).version.version == 2
    firsts = await asyncio.gather(*(put(definitions, "b", text, ABSENT) for text in "xyz"), return_exceptions=True)
    assert sorted(type(each).__name__ for each in firsts) == ["PreconditionFailed"] * 2 + ["StoredDefinition"]


async def test_writers_at_once_get_consecutive_versions(stored: Stored) -> None:
    definitions = stored.here.definitions
    found = await asyncio.gather(*(put(definitions, "a", text) for text in "abcd"))
    assert sorted(each.version.version for each in found) == [1, 2, 3, 4]
    assert (await definitions.use("t")).names == 1
    assert len(await definitions.versions("t", "a")) == 4


async def test_the_conditions_name_the_newest_version_and_the_members_of_the_name(stored: Stored) -> None:
    definitions = stored.here.definitions
    with pytest.raises(PreconditionFailed):
        await put(definitions, "a", "x", RevisionConditions(frozenset("*")))
    first = await put(definitions, "a", "x", ABSENT)
    with pytest.raises(PreconditionFailed):
        await put(definitions, "a", "x", ABSENT)
    with pytest.raises(PreconditionFailed):
        await put(definitions, "a", "y", RevisionConditions(if_none_match=frozenset({first.name.revision})))
    changed = await definitions.update("t", "a", DefinitionUpdate(labels={"b": "1"}), matching(first))
    for refused in (
        put(definitions, "a", "y", matching(first)),
        definitions.update("t", "a", DefinitionUpdate(archived=True), matching(first)),
        definitions.delete("t", "a", matching(first)),
    ):
        with pytest.raises(PreconditionFailed):
            await refused
    second = await put(definitions, "a", "y", matching(changed))
    assert second.name.labels == {"b": "1"}
    await definitions.delete("t", "a", matching(second))


async def test_a_change_keeps_what_it_does_not_name(stored: Stored) -> None:
    definitions = stored.here.definitions
    await put(definitions, "a", "x")
    await put(definitions, "a", "y")
    update = DefinitionUpdate(default_version=1, archived=True, labels={"z": "2", "b": "1"}, description="Für alle")
    name = (await definitions.update("t", "a", update, NO_CONDITIONS)).name
    assert (name.default_version, name.archived, name.description) == (1, True, "Für alle")
    assert [*name.labels.items()] == [("b", "1"), ("z", "2")]
    assert (await definitions.update("t", "a", DefinitionUpdate(), NO_CONDITIONS)).name == name
    cleared = DefinitionUpdate(default_version=None, archived=UNSET, labels=None, description=None)
    found = await definitions.update("t", "a", cleared, NO_CONDITIONS)
    assert (found.name.default_version, found.name.archived, found.name.labels) == (None, True, {})
    assert found.name.description is None
    assert found == await definitions.find("t", "a")
    for version in (0, 3):
        with pytest.raises(InvalidRequest):
            await definitions.update("t", "a", DefinitionUpdate(default_version=version), NO_CONDITIONS)


async def test_the_numbers_go_on_after_a_deletion_and_nothing_else_is_left(stored: Stored) -> None:
    definitions = stored.here.definitions
    await put(definitions, "a", "x")
    await put(definitions, "a", "y")
    members = DefinitionUpdate(default_version=1, archived=True, labels={"b": "1"}, description="d")
    await definitions.update("t", "a", members, NO_CONDITIONS)
    assert (await definitions.delete("t", "a", NO_CONDITIONS)).name.versions == 2
    assert await definitions.use("t") == DefinitionUse(used=1)
    with pytest.raises(NotFound):
        await definitions.delete("t", "a", NO_CONDITIONS)
    for archived in (True, False):
        assert await definitions.page("t", DefinitionFilter(limit=9, archived=archived)) == []
    third = await put(definitions, "a", "y", ABSENT)
    assert (third.version.version, third.created) == (3, True)
    found = await definitions.find("t", "a")
    assert found == StoredDefinition(third.name, third.version)
    assert (found.name.archived, found.name.labels, found.name.description) == (False, {}, None)
    assert [each.version for each in await definitions.versions("t", "a")] == [3]
    with pytest.raises(InvalidRequest):  # a version that was deleted
        await definitions.update("t", "a", DefinitionUpdate(default_version=2), NO_CONDITIONS)


async def test_the_limits_hold_also_for_writers_at_once_and_a_deletion_makes_room(stored: Stored) -> None:
    definitions = stored.here.definitions
    limits = DefinitionLimits(names=2, versions=2, bytes=60)  # four versions
    outcomes = await asyncio.gather(
        *(put(definitions, name, "x", limits=limits) for name in "abcd"), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in outcomes) == ["QuotaExceeded"] * 2 + ["StoredDefinition"] * 2
    first, other = [each.name.name for each in await definitions.page("t", DefinitionFilter(limit=9))]
    await put(definitions, first, "y", limits=limits)
    with pytest.raises(QuotaExceeded, match="2 versions"):
        await put(definitions, first, "z", limits=limits)
    assert not (await put(definitions, first, "y", limits=limits)).created
    await put(definitions, other, "y", limits=limits)
    with pytest.raises(QuotaExceeded, match="60 bytes"):
        await put(definitions, other, "z", limits=DefinitionLimits(2, 9, 60))
    assert await definitions.use("t") == DefinitionUse(2, 56, 2)
    await put(definitions, "e", "x", limits=limits, tenant="u")
    await definitions.delete("t", first, NO_CONDITIONS)
    await put(definitions, "e", "x", limits=limits)
    assert await definitions.use("t") == DefinitionUse(2, 42, 3)


async def test_deleted_names_are_bounded_and_can_be_stored_again(stored: Stored) -> None:
    definitions, limits = stored.here.definitions, DefinitionLimits(names=1, versions=9, bytes=1_000)
    for number in range(10):
        await put(definitions, f"a{number}", "x", limits=limits)
        await definitions.delete("t", f"a{number}", NO_CONDITIONS)
    with pytest.raises(QuotaExceeded, match="has used 10 names"):
        await put(definitions, "b", "x", limits=limits)
    assert (await put(definitions, "a0", "x", limits=limits)).version.version == 2
    await put(definitions, "b", "x", limits=limits, tenant="u")


async def test_a_dry_run_returns_what_would_be_stored_and_stores_nothing(stored: Stored) -> None:
    definitions = stored.here.definitions
    found = await put(definitions, "a", "x", dry_run=True)
    assert (found.version.version, found.created) == (1, True)
    assert await definitions.page("t", DefinitionFilter(limit=9)) == []
    assert await definitions.use("t") == DefinitionUse()
    await put(definitions, "a", "x")
    assert (await put(definitions, "a", "y", dry_run=True)).version.version == 2
    assert not (await put(definitions, "a", "x", dry_run=True)).created
    with pytest.raises(PreconditionFailed):
        await put(definitions, "a", "y", ABSENT, dry_run=True)
    with pytest.raises(QuotaExceeded):
        await put(definitions, "a", "y", limits=DefinitionLimits(1, 1, 99), dry_run=True)
    assert (await definitions.find("t", "a")).version.version == 1


async def test_lists_are_ordered_by_bytes_and_filtered(stored: Stored) -> None:
    definitions = stored.here.definitions
    limits = DefinitionLimits(names=9, versions=9, bytes=9_999)
    for name in ("ab", "a-b", "a0", "b", "a", "abc"):
        await put(definitions, name, name, limits=limits)
    await put(definitions, "ab", "newer", limits=limits)
    for name, labels in (("a0", {"team": "x:y", "hot": ""}), ("ab", {"team": "x:y"}), ("b", {"team": "z"})):
        await definitions.update("t", name, DefinitionUpdate(labels=labels), NO_CONDITIONS)
    await definitions.update("t", "abc", DefinitionUpdate(archived=True), NO_CONDITIONS)

    async def listed(limit: int = 9, **members: object) -> list[str]:
        found = await definitions.page("t", DefinitionFilter(limit=limit, **members))  # type: ignore[arg-type]
        assert all(each.version.version == each.name.newest for each in found)
        return [each.name.name for each in found]

    assert await listed() == ["a", "a-b", "a0", "ab", "b"]
    assert await listed(2) == ["a", "a-b"]
    assert await listed(2, after="a-b") == ["a0", "ab"]
    assert await listed(prefix="ab") == ["ab"]
    assert await listed(prefix="%") == []
    assert await listed(archived=True) == ["abc"]
    assert await listed(labels=("team:x:y",)) == ["a0", "ab"]
    assert await listed(labels=("team:x:y", "hot:")) == ["a0"]
    assert await listed(labels=("team:x:y", "team:z")) == []
    assert await listed(labels=("team:x",)) == []


async def test_a_deletion_names_those_that_refer_to_it_in_their_newest_or_default_version(stored: Stored) -> None:
    definitions, limits = stored.here.definitions, DefinitionLimits(names=9, versions=9, bytes=1_000)
    await put(definitions, "a", "x", limits=limits)
    for name in ("newest", "before", "pinned", "others"):
        await put(definitions, name, "y", limits=limits, refers_to=("b",) if name == "others" else ("a", "b"))
    for name in ("before", "pinned"):
        await put(definitions, name, "z", limits=limits)
    await put(definitions, "newest", "y", tenant="u", refers_to=("a",))
    await definitions.update("t", "pinned", DefinitionUpdate(default_version=1), NO_CONDITIONS)
    assert (await definitions.delete("t", "a", NO_CONDITIONS)).referred_by == ("newest", "pinned")
    assert (await definitions.find("t", "newest")).version.refers_to == ("a", "b")


async def test_a_root_has_the_definitions_that_its_sub_workflows_run(stored: Stored) -> None:
    definitions, reader = stored.here.definitions, stored.here.reader
    await put(definitions, "a", "x")
    named = b'{"a@1":{"steps":[1, 2.0]},"a@2":{"steps":[]}}'
    workflow_id = (await stored.make(named=named)).workflow_id
    plain_id = (await stored.make()).workflow_id
    every, own, other = EVERY_TENANT, TenantScope("t"), TenantScope("u")
    wanted = ["a@1", "b@1"]
    for scope in (every, own):
        found = await reader.named_definitions(scope, workflow_id, wanted)
        assert {name: json.decode(content) for name, content in found.items()} == {"a@1": {"steps": [1, 2.0]}}
        deleted = await reader.deleted_definitions(scope, workflow_id)
        assert {name: json.decode(content) for name, content in deleted.items()} == {"a@2": {"steps": []}}
    for scope, root_id in ((other, workflow_id), (every, plain_id)):
        assert await reader.named_definitions(scope, root_id, wanted) == {}
        assert await reader.deleted_definitions(scope, root_id) == {}
