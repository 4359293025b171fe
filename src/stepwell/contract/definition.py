"""The definition of a workflow, as a client posts it. The API contract defines the names of the fields."""

from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal, TypeAlias
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType, field

from stepwell.contract.enums import OnFailure, OnItemFailure, ProviderType, RunIf, TaskType, TransformType
from stepwell.contract.fields import about

StepId: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        pattern=r"^[^\x00-\x1f\x7f-\x9f]*(?!\n)$",  # in Python, $ alone matches before a last line feed
        description="Unique identifier for this step within the workflow",
    ),
]

DEFINITION_NAME: Final = "[a-z0-9][a-z0-9-]{0,62}"
MAX_VERSION: Final = 2**31 - 1


class DefinitionReference(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The name of a stored definition, and one of its versions."""

    name: Annotated[str, Meta(pattern=rf"^{DEFINITION_NAME}(?!\n)$", description="The name of a stored definition")]
    version: (
        Annotated[int, Meta(ge=1, le=MAX_VERSION, description="In a request, null means its default version")] | None
    ) = None

    @classmethod
    def parse(cls, text: str) -> "DefinitionReference":
        """Return the reference that `str` has written as *text*."""
        name, _, version = text.partition("@")
        return cls(name=name, version=int(version) if version else None)

    def covers(self, other: "DefinitionReference | None") -> bool:
        """Return whether *other* has this name, and this version if there is one."""
        return other is not None and self.name == other.name and self.version in (None, other.version)

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name}@{self.version}"


WorkflowName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=255, description="Human-readable workflow name")]

Description: TypeAlias = Annotated[str, Meta(max_length=1000)]

# Only documents the form. `ProviderCatalog.webhook_refusal` decides which URLs are accepted, and gives better reasons.
_WEBHOOK_PATTERN = r"^[Hh][Tt][Tt][Pp][Ss]?://[^\x00-\x20\x7f-\xa0/?#@\\]+([/?#][^\x00-\x1f\x7f-\x9f]*)?$"

WebhookUrl: TypeAlias = Annotated[str, Meta(max_length=512, extra_json_schema={"pattern": _WEBHOOK_PATTERN})]

JsonObject: TypeAlias = dict[str, Any]

LabelKey: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._/-]{1,63}(?!\n)$")]  # in Python, $ alone, as above
LabelValue: TypeAlias = Annotated[str, Meta(max_length=255)]
MAX_LABELS: Final = 20
Labels: TypeAlias = Annotated[
    dict[LabelKey, LabelValue], Meta(max_length=MAX_LABELS, description="Labels by which lists can be filtered")
]

MAX_FROM_FIELD: Final = 1000  # characters


def merged_dependencies(declared: list[str], implied: Iterable[str]) -> list[str]:
    """Return *declared*, then what *implied* adds, each once."""
    return list(dict.fromkeys((*declared, *implied)))


Condition: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_FROM_FIELD,
        description="The condition of the step: a JMESPath expression over the results of its dependencies, inputs and "
        "workflow, without ${ and }. Once the dependencies have ended, the step is SKIPPED unless the value is true",
    ),
]


class FieldMapping(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    from_step: Annotated[str, about("Step ID to get output from")]
    from_field: Annotated[
        str, Meta(min_length=1, max_length=MAX_FROM_FIELD, description="Output field name from source step")
    ]
    to_field: Annotated[str, Meta(min_length=1, max_length=255, description="Input field name in target step")]
    transform: Annotated[TransformType | None, about("Optional transformation to apply when mapping")] = None


_ResultExpression: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_FROM_FIELD)]
MAX_RUNS: Final = 20


class Repeat(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    until: Annotated[
        _ResultExpression, about("JMESPath over the step's own result: the step runs again until the value is true")
    ]
    max: Annotated[int, Meta(ge=1, le=MAX_RUNS, description="How often the step runs at most")]
    best: Annotated[
        _ResultExpression | None,
        about(
            "JMESPath over the step's own result that gives a number. If no run was good enough, the "
            "result with the highest number counts; without best, the last one"
        ),
    ] = None


MAX_ITEMS: Final = 1_000  # of one step
_ItemExpression: TypeAlias = Annotated[str, Meta(min_length=1, extra_json_schema={"pattern": r"\$\{"})]


class ForEach(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The items of a step, from one source: `items`, `count`, or `from_step` with `from_field`."""

    items: Annotated[
        Annotated[list[Any], Meta(extra_json_schema={"items": {}})] | _ItemExpression | None,
        about("The items: a list of up to 1,000, or one ${…} expression that gives such a list"),
    ] = None
    count: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_ITEMS)] | _ItemExpression | None,
        about("The number of items, which are 0, 1, 2 …; or one ${…} expression that gives it"),
    ] = None
    from_step: Annotated[str | None, about("The step whose result has the items. Needs from_field")] = None
    from_field: Annotated[
        Annotated[str, Meta(min_length=1, max_length=MAX_FROM_FIELD)] | None,
        about("The field of that result with the list of items, as in a mapping"),
    ] = None
    transform: Annotated[TransformType | None, about("Optional transformation of the value of from_field")] = None
    as_: Annotated[
        Annotated[str, Meta(min_length=1, max_length=255)] | None,
        about("The input that holds the item (default item). null: each member of the item is an input"),
    ] = field(default="item", name="as")
    max_concurrency: Annotated[
        int, Meta(ge=1, le=MAX_ITEMS, description="How many items are under way at once (default 10)")
    ] = 10
    on_item_failure: Annotated[
        OnItemFailure,
        about(
            "fail (default): if an item fails, the step fails. collect: it completes, with null as the "
            "result of an item that failed"
        ),
    ] = OnItemFailure.FAIL


class WorkflowStepDefinition(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    id: StepId
    task_type: TaskType
    config: Annotated[JsonObject, about("Static configuration for the task (prompt, dimensions, etc.)")] = field(
        default_factory=dict
    )
    depends_on: Annotated[list[str], about("List of step IDs this step depends on")] = field(default_factory=list)
    input_mappings: Annotated[
        list[FieldMapping], about("Mappings from previous step outputs to this step's inputs")
    ] = field(default_factory=list)
    max_retries: (
        Annotated[int, Meta(ge=0, le=20, description="Maximum retry attempts for this step (default 3)")] | UnsetType
    ) = UNSET
    provider_config: Annotated[
        JsonObject | None, about("Provider-specific configuration (provider_type, fal_app_id, etc.)")
    ] = None
    active_provider_capabilities: Annotated[
        list[str] | None, about("Capabilities the provider must offer for this step")
    ] = None
    fallback_provider_type: Annotated[
        ProviderType | None, about("Fallback provider activated when primary exhausts all retries.")
    ] = None
    fallback_provider_config: Annotated[
        JsonObject | None, about("Provider-specific config for the fallback provider. Needs fallback_provider_type.")
    ] = None
    fallback_provider_capabilities: Annotated[
        list[str] | None, about("Capabilities for the fallback provider. They need fallback_provider_type.")
    ] = None
    when: Condition | UnsetType = UNSET
    run_if: (
        Annotated[
            RunIf,
            about(
                "How its dependencies must have ended, so that the step runs (default all_completed). "
                "any_completed: all have ended, and at least one is COMPLETED. all_ended: all have ended."
            ),
        ]
        | UnsetType
    ) = UNSET
    optional: (
        Annotated[bool, about("If the step fails for good, the workflow goes on without it (default false)")]
        | UnsetType
    ) = UNSET

    for_each: Annotated[ForEach, about("Runs the step once for each item")] | UnsetType = UNSET
    repeat: (
        Annotated[Repeat, about("Runs the step again, with a new seed, until its result is good enough")] | UnsetType
    ) = UNSET
    reuse: Annotated[bool, about("false: the step always runs, also in a run that reuses results")] | UnsetType = UNSET

    @property
    def condition(self) -> str | None:
        """The expression `when`; None without one."""
        return None if self.when is UNSET else self.when

    @property
    def dependencies(self) -> list[str]:
        """The declared dependencies, then those that mappings imply."""
        return merged_dependencies(self.depends_on, (mapping.from_step for mapping in self.input_mappings))


WorkflowSteps: TypeAlias = Annotated[
    list[WorkflowStepDefinition], Meta(min_length=1, description="List of steps defining the workflow DAG")
]
GlobalConfig: TypeAlias = Annotated[JsonObject, about("Global workflow configuration")]
Inputs: TypeAlias = Annotated[JsonObject, about("Values that expressions in the configs of steps read")]
InputsSchema: TypeAlias = Annotated[
    JsonObject | None, about("A JSON Schema that inputs must fit. At most 64 KiB, no remote $ref")
]


class Reuse(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The earlier run whose results a new one takes over, wherever the work is equal."""

    from_: Annotated[UUID, about("A run of the same tenant that has ended or is PAUSED, and that isn't deleted")] = (
        field(name="from")
    )


class CreateWorkflow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: WorkflowName
    steps: WorkflowSteps
    origin_instance: Annotated[str, Meta(min_length=1, max_length=100, description="Origin instance identifier")]
    description: Annotated[Description | None, about("Optional workflow description")] = None
    config: GlobalConfig = field(default_factory=dict)
    origin_zone: Annotated[Annotated[str, Meta(max_length=50)] | None, about("Origin zone identifier")] = None
    origin_tenant_id: Annotated[
        Annotated[str, Meta(max_length=100)] | None, about("Tenant identifier for multi-tenant setups")
    ] = None
    origin_reference: Annotated[
        Annotated[str, Meta(max_length=512)] | None, about("External reference ID for tracking")
    ] = None
    inputs: Inputs = field(default_factory=dict)
    inputs_schema: InputsSchema = None
    webhook_url: Annotated[WebhookUrl | None, about("URL to call when workflow completes")] = None
    suppress_subtask_events: Annotated[bool, about("Whether to suppress individual task events")] = True
    labels: Labels | None = None
    reuse: Annotated[Reuse | None, about("Take over results of an earlier run")] = None


class RerunWorkflow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The changes with which a run is run again. Members of objects that are null are removed."""

    steps: Annotated[list[str], about("Steps that run in any case, even if nothing of them has changed")] = field(
        default_factory=list
    )
    config: Annotated[dict[str, JsonObject], about("By step: members that are merged over the config of the step")] = (
        field(default_factory=dict)
    )
    inputs: Annotated[JsonObject, about("Merged over the inputs of the run")] = field(default_factory=dict)
    definition: Annotated[
        DefinitionReference | None, about("A stored definition, which takes the place of that of the run")
    ] = None


class RetryPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Full-jitter backoff: attempt n waits between 0 and min(max_s, base_s * factor**(n-1)) seconds.

    While a provider is away, an attempt is tried again for `outage_s` seconds without using up `max_retries`.
    """

    base_s: Annotated[float, Meta(ge=0, le=3600)] = 1.0
    factor: Annotated[float, Meta(ge=1, le=100)] = 2.0
    max_s: Annotated[float, Meta(ge=0, le=86400)] = 60.0
    max_retries: Annotated[int, Meta(ge=0, le=20)] = 3
    outage_s: Annotated[float, Meta(ge=0, le=86400)] = 600.0


Currency: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Z]{3}(?!\n)$")]  # in Python, $ alone, as above
_Amount: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9]{1,12}(\.[0-9]{1,9})?(?!\n)$")]


class Budget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a workflow may spend at providers, with its items and sub-workflows."""

    max_cost: Annotated[
        dict[Currency, _Amount | Annotated[float, Meta(ge=0, le=1e12)]],
        Meta(max_length=20, description="The most that attempts may cost, by currency"),
    ] = field(default_factory=dict)
    max_attempts: (
        Annotated[int, Meta(ge=0, le=2**31 - 1, description="How many attempts at providers may begin, LOCAL aside")]
        | None
    ) = None
    on_exceeded: Annotated[
        Literal["pause", "fail"],
        about("What happens before an attempt that doesn't fit: the workflow is PAUSED (default), or fails"),
    ] = "pause"


class ConfigUpdate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The members of `config` that can be changed."""

    budget: Annotated[Budget, about("Replaces the budget that the workflow was created with")]


class WorkflowUpdate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An absent field keeps its value, null clears it. A null name keeps the name, as if it was absent."""

    name: WorkflowName | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    webhook_url: WebhookUrl | UnsetType | None = UNSET
    labels: Labels | UnsetType | None = UNSET
    config: ConfigUpdate | UnsetType = UNSET


class WorkflowConfig(Struct, frozen=True, kw_only=True):
    """The members of a workflow's `config` that Stepwell knows. Others pass through untouched."""

    on_failure: OnFailure = OnFailure.DRAIN
    retry: RetryPolicy = RetryPolicy()
    workflow_timeout_s: Annotated[float, Meta(gt=0, le=31_536_000)] | None = None
    on_unknown: Literal["fail", "resubmit"] | None = None
    step_defaults: dict[str, JsonObject] = field(default_factory=dict)
    budget: Budget | None = None
