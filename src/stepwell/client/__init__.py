"""The Python client of the API, synchronous and asynchronous, with a builder of definitions. Manual: page python.

It imports the contract only, nothing of the server.
"""

from stepwell.client.asynchronous.all_operations import AsyncStepwell
from stepwell.client.builder import Workflow
from stepwell.client.built_steps import BuiltStep, Expression, ImageStep, StepOptions, StepValue, TextStep, VideoStep
from stepwell.client.errors import (
    Conflict,
    ConnectionFailed,
    Forbidden,
    InsufficientStorage,
    Invalid,
    InvalidWebhook,
    NotFound,
    PreconditionFailed,
    RequestRefused,
    ServiceFailed,
    StepwellError,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnexpectedResponse,
    UnsupportedType,
    WaitTimeout,
)
from stepwell.client.filters import CountFilters, ListFilters, PageOptions
from stepwell.client.requests import ChangeOptions
from stepwell.client.responses import FeedItem, ListPage
from stepwell.client.synchronous.all_operations import Stepwell
from stepwell.client.webhook import verify_webhook
from stepwell.contract.definition import DefinitionReference
from stepwell.contract.enums import (
    DeliveryStatus,
    EventType,
    RunIf,
    SkipReason,
    StepStatus,
    TaskStatus,
    TaskType,
    WaitKind,
    WaitsFor,
    WorkflowStatus,
)
from stepwell.contract.events import (
    DeliveryPublic,
    EventFeedResponse,
    EventListResponse,
    EventPublic,
    StepNotice,
    StreamTicket,
    WorkflowNotice,
)
from stepwell.contract.files import ArtifactLink, ArtifactPublic, PresignedPut
from stepwell.contract.forecasts import DryRun, PlannedStep, WorkflowPlan
from stepwell.contract.problems import Problem, ValidationError
from stepwell.contract.providers import ProviderStatus
from stepwell.contract.reasons import Explanation
from stepwell.contract.stored_definitions import (
    DefinitionDeletion,
    DefinitionForm,
    DefinitionPublic,
    DefinitionSummary,
    DefinitionVersion,
)
from stepwell.contract.system import Limits, Root
from stepwell.contract.tasks import CostGroup, CostSums, TaskPublic
from stepwell.contract.workflows import (
    ItemListResponse,
    ItemPublic,
    OpenDecision,
    OutputPublic,
    WaitingFor,
    WorkflowCleanupResponse,
    WorkflowCountsResponse,
    WorkflowDataDeletion,
    WorkflowPublic,
    WorkflowStepPublic,
)

__all__ = [
    "ArtifactLink",
    "ArtifactPublic",
    "AsyncStepwell",
    "BuiltStep",
    "ChangeOptions",
    "Conflict",
    "ConnectionFailed",
    "CostGroup",
    "CostSums",
    "CountFilters",
    "DefinitionDeletion",
    "DefinitionForm",
    "DefinitionPublic",
    "DefinitionReference",
    "DefinitionSummary",
    "DefinitionVersion",
    "DeliveryPublic",
    "DeliveryStatus",
    "DryRun",
    "EventFeedResponse",
    "EventListResponse",
    "EventPublic",
    "EventType",
    "Explanation",
    "Expression",
    "FeedItem",
    "Forbidden",
    "ImageStep",
    "InsufficientStorage",
    "Invalid",
    "InvalidWebhook",
    "ItemListResponse",
    "ItemPublic",
    "Limits",
    "ListFilters",
    "ListPage",
    "NotFound",
    "OpenDecision",
    "OutputPublic",
    "PageOptions",
    "PlannedStep",
    "PreconditionFailed",
    "PresignedPut",
    "Problem",
    "ProviderStatus",
    "RequestRefused",
    "Root",
    "RunIf",
    "ServiceFailed",
    "SkipReason",
    "StepNotice",
    "StepOptions",
    "StepStatus",
    "StepValue",
    "Stepwell",
    "StepwellError",
    "StreamTicket",
    "TaskPublic",
    "TaskStatus",
    "TaskType",
    "TextStep",
    "TooLarge",
    "TooManyRequests",
    "Unauthorized",
    "Unavailable",
    "UnexpectedResponse",
    "UnsupportedType",
    "ValidationError",
    "VideoStep",
    "WaitKind",
    "WaitTimeout",
    "WaitingFor",
    "WaitsFor",
    "Workflow",
    "WorkflowCleanupResponse",
    "WorkflowCountsResponse",
    "WorkflowDataDeletion",
    "WorkflowNotice",
    "WorkflowPlan",
    "WorkflowPublic",
    "WorkflowStatus",
    "WorkflowStepPublic",
    "verify_webhook",
]
