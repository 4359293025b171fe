"""Finds the stored definitions that runs take, and the copies of them that sub-workflows take from their root."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from msgspec import json

from stepwell.basics.errors import DefinitionArchived, Fault, InvalidRequest, NotFound
from stepwell.basics.strict_json.schema_faults import Loc
from stepwell.basics.tenancy import TenantScope
from stepwell.contract.definition import DefinitionReference
from stepwell.definition.mapping.templates import SUB_DEFINITION
from stepwell.definition.named_definitions import references_in, resolve
from stepwell.definition.validation.sub_workflow_rules import reference_of
from stepwell.ports.storage import WorkflowReader
from stepwell.ports.stored_definitions import Definitions
from stepwell.rules.stored_definitions import StoredDefinition


async def find_runnable(
    definitions: Definitions, tenant: str | None, wanted: DefinitionReference, loc: Loc
) -> StoredDefinition:
    """Return the version that a run of *wanted* takes: the named one, else the default version, else the newest.

    Raises `InvalidRequest` at *loc* for a name or a version that doesn't exist, and `DefinitionArchived`.
    """
    try:
        found = await definitions.find(tenant, wanted.name)
    except NotFound:
        message = f"There is no definition {wanted.name}: GET /api/v1/definitions lists them"
        raise InvalidRequest([Fault((*loc, "name"), message, "unknown_definition")]) from None
    if found.name.archived:
        raise DefinitionArchived(wanted.name)
    version = wanted.version or found.name.default_version or found.name.newest
    if version == found.version.version:
        return found
    try:
        return await definitions.find(tenant, wanted.name, version)
    except NotFound:
        message = f"The definition {wanted.name} has no version {version}"
        raise InvalidRequest([Fault((*loc, "version"), message, "unknown_version")]) from None


async def definition_of_step(
    reader: WorkflowReader, scope: TenantScope, root_id: UUID, config: Mapping[str, Any]
) -> tuple[Mapping[str, Any], DefinitionReference | None]:
    """Return the definition of the sub-workflow that a step with this *config* runs, and its reference if it has one.

    The definition is whole: it has the contents of the stored definitions that its own steps name.
    """

    async def load(wanted: DefinitionReference, _: Loc) -> tuple[DefinitionReference, bytes]:
        return wanted, (await reader.named_definitions(scope, root_id, [str(wanted)]))[str(wanted)]

    reference = reference_of(config)
    if reference is None:
        definition = config[SUB_DEFINITION]
    else:
        _, text = await load(reference, ())
        definition = json.decode(text)
    named = await resolve(references_in(definition), load)
    return named.whole(definition), reference
