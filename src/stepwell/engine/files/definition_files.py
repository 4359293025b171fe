"""Stores the large data URIs of a new definition as uploads, so that rows, responses and events have their paths.

    definition ──► data URI ──► bytes ──► upload ──► path in the definition ──► workflow

What must hold:
- The files and rows of the uploads are there before the workflow is.
- If the workflow isn't stored, its new uploads are deleted, unless another workflow names them. After a crash in
  between, they expire like any other upload.
- A data URI that can't be an upload stays as it is, so that no definition is refused because of it.
- One data URI is decoded at a time in this process, in a thread. So the bytes of all requests together are bounded.
- A definition that names uploads which are being deleted is refused.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from uuid import UUID

from anyio import to_thread
from msgspec import json, structs

from stepwell.basics.artifacts import JSON, TEXT, named_tasks
from stepwell.basics.data_uris import decode_data
from stepwell.basics.errors import Fault, InvalidRequest, QuotaExceeded, Unavailable, UnsupportedFile, UploadsGone
from stepwell.contract.definition import CreateWorkflow
from stepwell.definition.validation.data_uri_inputs import LARGEST_INLINE, DataUriInput, large_data_uris
from stepwell.definition.validation.workflow import ValidatedWorkflow
from stepwell.engine.files.spooled_file import spooled_file
from stepwell.engine.files.uploads import StoredUpload, UploadService
from stepwell.rules.uploads import Uploader
from stepwell.runtime.fair_turns import FairTurns
from stepwell.runtime.offloop import off_loop

_AT_ONCE = 4  # data URIs of one definition
_LONGEST_HEAD = 1_000  # characters before the comma: to split millions would block the event loop
_MESSAGE = "This names a file that is being deleted: upload it again"


def may_have_files(planned: ValidatedWorkflow) -> bool:
    """Return whether the definition is large enough for a large data URI. Its size may be unknown."""
    return not 0 < planned.definition_bytes <= LARGEST_INLINE


class DefinitionFiles:
    def __init__(self, uploads: UploadService) -> None:
        self._uploads = uploads
        self._turns = FairTurns(1)

    @asynccontextmanager
    async def store(
        self, planned: ValidatedWorkflow, uploader: Uploader, workflow_id: UUID
    ) -> AsyncIterator[ValidatedWorkflow]:
        """Yield *planned* with the paths of uploads instead of large data URIs. Its request is changed in place.

        If the context raises, the new uploads are deleted. Raises `QuotaExceeded`, which names the place, and
        `ArtifactError` and `Unavailable`.
        """
        inputs = await off_loop(lambda: large_data_uris(planned.request), steps=len(planned.steps))
        uploads: list[StoredUpload] = []
        try:
            saved = await self._store_all(inputs, uploader, workflow_id, uploads)
            yield structs.replace(planned, definition_bytes=max(planned.definition_bytes - saved, 0))
        except BaseException as error:
            await self._uploads.take_back(upload for upload in uploads if upload.created)
            missing = error.__cause__.upload_ids if isinstance(error.__cause__, UploadsGone) else ()
            if any(upload.record.id in missing for upload in uploads):
                raise Unavailable("The same file as in a data URI is being deleted. Send the request again.") from error
            raise

    async def _store_all(
        self, inputs: Sequence[DataUriInput], uploader: Uploader, workflow_id: UUID, uploads: list[StoredUpload]
    ) -> int:
        """Store and replace each data URI. Return by how many characters that shortens the definition."""
        rest, saved = iter(inputs), 0

        async def store_rest() -> None:
            nonlocal saved
            for each in rest:
                if (path := await self._store(each, uploader, workflow_id, uploads)) is not None:
                    saved += len(each.uri) - len(path)
                    each.replace(path)

        try:
            async with asyncio.TaskGroup() as group:
                for number in range(min(_AT_ONCE, len(inputs))):
                    group.create_task(store_rest(), name=f"data URIs of {workflow_id} {number}")
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return saved

    async def _store(
        self, place: DataUriInput, uploader: Uploader, workflow_id: UUID, uploads: list[StoredUpload]
    ) -> str | None:
        """Store one data URI, and return its path; None if it stays as it is."""
        uri = place.uri
        comma = uri.find(",", 0, _LONGEST_HEAD)
        if comma < 0:
            return None
        declared, *parameters = (part.strip().lower() for part in uri[len("data:") : comma].split(";"))
        async with spooled_file(place.name) as file:
            async with self._turns.turn(uploader.tenant):
                data = await to_thread.run_sync(_decode, uri, comma + 1, "base64" in parameters)
                if not 0 < len(data) <= self._uploads.max_bytes:
                    return None
                await file.write(data)
                del data
            try:
                upload = await self._uploads.add(uploader, file, workflow_id)
            except UnsupportedFile:
                return None
            except QuotaExceeded as error:
                location = ".".join(map(str, place.loc))
                raise QuotaExceeded(f"{location}: the data URI would be stored as an upload. {error}") from error
        media_type = upload.record.contents.media_type
        if media_type in (JSON, TEXT) and media_type != declared:  # like SVG: the upload would lose the declared type
            if upload.created:
                await self._uploads.take_back([upload])
            return None
        uploads.append(upload)
        return upload.record.path


def _decode(uri: str, start: int, is_base64: bool) -> bytes:  # noqa: FBT001 - called in a thread
    """Return the bytes of a data URI; none if they can't be decoded."""
    try:
        return decode_data(uri[start:], is_base64=is_base64)
    except ValueError:
        return b""


@contextmanager
def refusing_deleted_files(request: CreateWorkflow) -> Iterator[None]:
    """Raise `InvalidRequest`, which lists the steps that name such files, instead of `UploadsGone`."""
    try:
        yield
    except UploadsGone as error:
        missing = {str(upload_id) for upload_id in error.upload_ids}
        places: list[tuple[str | int, ...]] = [
            ("body", "steps", index)
            for index, step in enumerate(request.steps)
            if named_tasks(json.encode(step)) & missing
        ]
        if named_tasks(json.encode(request.inputs)) & missing:
            places.append(("body", "inputs"))
        faults = [Fault(place, _MESSAGE, "file_invalid") for place in places or [("body", "config")]]
        raise InvalidRequest(faults) from error
