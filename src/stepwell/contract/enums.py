"""The enums of the API: statuses, task types, providers, transforms and events."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from typing import Final, Self

_accepts_unknown: ContextVar[bool] = ContextVar("accepts_unknown", default=False)


class ExtensibleEnum(StrEnum):
    """An enum that may get further members in later versions of the service. A client accepts them, see
    `unknown_members`; the service doesn't.
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        return cls._unknown(value) if _accepts_unknown.get() and isinstance(value, str) else None

    @classmethod
    def _unknown(cls, value: str) -> Self:
        """Return an instance that isn't a member."""
        instance = str.__new__(cls, value)
        instance._name_ = instance._value_ = value
        return instance


@contextmanager
def unknown_members() -> Iterator[None]:
    """Let an `ExtensibleEnum` accept any string. What isn't a member is an instance with that string as its value."""
    token = _accepts_unknown.set(True)
    try:
        yield
    finally:
        _accepts_unknown.reset(token)


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
    """The progress of an attempt. It is committed before the next phase begins, so that a recovery can continue from
    it.
    """

    INTENT = "INTENT"
    SUBMITTED = "SUBMITTED"
    REMOTE_DONE = "REMOTE_DONE"
    STORED = "STORED"


class CancelReceipt(ExtensibleEnum):
    """The outcome of the remote job of an abandoned attempt. never_started: no request was sent. provider_cancelled:
    the provider ended it. provider_refused: the provider would not end it. finished_too_late: it had already finished,
    and is paid for. unknown: the outcome isn't known, or not yet.
    """

    NEVER_STARTED = "never_started"
    PROVIDER_CANCELLED = "provider_cancelled"
    PROVIDER_REFUSED = "provider_refused"
    FINISHED_TOO_LATE = "finished_too_late"
    UNKNOWN = "unknown"


# A new type needs an entry in `contract.task_configs.TASK_TYPES`. Besides:
# - if its steps wait: an entry in `WAITS_OF` below, and the rules of that wait in `definition` and `lifecycle`
# - LOCAL: an entry in `providers.local.kinds` with a function of `weights`, and one in `providers.local.work`; else
#   LOCAL's descriptor leaves it out
# - each other provider that can do it: its tables of parameters and models; for CUSTOM its OpenAPI document
# - the client: a method of `client.builder.Workflow`, which is generated
# - words: the pages tasks, local and providers of the manual, and `mcp/definition_prompt.md`
class TaskType(ExtensibleEnum):
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
    APPROVAL = "APPROVAL"
    SIGNAL = "SIGNAL"
    DELAY = "DELAY"
    SUBWORKFLOW = "SUBWORKFLOW"


class WaitKind(ExtensibleEnum):
    """The kinds of waits: for a decision, a signal, a time, or the end of a sub-workflow."""

    DECISION = "decision"
    SIGNAL = "signal"
    DELAY = "delay"
    WORKFLOW = "workflow"


# The types whose steps wait, and what for. They have no provider and no retries.
WAITS_OF: Final[Mapping[TaskType, WaitKind]] = {
    TaskType.APPROVAL: WaitKind.DECISION,
    TaskType.SIGNAL: WaitKind.SIGNAL,
    TaskType.DELAY: WaitKind.DELAY,
    TaskType.SUBWORKFLOW: WaitKind.WORKFLOW,
}
# The types whose steps wait instead of making attempts.
WITHOUT_ATTEMPTS: Final = frozenset(WAITS_OF) - {TaskType.SUBWORKFLOW}
WITHOUT_PROVIDER: Final = frozenset({TaskType.PASSTHROUGH, *WAITS_OF})


class WaitsFor(ExtensibleEnum):
    """What a workflow waits for: the first of these for which a step of it or of its sub-workflows waits."""

    DECISION = WaitKind.DECISION
    SIGNAL = WaitKind.SIGNAL
    DELAY = WaitKind.DELAY


class ProviderType(ExtensibleEnum):
    """The names of providers. The members are the built-in ones. A package may bring others, so any string is a value;
    the service checks at create that a provider of this name is installed.
    """

    LOCAL = "LOCAL"
    FAL = "FAL"
    REPLICATE = "REPLICATE"
    VERTEX = "VERTEX"
    GEMINI = "GEMINI"
    OPENAI = "OPENAI"
    COMFYUI = "COMFYUI"
    CUSTOM = "CUSTOM"

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        return cls._unknown(value) if isinstance(value, str) else None


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


class OnItemFailure(StrEnum):
    """The consequence of a failed item for its step. fail: the step fails, and no further item starts. collect: the
    other items run, and the step completes with null instead of the item's result.
    """

    FAIL = "fail"
    COLLECT = "collect"


class RunIf(StrEnum):
    """The rule by which a step runs after its dependencies: once all are COMPLETED, once all have ended and at least
    one is COMPLETED, or once all have ended.
    """

    ALL_COMPLETED = "all_completed"
    ANY_COMPLETED = "any_completed"
    ALL_ENDED = "all_ended"


class SkipReason(ExtensibleEnum):
    """Why a step is SKIPPED. when: its condition isn't true. failure: a step further up has failed. dependency: a step
    that it depends on was skipped, and no failure is the cause. manual: a person has skipped it.
    """

    WHEN = "when"
    DEPENDENCY = "dependency"
    FAILURE = "failure"
    MANUAL = "manual"


class EventType(ExtensibleEnum):
    WORKFLOW_CREATED = "workflow.created"
    WORKFLOW_STARTED = "workflow.started"
    WORKFLOW_PAUSED = "workflow.paused"
    WORKFLOW_RESUMED = "workflow.resumed"
    WORKFLOW_UPDATED = "workflow.updated"
    WORKFLOW_SIGNALED = "workflow.signaled"
    WORKFLOW_COMPLETED = "workflow.completed"
    WORKFLOW_FAILED = "workflow.failed"
    WORKFLOW_CANCELLED = "workflow.cancelled"
    WORKFLOW_CLEANED = "workflow.cleaned"
    WORKFLOW_FILES_DELETED = "workflow.files_deleted"
    STEP_STARTED = "step.started"
    STEP_SUBMITTED = "step.submitted"
    STEP_PROGRESS = "step.progress"
    STEP_OUTCOME_UNKNOWN = "step.outcome_unknown"
    STEP_RETRYING = "step.retrying"
    STEP_DIVERTED = "step.diverted"
    STEP_REPEATING = "step.repeating"
    STEP_WAITING = "step.waiting"
    STEP_REUSED = "step.reused"
    STEP_COMPLETED = "step.completed"
    STEP_FAILED = "step.failed"
    STEP_SKIPPED = "step.skipped"
    STEP_CANCELLED = "step.cancelled"
    STEP_CANCEL_SETTLED = "step.cancel_settled"


# The manual shows these.
EVENT_MEANINGS: Final[Mapping[EventType, str]] = {
    EventType.WORKFLOW_CREATED: "The workflow was created",
    EventType.WORKFLOW_STARTED: "The workflow was started",
    EventType.WORKFLOW_PAUSED: "The workflow was paused: nothing new starts",
    EventType.WORKFLOW_RESUMED: "The workflow was resumed",
    EventType.WORKFLOW_UPDATED: "The name, the description, the webhook_url or the labels were changed",
    EventType.WORKFLOW_SIGNALED: "A signal has arrived before its step waits for it",
    EventType.WORKFLOW_COMPLETED: "The workflow has ended: every step is COMPLETED, SKIPPED, or FAILED and optional",
    EventType.WORKFLOW_FAILED: "The workflow has ended: a step has failed for good, or its time was up",
    EventType.WORKFLOW_CANCELLED: "The workflow was cancelled",
    EventType.WORKFLOW_CLEANED: "The workflow was deleted by a cleanup",
    EventType.WORKFLOW_FILES_DELETED: "The cleanup has ended: each file is deleted, missing, or used elsewhere",
    EventType.STEP_STARTED: "An attempt at the step has started",
    EventType.STEP_SUBMITTED: "The provider has accepted the job of the attempt; its id is recorded",
    EventType.STEP_PROGRESS: "The provider reports progress of the job",
    EventType.STEP_OUTCOME_UNKNOWN: "The answer to a request was lost: whether there is a job isn't known",
    EventType.STEP_RETRYING: "An attempt has failed, and another one starts",
    EventType.STEP_DIVERTED: "The circuit breaker of the model is open, and the fallback provider runs the step",
    EventType.STEP_REPEATING: "A run of the step has ended, and another one starts",
    EventType.STEP_WAITING: "The step waits for a decision, a signal, a time or a sub-workflow",
    EventType.STEP_REUSED: "The step takes over a result of an earlier run",
    EventType.STEP_COMPLETED: "The step has a result",
    EventType.STEP_FAILED: "The step has failed for good",
    EventType.STEP_SKIPPED: "The step doesn't run: its condition isn't true, its dependencies ended otherwise, or a "
    "person has skipped it",
    EventType.STEP_CANCELLED: "The step was cancelled",
    EventType.STEP_CANCEL_SETTLED: "It is known what has become of the remote job of an abandoned attempt",
}


class CostKey(StrEnum):
    """A property of attempts by which costs are summed. `day` is the day (UTC) on which the attempt ended.

    `definition` is the name of the stored definition that the run at the top runs.
    """

    TENANT = "tenant"
    PROVIDER = "provider"
    MODEL = "model"
    DAY = "day"
    DEFINITION = "definition"


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


TERMINAL_EVENTS: Final = frozenset(
    {EventType.WORKFLOW_COMPLETED, EventType.WORKFLOW_FAILED, EventType.WORKFLOW_CANCELLED}
)


class DeliveryStatus(StrEnum):
    """PENDING: it will be attempted. FAILED: no attempt is left. STOPPED: the receiver responded with 410, or the
    workflow has no webhook_url any more.
    """

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"
    STOPPED = "STOPPED"
