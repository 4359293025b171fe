"""The messages between the service and its Celery workers.

A message is a JSON text, which Celery sends as one string: as an object, Celery would read members like `__type__` as
values of Python. Each message has the version of its form. A reader that doesn't know the version says so.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeVar
from uuid import UUID

from msgspec import DecodeError, Struct, json

from stepwell.basics.errors import AttemptError
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.contract.tasks import Output
from stepwell.ports.providers import Attempt

VERSION = 1
ATTEMPT_TASK = "stepwell.attempt"
PROBE_TASK = "stepwell.probe"

M = TypeVar("M", bound="_Message")


class UnreadableMessage(Exception):
    """The message has another version, or isn't a message. The text says which, and may be shown to users."""


class _Message(Struct, frozen=True, kw_only=True):
    version: int = VERSION


class AttemptMessage(_Message, frozen=True, kw_only=True):
    """An attempt, for a worker. It contains no secrets: credentials are named, and workers need none.

    `artifacts` has the sizes of the tenant's artifacts that the inputs name, by path. The worker reads no others, so it
    needs no database to know what belongs to the tenant. `store` is the id in the service's artifact store; None if it
    has none. A worker with another store would lose files.
    """

    provider: ProviderType
    task_id: UUID
    workflow_id: UUID
    tenant: str | None
    step_id: str
    task_type: TaskType
    number: int
    inputs: Mapping[str, Any]
    provider_config: Mapping[str, Any]
    seed: int
    timeout_s: float
    artifacts: Mapping[str, int]
    store: str | None = None


# The members of an attempt that a worker gets.
_OF_ATTEMPT: Final = [name for name in Attempt.__struct_fields__ if name in AttemptMessage.__struct_fields__]


def message_of(
    attempt: Attempt, provider: ProviderType, artifacts: Mapping[str, int], store: str | None
) -> AttemptMessage:
    own = {name: getattr(attempt, name) for name in _OF_ATTEMPT}
    return AttemptMessage(provider=provider, artifacts=artifacts, store=store, **own)


def attempt_of(message: AttemptMessage) -> Attempt:
    return Attempt(**{name: getattr(message, name) for name in _OF_ATTEMPT})


class ReportedError(Struct, frozen=True, kw_only=True):
    """The fields of an `AttemptError`."""

    message: str
    retryable: bool
    provider_fault: bool = True
    request_fault: bool = False

    @classmethod
    def of(cls, error: AttemptError) -> "ReportedError":
        return cls(
            message=str(error),
            retryable=error.retryable,
            provider_fault=error.provider_fault,
            request_fault=error.request_fault,
        )


class ResultMessage(_Message, frozen=True, kw_only=True):
    """The end of an attempt on a worker: its result and the files that it has stored, or its error.

    `has_credentials`: a file contains Content Credentials. Raises ValueError without a result and an error.
    """

    result: dict[str, Any] | None = None
    outputs: tuple[Output, ...] = ()
    has_credentials: bool = False
    error: ReportedError | None = None

    def __post_init__(self) -> None:
        if self.result is None and self.error is None:
            raise ValueError("neither a result nor an error")


def encode(message: AttemptMessage | ResultMessage | Mapping[str, Any]) -> str:
    return json.encode(message).decode()


def decode(text: object, kind: type[M]) -> M:
    """Return the message. Raises `UnreadableMessage`."""
    if not isinstance(text, str):
        raise UnreadableMessage("it isn't a text")
    try:
        version = json.decode(text, type=_Message).version
    except (DecodeError, RecursionError):
        raise UnreadableMessage("it has no version") from None
    if version != VERSION:
        age = "newer" if version > VERSION else "older"
        raise UnreadableMessage(f"its version {version} is {age} than {VERSION}, which this one reads")
    try:
        return json.decode(text, type=kind)
    except (DecodeError, RecursionError) as error:
        # The error of msgspec names the place and the type, and quotes no values, except those of an enum.
        raise UnreadableMessage(f"it can't be read: {type(error).__name__}") from None
