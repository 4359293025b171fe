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
    UnexpectedAnswer,
    UnsupportedType,
    WaitTimeout,
)
from stepwell.client.filters import CountFilters, ListFilters, PageOptions
from stepwell.client.results import FeedItem, ListPage
from stepwell.client.synchronous.all_operations import Stepwell
from stepwell.client.webhook import verify_webhook
from stepwell.contract.artifacts import ArtifactLink
from stepwell.contract.costs import CostGroup, CostSums
from stepwell.contract.decisions import OpenDecision
from stepwell.contract.dry_run_result import DryRun
from stepwell.contract.enums import (
    DeliveryStatus,
    EventType,
    RunIf,
    SkipReason,
    StepStatus,
    TaskStatus,
    TaskType,
    WaitKind,
    WorkflowStatus,
)
from stepwell.contract.events import EventFeedResponse, EventListResponse, EventPublic, StreamTicket
from stepwell.contract.item_list import ItemListResponse, ItemPublic
from stepwell.contract.limits import Limits
from stepwell.contract.output_list import OutputPublic
from stepwell.contract.plan_result import PlannedStep, WorkflowPlan
from stepwell.contract.problems import Problem, ValidationError
from stepwell.contract.providers import ProviderStatus
from stepwell.contract.reasons import Explanation
from stepwell.contract.system import Root
from stepwell.contract.tasks import TaskPublic
from stepwell.contract.uploads import ArtifactPublic, PresignedPut
from stepwell.contract.webhooks import DeliveryPublic, StepNotice, WorkflowNotice
from stepwell.contract.workflows import (
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
    "Conflict",
    "ConnectionFailed",
    "CostGroup",
    "CostSums",
    "CountFilters",
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
    "UnexpectedAnswer",
    "UnsupportedType",
    "ValidationError",
    "VideoStep",
    "WaitKind",
    "WaitTimeout",
    "WaitingFor",
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
