"""The status of providers: the response of `GET /api/v1/providers`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from stepwell.contract.enums import BreakerState, ProviderType, TaskType


class ModelLimit(Struct, frozen=True, forbid_unknown_fields=True):
    """The limits of one model of a provider: concurrent attempts, and starts a minute. null means no limit."""

    concurrency: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    per_minute: Annotated[float, Meta(gt=0, le=1_000_000)] | None = None


class Latency(Struct, frozen=True):
    """Percentiles of the seconds from an attempt's start to its result; null if no attempt succeeded."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class BreakerStatus(Struct, frozen=True):
    """The circuit breaker. `failures` counts the steps in a row that used up their attempts. `open_until` is null while
    the breaker is closed.
    """

    state: BreakerState
    failures: int
    open_until: datetime | None


class ModelStatus(Struct, frozen=True):
    """The status of a model. `attempts`, `error_rate` and `latency_s` cover the attempts that ended within the last
    five minutes, at most the last thousand. Failures that are the request's own fault don't count. `waiting` counts the
    steps that wait for a slot or for the breaker. LOCAL's models are the task types; their breakers stay closed.
    """

    model: str
    limit: ModelLimit | None
    in_flight: int
    waiting: int
    breaker: BreakerStatus
    attempts: int
    error_rate: Annotated[float, Meta(ge=0, le=1)] | None
    latency_s: Latency


class CredentialStatus(Struct, frozen=True):
    """A credential of a provider. `refused_since` is when the provider first refused it in this process; null once a
    call is accepted.
    """

    name: str
    refused_since: datetime | None = None


class ProviderStatus(Struct, frozen=True):
    """The status of a provider. `capabilities` lists what it offers, by task type. `limit` is the number of steps
    that may run at once. `in_flight` and `waiting` count the steps of all tenants in this process. `models` are those
    that steps of the token's tenants have used. `credentials` are the keys that the service holds for it, by name; a
    token of one tenant sees only the key that steps use by default. `detail` describes the keys that are refused; null
    if none is.
    """

    provider_type: ProviderType
    capabilities: Mapping[TaskType, Sequence[str]]
    limit: int
    in_flight: int
    waiting: int
    models: Sequence[ModelStatus]
    credentials: Sequence[CredentialStatus] = ()
    detail: str | None = None


class ProviderListResponse(Struct):
    providers: Sequence[ProviderStatus]
