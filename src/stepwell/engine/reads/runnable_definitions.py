"""Finds the stored definitions that runs take."""

from stepwell.basics.errors import DefinitionArchived, Fault, InvalidRequest, NotFound
from stepwell.basics.strict_json.schema_faults import Loc
from stepwell.contract.definition import DefinitionReference
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
