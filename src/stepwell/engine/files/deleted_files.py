"""The refusal of a definition that names uploads which are being deleted."""

from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import json

from stepwell.basics.artifacts import named_tasks
from stepwell.basics.errors import Fault, InvalidRequest, UploadsGone
from stepwell.contract.definition import CreateWorkflow

_MESSAGE = "This names a file that is being deleted: upload it again"


@contextmanager
def refusing_deleted_files(request: CreateWorkflow) -> Iterator[None]:
    """Raise `InvalidRequest`, which lists the steps that name such files, instead of `UploadsGone`."""
    try:
        yield
    except UploadsGone as error:
        gone = {str(upload_id) for upload_id in error.upload_ids}
        places: list[tuple[str | int, ...]] = [
            ("body", "steps", index)
            for index, step in enumerate(request.steps)
            if named_tasks(json.encode(step).decode()) & gone
        ]
        if named_tasks(json.encode(request.inputs).decode()) & gone:
            places.append(("body", "inputs"))
        faults = [Fault(place, _MESSAGE, "file_invalid") for place in places or [("body", "config")]]
        raise InvalidRequest(faults) from error
