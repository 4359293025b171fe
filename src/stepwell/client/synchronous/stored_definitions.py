# Generated from the asynchronous client by `poe generate`: don't change it.
"""The operations on definitions that are stored by name."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import UNSET, UnsetType

from stepwell.client.concurrency import Items
from stepwell.client.definition_text import Definition, content_json
from stepwell.client.requests import JSON_BODY, ClientRequest, json_body, preferences, read, segment
from stepwell.client.responses import decode
from stepwell.client.synchronous.connection import Connection
from stepwell.contract.stored_definitions import (
    DefinitionDeletion,
    DefinitionForm,
    DefinitionListResponse,
    DefinitionPublic,
    DefinitionSummary,
    DefinitionVersion,
    DefinitionVersionsResponse,
)

_DEFINITIONS = "/api/v1/definitions"


class DefinitionCalls(Connection):
    """The operations on stored definitions. *origin_tenant_id* names their tenant, for tokens of all tenants."""

    def put_definition(
        self,
        name: str,
        definition: Definition,
        *,
        if_match: str | None = None,
        if_absent: bool = False,
        dry_run: bool | None = None,
        lenient: bool = False,
        origin_tenant_id: str | None = None,
    ) -> DefinitionPublic:
        """Store the next version of a definition, unless the newest one has this content. Return that version.

        - *definition* is stored without the members that belong to a run, like `name`; JSON text must not have them.
        - *if_match* is the `definition_tag` that must be current. *if_absent*: there must be no such name. With either,
          the request isn't repeated.
        - *dry_run*: only check it.
        """
        conditions = ({} if if_match is None else {"If-Match": if_match}) | (
            {"If-None-Match": "*"} if if_absent else {}
        )
        request = ClientRequest(
            method="PUT",
            path=_path(name),
            query={"dry_run": dry_run, "origin_tenant_id": origin_tenant_id},
            headers=JSON_BODY | preferences(lenient=lenient) | conditions,
            content=content_json(definition),
            is_repeatable=not conditions,
        )
        return self._fetch(DefinitionPublic, request)

    def stored_definition(
        self, name: str, version: int | None = None, *, origin_tenant_id: str | None = None
    ) -> DefinitionPublic:
        """Return a stored definition in its newest version, or in another one."""
        query = {"version": version, "origin_tenant_id": origin_tenant_id}
        return self._fetch(DefinitionPublic, read(_path(name), query))

    def definition_form(self, name: str) -> DefinitionForm:
        """Return what a form for the inputs needs. It is all that a token with `definitions:run` reads of it."""
        return self._fetch(DefinitionForm, read(_path(name)))

    def definition_tag(self, name: str, *, origin_tenant_id: str | None = None) -> str:
        """Return the tag of a stored definition as it is now, for `if_match`. Read the definition after its tag."""
        return self._tag(_path(name), {"origin_tenant_id": origin_tenant_id})

    def stored_definitions(
        self,
        name: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        archived: bool | None = None,
        page_size: int = 100,
        origin_tenant_id: str | None = None,
    ) -> Items[DefinitionSummary]:
        """Yield the stored definitions, ordered by name: those whose names begin with *name*, with all of *labels*.

        *archived*: the archived ones, instead of the others. A page of *page_size* is read when it is needed.
        """
        wanted = [f"{key}:{value}" for key, value in (labels or {}).items()]
        filters = {"name": name, "label": wanted, "archived": archived, "origin_tenant_id": origin_tenant_id}
        for response in self._pages(_DEFINITIONS, {**filters, "limit": page_size}):
            yield from decode(response, DefinitionListResponse).definitions

    def definition_versions(self, name: str, *, origin_tenant_id: str | None = None) -> list[DefinitionVersion]:
        """Return all versions of a stored definition, the newest first."""
        request = read(_path(name, "/versions"), {"origin_tenant_id": origin_tenant_id})
        return decode(self._send(request), DefinitionVersionsResponse).versions

    def update_definition(
        self,
        name: str,
        *,
        default_version: int | UnsetType | None = UNSET,
        archived: bool | UnsetType = UNSET,
        labels: dict[str, str] | UnsetType | None = UNSET,
        description: str | UnsetType | None = UNSET,
        if_match: str | None = None,
        origin_tenant_id: str | None = None,
    ) -> DefinitionPublic:
        """Change what belongs to the name of a stored definition. None clears a member, and pins no version."""
        pairs = ("default_version", default_version), ("archived", archived), ("labels", labels)
        members = dict([*pairs, ("description", description)])
        request = ClientRequest(
            method="PATCH",
            path=_path(name),
            query={"origin_tenant_id": origin_tenant_id},
            headers=JSON_BODY | ({} if if_match is None else {"If-Match": if_match}),
            content=json_body({key: value for key, value in members.items() if value is not UNSET}),
            is_repeatable=if_match is None,
        )
        return self._fetch(DefinitionPublic, request)

    def delete_definition(
        self, name: str, *, if_match: str | None = None, origin_tenant_id: str | None = None
    ) -> DefinitionDeletion:
        """Delete a stored definition with all its versions. The request isn't repeated."""
        headers = {} if if_match is None else {"If-Match": if_match}
        query = {"origin_tenant_id": origin_tenant_id}
        request = ClientRequest(method="DELETE", path=_path(name), query=query, headers=headers)
        return self._fetch(DefinitionDeletion, request)


def _path(name: str, rest: str = "") -> str:
    return f"{_DEFINITIONS}/{segment(name)}{rest}"
