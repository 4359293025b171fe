"""The requests and responses about definitions that are stored by name."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, TypeAlias

from msgspec import NODEFAULT, UNSET, Meta, Struct, UnsetType, defstruct, field
from msgspec.structs import FieldInfo, fields

from stepwell.contract.definition import (
    MAX_VERSION,
    CreateWorkflow,
    DefinitionReference,
    Description,
    GlobalConfig,
    Inputs,
    InputsSchema,
    Labels,
    WorkflowSteps,
)
from stepwell.contract.fields import Time, about
from stepwell.contract.problems import DefinitionWarning

_Version = Annotated[int, Meta(ge=1, le=MAX_VERSION)]
# The service holds the definition as JSON text (`msgspec.Raw`), a client has a dictionary.
_Content: TypeAlias = Annotated[Any, Meta(extra_json_schema={"$ref": "#/components/schemas/DefinitionContent"})]


class DefinitionContent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A definition as it is stored: what all runs of it have in common."""

    steps: WorkflowSteps
    config: GlobalConfig = field(default_factory=dict)
    inputs: Inputs = field(default_factory=dict)
    inputs_schema: InputsSchema = None


DEFINITION: Final = "definition"
"""The member of a body that names the stored definition to run."""

_OF_DEFINITION: Final = frozenset({"steps", "inputs_schema"})


def _member_of_run(member: FieldInfo) -> tuple[str, Any, Any]:
    """Return a member of `CreateWorkflow` as one of `RunDefinition`, which has no other required member."""
    if member.required:
        return member.name, member.type | None, None
    return member.name, member.type, {} if member.default is NODEFAULT else member.default


# Only checks bodies: the service merges the JSON of the body and of the definition.
RunDefinition: type[Struct] = defstruct(
    "RunDefinition",
    [
        (DEFINITION, DefinitionReference),
        *(_member_of_run(each) for each in fields(CreateWorkflow) if each.name not in _OF_DEFINITION),
    ],
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    module=__name__,
    namespace={
        "__doc__": "A run of a stored definition. `inputs` and `config` are merged over those of the definition."
    },
)


class DefinitionUpdate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change of what belongs to the name of a definition. An absent member keeps its value."""

    default_version: (
        Annotated[_Version | None, about("The version that runs take without one; null: the newest")] | UnsetType
    ) = UNSET
    archived: Annotated[bool, about("Archived: it can't be run, and lists leave it out")] | UnsetType = UNSET
    labels: Labels | UnsetType | None = UNSET
    description: Description | UnsetType | None = UNSET


class DefinitionSummary(Struct, kw_only=True):
    """A stored definition without its content. The version has `created_by` and `created_at`, the name the rest."""

    name: str
    version: int
    default_version: Annotated[int | None, about("The version that runs take without one; null: the newest")]
    archived: bool
    labels: Labels
    description: str | None
    created_by: Annotated[str, about("The subject of the token that stored this version")]
    created_at: Time


class DefinitionPublic(DefinitionSummary, kw_only=True):
    """A version of a stored definition. Only the response of PUT has `warnings`."""

    definition: _Content
    warnings: Sequence[DefinitionWarning] | UnsetType = UNSET


class DefinitionListResponse(Struct):
    """A page of the stored definitions, each in its newest version, ordered by name."""

    definitions: list[DefinitionSummary]


class DefinitionForm(Struct):
    """The part of a definition that a token with `definitions:run` sees: what a form for its inputs needs."""

    name: str
    description: str | None
    inputs_schema: Annotated[Any, about("That of the version which runs take; null without one")]


class DefinitionVersion(Struct):
    version: int
    created_by: str
    created_at: Time


class DefinitionVersionsResponse(Struct):
    """All versions of a stored definition, the newest first."""

    versions: list[DefinitionVersion]


class DefinitionDeletion(Struct):
    """The report of a deletion: how many versions were deleted, and the definitions that refer to the name.

    `referred_by` has those that do so in their newest or their default version.
    """

    name: str
    versions: int
    referred_by: list[str]
