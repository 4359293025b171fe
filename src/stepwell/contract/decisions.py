"""The requests and answers about decisions and signals, for which steps wait."""

from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct

from stepwell.contract.definition import JsonObject
from stepwell.contract.fields import Time

MAX_NOTE = 2_000  # characters
MAX_DATA_BYTES = 64 * 1024

Data = Annotated[Any, Meta(description="Any JSON of at most 64 KiB, for the steps that read this step's result")]


class CreateDecision(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    choice: Annotated[str, Meta(min_length=1, max_length=100, description="One of the choices of the step")]
    note: Annotated[str, Meta(max_length=MAX_NOTE, description="Why, for people")] | None = None
    data: Data = None


class SendSignal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: Data = None


class ShownFile(Struct, frozen=True):
    """A file among the inputs or the choices of a decision. Anyone can read it at `url` for a while."""

    input: Annotated[str, Meta(description='The name of the input; "choices" for a file that only a choice names')]
    path: str
    url: str


class OpenDecision(Struct, frozen=True, kw_only=True):
    """A step that waits for a decision."""

    workflow_id: UUID
    workflow_name: str
    origin_tenant_id: str | None
    step_id: str
    message: str | None
    choices: list[str]
    since: Time
    until: Annotated[Time, Meta(description="It is decided then without anybody; null without a limit")] | None
    inputs: Annotated[JsonObject, Meta(description="The other inputs of the step")]
    files: Annotated[list[ShownFile], Meta(description="The files of Stepwell that the inputs and choices name")]
    decision_url: Annotated[str, Meta(description="A page on which anyone can decide. It is a secret")]


class DecisionListResponse(Struct, frozen=True):
    decisions: Annotated[list[OpenDecision], Meta(description="The longest waiting first")]
