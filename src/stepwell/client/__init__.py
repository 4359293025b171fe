"""The Python client of the API, synchronous and asynchronous, with a builder of definitions. Manual: page python.

It imports the contract only, nothing of the server.
"""

from stepwell.client.asynchronous.all_operations import AsyncStepwell
from stepwell.client.builder import BuiltStep, ImageStep, StepOptions, StepValue, TextStep, VideoStep
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
from stepwell.client.results import FeedItem, ListPage, StepOutput
from stepwell.client.synchronous.all_operations import Stepwell
from stepwell.client.webhook import verify_webhook
from stepwell.client.workflow_steps import Workflow
from stepwell.contract.webhooks import StepNotice, WorkflowNotice

__all__ = [
    "AsyncStepwell",
    "BuiltStep",
    "Conflict",
    "ConnectionFailed",
    "FeedItem",
    "Forbidden",
    "ImageStep",
    "InsufficientStorage",
    "Invalid",
    "InvalidWebhook",
    "ListPage",
    "NotFound",
    "PreconditionFailed",
    "RequestRefused",
    "ServiceFailed",
    "StepNotice",
    "StepOptions",
    "StepOutput",
    "StepValue",
    "Stepwell",
    "StepwellError",
    "TextStep",
    "TooLarge",
    "TooManyRequests",
    "Unauthorized",
    "Unavailable",
    "UnexpectedAnswer",
    "UnsupportedType",
    "VideoStep",
    "WaitTimeout",
    "Workflow",
    "WorkflowNotice",
    "verify_webhook",
]
