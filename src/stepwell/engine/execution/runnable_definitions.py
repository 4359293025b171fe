"""Finds the stored definitions that runs take, and the copies of them that sub-workflows take from their root."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from uuid import UUID

from msgspec import json

from stepwell.basics.errors import DefinitionArchived, Fault, InvalidRequest, NotFound
from stepwell.basics.strict_json.schema_faults import Loc
from stepwell.basics.tenancy import TenantScope
from stepwell.contract.definition import DefinitionReference
from stepwell.definition.mapping.templates import SUB_DEFINITION, SUB_REFERENCE
from stepwell.definition.named_definitions import references_in, with_contents
from stepwell.definition.validation.sub_workflow_rules import reference_of
from stepwell.ports.storage import WorkflowReader
from stepwell.ports.stored_definitions import Definitions
from stepwell.rules.stored_definitions import StoredDefinition
from stepwell.runtime.offloop import off_loop

_BYTES_A_STEP: Final = 64  # of `off_loop`


async def find_runnable(
    definitions: Definitions, tenant: str | None, wanted: DefinitionReference, loc: Loc
) -> StoredDefinition:
    """Return the version that a run of *wanted* takes: the named one, else the default version, else the newest.

    Raises `InvalidRequest` at *loc* for a name or a version that doesn't exist, and `DefinitionArchived`.
    """
    try:
        stored = await definitions.find(tenant, wanted.name)
    except NotFound:
        raise unknown_definition(wanted.name, loc) from None
    if stored.name.archived:
        raise DefinitionArchived(wanted.name)
    version = wanted.version or stored.name.default_version or stored.name.newest
    if version == stored.version.version:
        return stored
    try:
        return await definitions.find(tenant, wanted.name, version)
    except NotFound:
        message = f"The definition {wanted.name} has no version {version}"
        raise InvalidRequest([Fault((*loc, "version"), message, "unknown_version")]) from None


def unknown_definition(name: str, loc: Loc) -> InvalidRequest:
    message = f"There is no definition {name}: GET /api/v1/definitions lists them"
    return InvalidRequest([Fault((*loc, "name"), message, "unknown_definition")])


async def definition_of_step(
    reader: WorkflowReader, scope: TenantScope, root_id: UUID, config: Mapping[str, Any]
) -> tuple[Mapping[str, Any], DefinitionReference | None]:
    """Return the definition of the sub-workflow that a step with this *config* runs, and its reference if it has one.

    The definition is whole: it has the contents of the stored definitions that its own steps name. Raises
    `InvalidRequest` if the root was deleted before its sub-workflow.
    """
    contents: dict[str, Any] = {}
    reference, below = reference_of(config), config.get(SUB_DEFINITION)
    missing = {str(each) for _, each in references_in(below)} if reference is None else {str(reference)}
    while missing:
        texts = await reader.named_definitions(scope, root_id, sorted(missing))
        if lost := missing - texts.keys():
            message = f"The workflow at the top, which has {min(lost)}, was deleted"
            raise InvalidRequest([Fault(("config", SUB_REFERENCE), message, "unknown_definition")])
        for name, text in texts.items():
            contents[name] = await off_loop(partial(json.decode, text), steps=len(text) // _BYTES_A_STEP)
        missing = {str(each) for name in texts for _, each in references_in(contents[name])} - contents.keys()
    return with_contents(below if reference is None else contents[str(reference)], contents), reference
