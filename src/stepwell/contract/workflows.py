"""The requests and responses about workflows, their steps, items and files, and what steps wait for."""

from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from stepwell.contract.definition import DefinitionReference, FieldMapping, ForEach, JsonObject, Repeat
from stepwell.contract.enums import RunIf, SkipReason, StepStatus, WaitKind, WaitsFor, WorkflowStatus
from stepwell.contract.fields import Result, Time, about
from stepwell.contract.problems import DefinitionWarning
from stepwell.contract.tasks import CostSums, Money

_WAITS_FOR = "The first of decision, signal and delay for which a step of it or of its sub-workflows waits; else null"
_REUSED_FROM = "Whose result it has taken over; null if it has run"
_SAVED = "What the result that it has taken over cost then; null if it has run, or that isn't known"
_GIVEN_BY = "Who has given the result by hand; null if nobody has"
Mapping = Annotated[FieldMapping, Meta(extra_json_schema={"type": "object"})]


class WaitingFor(Struct, kw_only=True):
    """The wait of a step. `message`, `choices` and `decision_url` are those of a decision, and null otherwise. `name`
    is that of the signal that it waits for, and `workflow_id` is the sub-workflow.
    """

    kind: WaitKind
    since: Time
    until: Annotated[Time, about("The wait ends then; null without a limit")] | None = None
    name: Annotated[str, about("Of the signal: POST …/signals/{name} sends it")] | None = None
    message: str | None = None
    choices: list[str] | None = None
    decision_url: (
        Annotated[
            str,
            about(
                "A page on which anyone can decide, a secret. Only the response about one step has it, for "
                "tokens that may decide"
            ),
        ]
        | None
    ) = None
    workflow_id: UUID | None = None


class ReusedFrom(Struct, frozen=True):
    """The earlier run, and its attempt, whose result a step or an item has taken over."""

    workflow_id: UUID
    task_id: Annotated[UUID | None, about("null for a decision, which has no attempt")]


class ItemCounts(Struct, frozen=True):
    """The numbers of items of a step, by status, and of their retries. Items that were cancelled with their step count
    as pending. `skipped` are those that a person has skipped.
    """

    total: int
    pending: int
    running: int
    completed: int
    failed: int
    retries: int
    skipped: int = 0


class WorkflowStepPublic(Struct, kw_only=True):
    id: UUID
    step_id: str
    task_type: str
    config: JsonObject
    provider_config: JsonObject | None = None
    active_provider_capabilities: list[str] | None = None
    fallback_provider_type: str | None = None
    fallback_provider_config: JsonObject | None = None
    fallback_provider_capabilities: list[str] | None = None
    dependencies: list[str]
    input_mappings: list[Mapping]
    when: Annotated[str, about("Its condition, a JMESPath expression; null without one")] | None = None
    for_each: Annotated[ForEach, about("Where its items come from; null if it has none")] | None = None
    items: (
        Annotated[ItemCounts, about("How its items stand; null without for_each, and before it has begun")] | None
    ) = None
    repeat: Annotated[Repeat, about("How it is repeated; null if it isn't")] | None = None
    runs: Annotated[int, about("How many runs of a step that repeats have ended; null without repeat")] | None = None
    run_if: Annotated[RunIf, about("How its dependencies must have ended, so that the step runs")] = RunIf.ALL_COMPLETED
    optional: Annotated[bool, about("If the step fails for good, the workflow goes on without it")] = False
    status: StepStatus
    skip_reason: Annotated[SkipReason, about("Why the step is SKIPPED; null in any other status")] | None = None
    waiting_for: Annotated[WaitingFor, about("What the step waits for; null if it doesn't wait")] | None = None
    task_id: Annotated[str, about("The latest task (attempt) of the step")] | None = None
    provider: (
        Annotated[str, about("The provider of the latest attempt; null without an attempt or a provider")] | None
    ) = None
    model: Annotated[str, about("The model requested by the latest attempt; null before a request is sent")] | None = (
        None
    )
    cost: Annotated[CostSums, about("The cost of all its attempts at providers; null if there are none")] | None = None
    reused_from: Annotated[ReusedFrom, about(_REUSED_FROM)] | None = None
    saved: Annotated[Money, about(_SAVED)] | None = None
    result: Result = None
    given_by: Annotated[str, about(_GIVEN_BY)] | None = None
    error_message: str | None = None
    next_attempt_at: Annotated[Time, about("Between two attempts: when the next one starts")] | None = None
    started_at: Time | None = None
    completed_at: Time | None = None
    retry_count: int
    max_retries: int
    created_at: Time
    updated_at: Time


class ParentWorkflow(Struct, frozen=True):
    """The step of another workflow that runs a sub-workflow."""

    workflow_id: UUID
    step_id: str
    item: Annotated[int, about("The number of the step's item; null without for_each")] | None = None


class WorkflowPublic(Struct, kw_only=True):
    id: UUID
    name: str
    description: str | None = None
    status: WorkflowStatus
    total_steps: int
    completed_steps: int
    progress: Annotated[float, about("Percent of the steps that are done, two decimals")]
    current_step: Annotated[str, about("The step that has been RUNNING longest")] | None = None
    waits_for: Annotated[WaitsFor, about(_WAITS_FOR)] | None = None
    pause_reason: Annotated[Literal["budget"], about("Why the service has paused it; null if a caller has")] | None = (
        None
    )
    definition: (
        Annotated[DefinitionReference, about("The stored definition that it runs, in which version; else null")] | None
    ) = None
    final_step_id: Annotated[str, about("The sink of the DAG")] | None = None
    final_step_result: Result = None
    canvas_task_id: Annotated[str, about("The id of this execution; new at every start and resume")] | None = None
    config: JsonObject
    suppress_subtask_events: bool
    origin_instance: str
    origin_zone: str | None = None
    origin_tenant_id: str | None = None
    origin_reference: str | None = None
    webhook_url: str | None = None
    labels: Annotated[dict[str, str], about("The labels by which lists can be filtered")] = {}
    derived_from: Annotated[UUID, about("The earlier run whose results it takes over, if it does")] | None = None
    parent: Annotated[ParentWorkflow, about("Which step runs it; null unless it is a sub-workflow")] | None = None
    error_message: Annotated[str, about("The first entry of errors that isn't about an optional step")] | None = None
    errors: Annotated[list[str], about('"<step_id>: <message>" per failed step')]
    cost: Annotated[CostSums, about("The cost of its attempts at providers; null if there are none")] | None = None
    started_at: Time | None = None
    completed_at: Time | None = None
    created_by: Annotated[str, about("The subject of the token that has created it, or its root")] = ""
    created_at: Time
    updated_at: Time
    is_deleted: bool = False
    deleted_at: Time | None = None
    warnings: Annotated[list[DefinitionWarning], about("In the response of create, if there are any")] | UnsetType = (
        UNSET
    )
    steps: Annotated[list[WorkflowStepPublic], about("In the order of the definition")] | UnsetType = UNSET


class WorkflowListResponse(Struct):
    workflows: list[WorkflowPublic]
    total: Annotated[int, about("The number of all that match; null with total=false")] | None
    skip: int
    limit: int


class WorkflowCountsResponse(Struct):
    counts: Annotated[dict[WorkflowStatus, int], about("The number of workflows in each status")]
    total: int
    as_of: Annotated[Time, about("The time of the counts, at most five seconds ago")]


class WorkflowCleanupError(Struct):
    # A task that could not be cleaned completely. (A docstring would be a description in the OpenAPI document.)
    task_id: UUID
    step_id: str
    task_type: str
    error: str


class WorkflowCleanupDetail(Struct):
    # `tasks_processed` counts the examined tasks, and `tasks_cleaned` those that are clean now.
    tasks_processed: int
    tasks_cleaned: int
    deleted_paths: list[str]
    errors: list[WorkflowCleanupError]
    pending: Annotated[bool, about("Files are left, which the service still deletes")] = False


class WorkflowDataDeletion(Struct):
    """All rows and files of a workflow were deleted."""

    id: UUID
    files_deleted: Annotated[int, about("The files that this request has deleted")]
    pending: Annotated[bool, about("Something is left, which the service still deletes")] = False
    lost_by: Annotated[
        list[UUID], about("The runs, at most 1,000, that have taken over results, and lose their files")
    ] = []


class WorkflowCleanupResponse(Struct):
    workflow: WorkflowPublic
    cleanup: WorkflowCleanupDetail


class ItemPublic(Struct, kw_only=True):
    """One item of a step. Its members are those of a step, beside its number and its value."""

    item: Annotated[int, about("Its number, from 0")]
    value: Annotated[Any, about("The item itself, any JSON")]
    status: StepStatus
    waiting_for: (
        Annotated[WaitingFor, about("The sub-workflow that the item waits for; null if it doesn't wait")] | None
    ) = None
    task_id: Annotated[str, about("The latest task (attempt) of the item")] | None = None
    provider: str | None = None
    model: str | None = None
    cost: Annotated[CostSums, about("The cost of all its attempts at providers; null if there are none")] | None = None
    reused_from: Annotated[ReusedFrom, about(_REUSED_FROM)] | None = None
    saved: Annotated[Money, about(_SAVED)] | None = None
    result: Result = None
    given_by: Annotated[str, about(_GIVEN_BY)] | None = None
    error_message: str | None = None
    next_attempt_at: Annotated[Time, about("Between two attempts: when the next one starts")] | None = None
    started_at: Time | None = None
    completed_at: Time | None = None
    retry_count: int
    runs: Annotated[int, about("How many runs of an item that repeats have ended; null without repeat")] | None = None


class ItemListResponse(Struct):
    """Items of a step in their order. `total` counts those that match the query."""

    items: list[ItemPublic]
    total: int
    skip: int
    limit: int


_STEP_PATH = "The steps and items that lead to the file, like each/0/large. Each part is safe as the name of a folder"


class OutputPublic(Struct, frozen=True):
    """A file of a result of a run, of its items or of its sub-workflows. `size` is in bytes, `sha256` in hex."""

    path: Annotated[str, about("The path that inputs accept, media/{task_id}/{name}")]
    step_path: Annotated[str, about(_STEP_PATH)]
    name: Annotated[str, about("The last part of path")]
    media_type: str
    size: int
    sha256: str
    task_id: UUID
    final: Annotated[bool, about("Whether it belongs to the final result")]


class OutputListResponse(Struct, frozen=True):
    outputs: Annotated[
        list[OutputPublic], about("Those of the workflow's own steps first, then those of each sub-workflow")
    ]


MAX_NOTE = 2_000  # characters
MAX_DATA_BYTES = 64 * 1024

Data = Annotated[Any, about("Any JSON of at most 64 KiB, for the steps that read this step's result")]


class CreateDecision(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    choice: Annotated[str, Meta(min_length=1, max_length=100, description="One of the choices of the step")]
    note: Annotated[str, Meta(max_length=MAX_NOTE, description="Why, for people")] | None = None
    data: Data = None


class SendSignal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: Data = None


class GiveResult(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The result that a person gives to a step or an item: an object with the members that results of its task type
    have, of at most 64 KiB. Files are uploaded before, and named by their paths.
    """

    result: JsonObject


class ShownFile(Struct, frozen=True):
    """A file among the inputs or the choices of a decision. Anyone can read it at `url` for a while."""

    input: Annotated[str, about('The name of the input; "choices" for a file that only a choice names')]
    path: str
    url: str


class AncestorStep(Struct, frozen=True, kw_only=True):
    """A step of a workflow above, which runs the sub-workflow."""

    workflow_id: UUID
    workflow_name: str
    step_id: str
    item: Annotated[int, about("The number of its item, from 0; null without for_each")] | None
    value: Annotated[str, about("The item as text or JSON, up to 200 characters; null if large")] | None


class OpenDecision(Struct, frozen=True, kw_only=True):
    """A step that waits for a decision."""

    workflow_id: UUID
    workflow_name: str
    ancestors: Annotated[list[AncestorStep], about("The steps above, that of the run at the top first")]
    labels: Annotated[dict[str, str], about("The labels of the run at the top")]
    origin_tenant_id: str | None
    step_id: str
    message: str | None
    choices: list[str]
    since: Time
    until: Annotated[Time, about("It is decided then without anybody; null without a limit")] | None
    inputs: Annotated[JsonObject, about("The other inputs of the step")]
    files: Annotated[list[ShownFile], about("The files of Stepwell that the inputs and choices name")]
    decision_url: Annotated[str, about("A page on which anyone can decide. It is a secret")]


class DecisionListResponse(Struct, frozen=True):
    decisions: Annotated[list[OpenDecision], about("The longest waiting first")]
    total: Annotated[int, about("All that match, counted up to 1,000; null unless requested")] | None = None
