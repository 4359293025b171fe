"""How the providers do: what `GET /api/v1/providers` shows."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from stepwell.contract.enums import BreakerState, ProviderType, TaskType


class ModelLimit(Struct, frozen=True, forbid_unknown_fields=True):
    """Attempts at once, and starts a minute, of one model of a provider; null is no limit."""

    concurrency: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    per_minute: Annotated[float, Meta(gt=0, le=1_000_000)] | None = None


class Latency(Struct, frozen=True):
    """Seconds that attempts took from their start to their result: percentiles, null where none succeeded."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class BreakerStatus(Struct, frozen=True):
    """`failures`: steps in a row that used up their attempts. `open_until` is null while it is closed."""

    state: BreakerState
    failures: int
    open_until: datetime | None


class ModelStatus(Struct, frozen=True):
    """`attempts`, `error_rate` and `latency_s` are of those that ended within the last five minutes, at most the last
    thousand; failures that are the request's own fault don't count. `waiting`: for a slot, or for the breaker. LOCAL's
    models are the types of task; their breakers stay closed.
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
    """A key of a provider. `refused_since`: when this process first got a refusal; null once a call is accepted."""

    name: str
    refused_since: datetime | None = None


class ProviderStatus(Struct, frozen=True):
    """`capabilities`: what it offers, by type of task. `limit` is of its steps at once; `in_flight` and `waiting` are
    those of all tenants in this process, `models` those that steps of the token's tenants have asked for.
    `credentials`: the keys that the service holds for it, by name; a token of one tenant sees only the one that steps
    use by default. `detail` describes the keys that are refused; null if none is.
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
