"""The response that lists the files of a run."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

_STEP_PATH = "The steps and items that lead to the file, like each/0/large. Each part is safe as the name of a folder"


class OutputPublic(Struct, frozen=True):
    """A file of a result of a run, of its items or of its sub-workflows. `size` is in bytes, `sha256` in hex."""

    path: Annotated[str, Meta(description="The path that inputs accept, media/{task_id}/{name}")]
    step_path: Annotated[str, Meta(description=_STEP_PATH)]
    name: Annotated[str, Meta(description="The last part of path")]
    media_type: str
    size: int
    sha256: str
    task_id: UUID
    final: Annotated[bool, Meta(description="Whether it belongs to the final result")]


class OutputListResponse(Struct, frozen=True):
    outputs: Annotated[
        list[OutputPublic], Meta(description="Those of the workflow's own steps first, then those of each sub-workflow")
    ]
