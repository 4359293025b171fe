"""The arguments of the tools. Their schemas are what an assistant reads."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, field

from stepwell.contract.definition import Budget
from stepwell.contract.enums import CostKey, StepStatus, WaitsFor, WorkflowStatus
from stepwell.contract.fields import about

MAX_WAIT_S: Final = 50
"""The longest wait of one call. Many clients give up a call after 60 s."""

Definition = Annotated[
    dict[str, Any],
    about(
        "A workflow definition: an object with name and steps. "
        "The prompt write_definition and the resource stepwell://schema/definition describe it. "
        'Or a run of a stored definition: {"definition": {"name": "photo-set", "version": 3}, "inputs": {}}'
    ),
]
WorkflowId = Annotated[str, Meta(pattern="^[0-9A-Za-z-]{1,100}$", description="The workflow's id")]
StoredDefinition = Annotated[str, about("Only runs of this stored definition, as name or name@version")]
Wait = Annotated[
    float, Meta(ge=0, le=MAX_WAIT_S, description="Wait so many seconds for the workflow's end, at most; 0: don't wait")
]
CarefulDryRun = Annotated[bool, about("true (default): only report what would happen. Show the user that before false")]
IdempotencyKey = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        description="A text of your own without spaces. A repeated call with it creates no second one",
    ),
]


class Arguments(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of a tool. Unknown ones are refused, because a mistyped `dry_run` must not delete anything."""


class NoArguments(Arguments, frozen=True):
    """The arguments of a tool that takes none."""


class WorkflowArguments(Arguments, frozen=True):
    workflow_id: WorkflowId


class PlanArguments(Arguments, frozen=True):
    definition: Definition


class SubmitArguments(Arguments, frozen=True):
    definition: Definition
    start: Annotated[bool, about("false: only store the workflow; start_workflow starts it")] = True
    wait_s: Wait = 0
    idempotency_key: IdempotencyKey | None = None


class StatusArguments(WorkflowArguments, frozen=True):
    wait_s: Wait = 0


class ListArguments(Arguments, frozen=True):
    status: Annotated[list[WorkflowStatus], about("Only these statuses; empty: all")] = field(default_factory=list)
    name: Annotated[str, about("Only names that begin so, in any case")] | None = None
    definition: StoredDefinition | None = None
    labels: Annotated[dict[str, str], about("Only workflows with all these labels")] = field(default_factory=dict)
    waits_for: Annotated[WaitsFor, about("Only workflows that wait for this")] | None = None
    origin_reference: str | None = None
    created_after: Annotated[datetime, Meta(tz=True)] | None = None
    created_before: Annotated[datetime, Meta(tz=True)] | None = None
    limit: Annotated[int, Meta(ge=1, le=50)] = 20
    skip: Annotated[int, Meta(ge=0, le=100_000, description="How many of the newest ones to leave out")] = 0


class VerbArguments(WorkflowArguments, frozen=True):
    dry_run: Annotated[bool, about("true: only report what would happen")] = False


class DestructiveVerbArguments(WorkflowArguments, frozen=True):
    dry_run: CarefulDryRun = True


class BudgetArguments(WorkflowArguments, frozen=True):
    budget: Annotated[Budget, about("The whole new budget, with the limits that stay as they are")]


class RerunArguments(WorkflowArguments, frozen=True):
    config: Annotated[
        dict[str, dict[str, Any]], about("By step: members to merge over its config. null removes one")
    ] = field(default_factory=dict)
    inputs: Annotated[dict[str, Any], about("Merged over the inputs of the workflow")] = field(default_factory=dict)
    steps: Annotated[list[str], Meta(max_length=1_000, description="Steps that run in any case")] = field(
        default_factory=list
    )
    dry_run: Annotated[bool, about("true (default): only plan it. Show the user what it would cost before false")] = (
        True
    )
    idempotency_key: IdempotencyKey | None = None


class DecisionsArguments(Arguments, frozen=True):
    workflow_id: (
        Annotated[
            str,
            Meta(pattern="^[0-9A-Za-z-]{1,100}$", description="Only the steps of this workflow and its sub-workflows"),
        ]
        | None
    ) = None
    definition: StoredDefinition | None = None
    limit: Annotated[int, Meta(ge=1, le=50)] = 20


class DecideArguments(WorkflowArguments, frozen=True):
    step_id: Annotated[str, Meta(min_length=1, max_length=255, description="The step that waits for a decision")]
    choice: Annotated[str, Meta(min_length=1, max_length=100, description="What the user has chosen")]
    note: Annotated[str, Meta(max_length=2_000, description="What the user says about it")] | None = None


class SignalArguments(WorkflowArguments, frozen=True):
    name: Annotated[str, Meta(min_length=1, max_length=255, description="The name of the signal")]
    data: Annotated[Any, about("Any JSON, for the steps that read the result")] = None


class EndStepArguments(WorkflowArguments, frozen=True):
    step_id: Annotated[str, Meta(min_length=1, max_length=255, description="The step to end")]
    item: Annotated[int, Meta(ge=0, le=1_000, description="Only this item of the step, from 0")] | None = None
    result: (
        Annotated[
            dict[str, Any],
            about(
                "The result that the user gives, like {result_image_path: the path of an upload}; null "
                "skips the step or the item"
            ),
        ]
        | None
    ) = None
    dry_run: CarefulDryRun = True


class ItemsArguments(WorkflowArguments, frozen=True):
    step_id: Annotated[str, Meta(min_length=1, max_length=255, description="The step with for_each")]
    status: Annotated[list[StepStatus], Meta(max_length=6, description="Only items in these statuses; empty: all")] = (
        field(default_factory=list)
    )
    skip: Annotated[int, Meta(ge=0, le=1_000, description="The number of items to skip")] = 0
    limit: Annotated[int, Meta(ge=1, le=50)] = 20


class OutputsArguments(WorkflowArguments, frozen=True):
    steps: Annotated[list[str], Meta(max_length=50, description="Only the files of these steps; empty: all")] = field(
        default_factory=list
    )
    images: Annotated[bool, about("true: return previews of the images as well; false: only links")] = True
    width: Annotated[Literal[64, 256, 512, 1024], about("The width of the previews, in pixels")] = 512


class UploadArguments(Arguments, frozen=True):
    data: Annotated[str, Meta(min_length=1, description="The bytes of the file, as base64")]
    name: Annotated[str, Meta(min_length=1, max_length=255, description="The name of the file, like photo.png")]


class LocalUploadArguments(Arguments, frozen=True):
    path: Annotated[str, Meta(min_length=1, description="The path of a file on this machine")] | None = None
    data: Annotated[str, Meta(min_length=1, description="The bytes of the file, as base64, instead of path")] | None = (
        None
    )
    name: (
        Annotated[str, Meta(min_length=1, max_length=255, description="The name of the file; required with data")]
        | None
    ) = None


class CostsArguments(Arguments, frozen=True):
    since: Annotated[str, about("Only attempts that ended on this day (UTC) or later: 2026-11-01")] | None = None
    until: Annotated[str, about("Only attempts that ended before this day (UTC)")] | None = None
    definition: StoredDefinition | None = None
    by: Annotated[list[CostKey], about("What to sum by; empty: one sum for each currency")] = field(
        default_factory=list
    )
