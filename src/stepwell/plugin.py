"""Everything that a package needs to bring a provider: its descriptor, the ports, their records and errors.

`stepwell manual python-provider` has an example. The names here stay when the modules behind them move.
"""

from stepwell.basics.errors import AttemptError, CallFailed, Fault, OutcomeUnknown
from stepwell.basics.strict_json.canonical import digest
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.contract.fields import about
from stepwell.contract.tasks import Cost, Output
from stepwell.definition.provider_descriptors import ConfiguredBy, OutputNames, ProviderDescriptor, ProviderSettings
from stepwell.lifecycle.model import Sent
from stepwell.lifecycle.steps import KnownStep, StepMembers
from stepwell.ports.providers import (
    Attempt,
    AttemptIO,
    Blob,
    CancelAnswer,
    DeclaresMembers,
    Finished,
    InProcessProvider,
    Job,
    JobState,
    JobStatus,
    Provider,
    ReadsFiles,
    RefusesSteps,
    RemoteProvider,
    Request,
    UrlReader,
)
from stepwell.providers.in_process import InProcess
from stepwell.providers.shared.setup import ProviderSetup

__all__ = [
    "Attempt",
    "AttemptError",
    "AttemptIO",
    "Blob",
    "CallFailed",
    "CancelAnswer",
    "ConfiguredBy",
    "Cost",
    "DeclaresMembers",
    "Fault",
    "Finished",
    "InProcess",
    "InProcessProvider",
    "Job",
    "JobState",
    "JobStatus",
    "KnownStep",
    "OutcomeUnknown",
    "Output",
    "OutputNames",
    "Provider",
    "ProviderDescriptor",
    "ProviderSettings",
    "ProviderSetup",
    "ProviderType",
    "ReadsFiles",
    "RefusesSteps",
    "RemoteProvider",
    "Request",
    "Sent",
    "StepMembers",
    "TaskType",
    "UrlReader",
    "about",
    "digest",
]
