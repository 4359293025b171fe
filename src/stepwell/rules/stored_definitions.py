"""The rules of definitions that are stored by name: for a PUT, a change, a deletion, a run, and a tenant's limits.

What must hold:
- The numbers of a name's versions go on for ever, also after the name was deleted. So a deleted name is a `StoredName`
  without versions. Versions are deleted all together.
- A PUT of what the newest version has stores nothing.
- A revision is a text that is made of the number of the newest version and the members of the name. It changes when
  one of these changes.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from msgspec import UNSET, Struct, structs

from stepwell.basics.errors import Fault, InvalidRequest, NotFound, PreconditionFailed, QuotaExceeded
from stepwell.basics.strict_json.canonical import digest
from stepwell.basics.strict_json.merge_patch import merge_patch
from stepwell.contract.definition import DefinitionReference
from stepwell.contract.stored_definitions import DEFINITION, DefinitionUpdate

ANY_REVISION: Final = "*"


class StoredVersion(Struct, frozen=True, kw_only=True):
    """A version of a definition, without its content: `size` is the content's in bytes.

    `digest` is that of the content as canonical JSON. `version` is 0 before it is stored. `refers_to` are the names
    that the content refers to.
    """

    version: int = 0
    digest: str
    size: int
    created_by: str
    created_at: datetime
    refers_to: tuple[str, ...] = ()


class StoredName(Struct, frozen=True, kw_only=True):
    """The name of a definition, with its members. `newest` is the number of the last version.

    `versions` is the number of versions, 0 if the name was deleted. `bytes` is the size of all of them.
    """

    name: str
    newest: int = 0
    versions: int = 0
    bytes: int = 0
    default_version: int | None = None
    archived: bool = False
    labels: dict[str, str] = {}
    description: str | None = None

    @property
    def revision(self) -> str:
        members = (self.default_version, self.archived, self.labels, self.description)
        return f"{self.newest}-{digest(members)[:16]}"

    def deleted(self) -> "StoredName":
        return StoredName(name=self.name, newest=self.newest)


class StoredDefinition(Struct, frozen=True):
    """A name with one of its versions. `created`: a PUT has stored this version."""

    name: StoredName
    version: StoredVersion
    created: bool = False

    @property
    def reference(self) -> DefinitionReference:
        return DefinitionReference(name=self.name.name, version=self.version.version)


class DeletedDefinition(Struct, frozen=True):
    """A name as it was, and the names of the definitions that refer to it."""

    name: StoredName
    referred_by: tuple[str, ...] = ()


class RevisionConditions(Struct, frozen=True):
    """The revisions that a request names: in `If-Match`, and in `If-None-Match`. `ANY_REVISION` is any."""

    if_match: frozenset[str] | None = None
    if_none_match: frozenset[str] = frozenset()

    def check(self, found: StoredName) -> None:
        """Raise `PreconditionFailed` unless the conditions hold for *found*, the name as it is."""
        revisions = {ANY_REVISION, found.revision} if found.versions else frozenset[str]()
        if self.if_match is not None and self.if_match.isdisjoint(revisions):
            raise PreconditionFailed("the definition has another ETag than If-Match names")
        if not self.if_none_match.isdisjoint(revisions):
            raise PreconditionFailed("there is a definition of this name already, which If-None-Match excludes")


NO_CONDITIONS: Final = RevisionConditions()


class DefinitionLimits(Struct, frozen=True):
    """The limits of a tenant: its names, the versions of each, and the bytes of all versions together."""

    names: int
    versions: int
    bytes: int


class NewContent(Struct, frozen=True, kw_only=True):
    """A content that is to be stored: JSON text, and the version that it becomes, with the conditions and limits."""

    content: bytes
    version: StoredVersion
    conditions: RevisionConditions
    limits: DefinitionLimits


class DefinitionUse(Struct, frozen=True):
    """The names of a tenant that have versions, the bytes of all versions, and all names that were ever stored."""

    names: int = 0
    bytes: int = 0
    used: int = 0


class DefinitionFilter(Struct, frozen=True, kw_only=True):
    """A page of names: up to `limit` behind the name `after`, that begin with `prefix` and have all of `labels`."""

    limit: int
    after: str = ""
    prefix: str = ""
    labels: tuple[str, ...] = ()
    archived: bool = False

    def wanted_labels(self) -> dict[str, str] | None:
        """Return the labels by key; None if no name can have all of them, because one key has two values."""
        wanted: dict[str, str] = {}
        for label in self.labels:
            key, _, value = label.partition(":")
            if wanted.setdefault(key, value) != value:
                return None
        return wanted


_USED_FOR_EACH: Final = 10  # a deleted name keeps its row, because the numbers of its versions go on


def name_with_version(
    found: StoredName, newest: StoredVersion | None, use: DefinitionUse, new: NewContent
) -> StoredName | None:
    """Return the name with the version of *new*, which becomes its newest; None if that has this content already.

    *found* is the name as it is, also if it has no versions, and *newest* its newest version. Raises
    `PreconditionFailed` and `QuotaExceeded`.
    """
    limits, size = new.limits, new.version.size
    new.conditions.check(found)
    if newest is not None and newest.digest == new.version.digest:
        return None
    if not found.versions and use.names >= limits.names:
        raise QuotaExceeded(f"The tenant may have {limits.names:,} definitions. Delete one first.")
    if not found.newest and use.used >= _USED_FOR_EACH * limits.names:
        raise QuotaExceeded(
            f"The tenant has used {use.used:,} names: the service keeps their numbers. Use one of these."
        )
    if found.versions >= limits.versions:
        raise QuotaExceeded(f"A definition may have {limits.versions:,} versions. Store it under another name.")
    if use.bytes + size > limits.bytes:
        raise QuotaExceeded(f"The tenant's definitions may have {limits.bytes:,} bytes. Delete some first.")
    return structs.replace(found, newest=found.newest + 1, versions=found.versions + 1, bytes=found.bytes + size)


def changed_name(found: StoredName, changes: DefinitionUpdate, conditions: RevisionConditions) -> StoredName:
    """Return the name after *changes*. Raises `NotFound`, `PreconditionFailed`, and `InvalidRequest`."""
    name = existing(found, conditions)
    members: dict[str, Any] = {member: value for member, value in structs.asdict(changes).items() if value is not UNSET}
    if "labels" in members:
        members["labels"] = dict(sorted((members["labels"] or {}).items()))
    version = members.get("default_version")
    if version is not None and not name.newest - name.versions < version <= name.newest:
        message = f"Expected a version of the definition: {name.newest - name.versions + 1} to {name.newest}"
        raise InvalidRequest([Fault(("body", "default_version"), message, "unknown_version")])
    return structs.replace(name, **members)


def existing(found: StoredName, conditions: RevisionConditions = NO_CONDITIONS) -> StoredName:
    """Return *found*. Raises `NotFound` if it has no versions, and `PreconditionFailed`."""
    if not found.versions:
        raise NotFound("definition")
    conditions.check(found)
    return found


def body_of_run(body: Mapping[str, Any], name: StoredName, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a create for *body*, a valid `RunDefinition` that names the definition with this *content*."""
    own = {member: value for member, value in body.items() if member != DEFINITION and value is not None}
    merged = {member: merge_patch(content.get(member, {}), own.get(member, {})) for member in ("inputs", "config")}
    labels = {**name.labels, **own.get("labels", {})}
    return {"name": name.name, "description": name.description, **content, **own, **merged, "labels": labels}
