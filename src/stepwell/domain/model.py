"""The words of the product: statuses, kinds of task, and the mutable state of a workflow, a step and a task."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from msgspec import Struct


class WorkflowStatus(StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


TERMINAL_STATUSES = frozenset({WorkflowStatus.COMPLETED, WorkflowStatus.FAILED, WorkflowStatus.CANCELLED})


class StepStatus(StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"
    CANCELLED = "CANCELLED"


class TaskStatus(StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class TaskPhase(StrEnum):
    """How far an attempt got, committed before the next thing happens: what a recovery decides by."""

    INTENT = "INTENT"
    SUBMITTED = "SUBMITTED"
    REMOTE_DONE = "REMOTE_DONE"
    STORED = "STORED"


class CancelReceipt(StrEnum):
    """What became of the remote work of an attempt that was given up: never sent; ended by the provider; the provider
    would not end it; it had finished by then, and is paid for; not known, or not yet.
    """

    NEVER_STARTED = "never_started"
    PROVIDER_CANCELLED = "provider_cancelled"
    PROVIDER_REFUSED = "provider_refused"
    FINISHED_TOO_LATE = "finished_too_late"
    UNKNOWN = "unknown"


class TaskType(StrEnum):
    GENERATION = "GENERATION"
    EDITING = "EDITING"
    REFINE = "REFINE"
    VIDEO_GENERATION = "VIDEO_GENERATION"
    BACKGROUND_FIX = "BACKGROUND_FIX"
    FACE_ENHANCER = "FACE_ENHANCER"
    IMAGE_ADJUSTER = "IMAGE_ADJUSTER"
    DETAIL_ENHANCER = "DETAIL_ENHANCER"
    BACKGROUND_REMOVE = "BACKGROUND_REMOVE"
    LLM_INTERACTION = "LLM_INTERACTION"
    EXPERIMENTAL_FAL = "EXPERIMENTAL_FAL"
    PASSTHROUGH = "PASSTHROUGH"


class ProviderType(StrEnum):
    LOCAL = "LOCAL"
    FAL = "FAL"
    REPLICATE = "REPLICATE"
    VERTEX = "VERTEX"
    GEMINI = "GEMINI"
    OPENAI = "OPENAI"
    COMFYUI = "COMFYUI"
    CUSTOM = "CUSTOM"


class TransformType(StrEnum):
    FIRST = "FIRST"
    LAST = "LAST"
    TO_LIST = "TO_LIST"
    FLATTEN = "FLATTEN"
    TO_STRING = "TO_STRING"
    TO_INT = "TO_INT"
    TO_FLOAT = "TO_FLOAT"
    TO_BOOL = "TO_BOOL"
    JSON_ENCODE = "JSON_ENCODE"
    JSON_DECODE = "JSON_DECODE"
    PATH_TO_URL = "PATH_TO_URL"
    PATH_TO_DATA_URI = "PATH_TO_DATA_URI"


class OnFailure(StrEnum):
    DRAIN = "drain"
    CANCEL = "cancel"
    CONTINUE = "continue"


class EventType(StrEnum):
    WORKFLOW_CREATED = "workflow.created"
    WORKFLOW_STARTED = "workflow.started"
    WORKFLOW_PAUSED = "workflow.paused"
    WORKFLOW_RESUMED = "workflow.resumed"
    WORKFLOW_UPDATED = "workflow.updated"
    WORKFLOW_COMPLETED = "workflow.completed"
    WORKFLOW_FAILED = "workflow.failed"
    WORKFLOW_CANCELLED = "workflow.cancelled"
    WORKFLOW_CLEANED = "workflow.cleaned"
    STEP_STARTED = "step.started"
    STEP_SUBMITTED = "step.submitted"
    STEP_PROGRESS = "step.progress"
    STEP_OUTCOME_UNKNOWN = "step.outcome_unknown"
    STEP_RETRYING = "step.retrying"
    STEP_DIVERTED = "step.diverted"
    STEP_COMPLETED = "step.completed"
    STEP_FAILED = "step.failed"
    STEP_SKIPPED = "step.skipped"
    STEP_CANCELLED = "step.cancelled"
    STEP_CANCEL_SETTLED = "step.cancel_settled"


class Output(Struct, frozen=True):
    """A stored file of a task. `path` is `media/{task_id}/{name}`, `size` in bytes, `sha256` in hex."""

    path: str
    size: int
    sha256: str


class WorkflowState(Struct):
    """What changes in a workflow's row. `last_event` numbers its history, and so also versions the row."""

    id: UUID
    status: WorkflowStatus
    name: str
    description: str | None = None
    webhook_url: str | None = None
    completed_steps: int = 0
    execution_id: UUID | None = None
    failure: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    updated_at: datetime | None = None
    deleted_at: datetime | None = None
    deadline_at: datetime | None = None
    timeout_left_s: float | None = None
    owner: UUID | None = None
    epoch: int = 0
    last_event: int = 0
    crashes: int = 0


class StepState(Struct, gc=False):
    """What changes in a step's row. `attempt` counts all attempts ever, `provider_attempts` those of the present
    provider in this execution, `retry_count` those of this execution less one per provider used.
    """

    position: int
    status: StepStatus = StepStatus.PENDING
    task_id: UUID | None = None
    attempt: int = 0
    provider_attempts: int = 0
    retry_count: int = 0
    on_fallback: bool = False
    next_attempt_at: datetime | None = None
    result: bytes | None = None
    error_message: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    updated_at: datetime | None = None


class Sent(Struct, frozen=True):
    """A request to a provider, committed before its first byte is sent. `digest` is that of its body (SHA-256 of the
    canonical JSON), `at` the time just before. `on_fallback`: it went to the step's fallback provider.
    """

    model: str
    digest: str
    at: datetime
    on_fallback: bool = False


class Cost(Struct, frozen=True):
    """What an attempt cost. `source`: whether the provider said so, or the service's settings price it."""

    amount: float
    currency: str
    source: Literal["provider", "settings"]


class Task(Struct):
    """One attempt at a step. `seed` is drawn with INTENT, so that a recovery draws the same picture.

    `sent` is null until something is about to leave for a provider, `remote_id` and `urls` until it has answered. An
    attempt that was given up with a job at a provider is followed up until `follow_up_until`, or until its
    `cancel_receipt` is final: then that is null.
    """

    id: UUID
    position: int
    attempt: int
    provider: ProviderType | None
    status: TaskStatus = TaskStatus.RUNNING
    phase: TaskPhase = TaskPhase.INTENT
    seed: int | None = None
    sent: Sent | None = None
    remote_id: str | None = None
    urls: dict[str, str] | None = None
    outcome_unknown: bool = False
    cancel_receipt: CancelReceipt | None = None
    follow_up_until: datetime | None = None
    cost: Cost | None = None
    outputs: tuple[Output, ...] = ()
    error: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None


class HistoryEvent(Struct, frozen=True):
    """One line of a workflow's history, written in the transaction of the transition that it tells."""

    id: int
    type: EventType
    at: datetime
    step_id: str | None
    task_id: UUID | None
    actor: str
    data: dict[str, Any]
