"""The operations on files: uploads, and the outputs of workflows."""

from __future__ import annotations

from contextlib import aclosing
from os import PathLike
from pathlib import Path

import httpx

from stepwell.client.asynchronous.history import AsyncHistoryCalls
from stepwell.client.concurrency import AsyncItems, async_call, async_sleep
from stepwell.client.errors import StepwellError, UnexpectedResponse
from stepwell.client.requests import (
    ClientRequest,
    Id,
    artifact_path,
    json_body,
    post_read,
    read,
    segment,
    workflow_path,
)
from stepwell.client.responses import decode
from stepwell.client.retries import Retries
from stepwell.client.transfers import Content, DownloadTarget, UploadSource, target_path
from stepwell.contract.files import ArtifactLink, ArtifactListResponse, ArtifactPublic, PresignedPut, UploadResponse
from stepwell.contract.workflows import OutputListResponse, OutputPublic

_ARTIFACTS = "/api/v1/artifacts"
_CHUNK = 256 * 1024
_PAGE = 100
_PARTIAL = 206


class AsyncFileCalls(AsyncHistoryCalls):
    """The operations on files."""

    async def upload(
        self, content: Content, name: str | None = None, *, origin_tenant_id: str | None = None
    ) -> ArtifactPublic:
        """Upload a file: a path, bytes, or a file that is open in binary mode. Its `path` is what inputs accept.

        It is sent in chunks, and again after a lost connection if the content can be read again. *name* is the name of
        the file; default: that of the path. *origin_tenant_id* is for tokens of all tenants.
        """
        source = UploadSource(content, name)
        length = {} if source.size is None else {"Content-Length": str(source.size)}
        request = ClientRequest(
            method="POST",
            path=_ARTIFACTS,
            query={"name": source.name or None, "origin_tenant_id": origin_tenant_id},
            headers={"Content-Type": "application/octet-stream", **length},
            is_repeatable=source.is_rewindable,  # the same bytes get the same path
        )
        response = await self._send(request, body=lambda: _chunks_of(source))
        return _only_file(decode(response, UploadResponse))

    async def presign_upload(self, size: int, name: str | None = None) -> PresignedPut:
        """Return a URL of the bucket to which a file of *size* bytes may be sent. Then call `complete_upload`."""
        query = {"presign": True, "size": size, "name": name}
        response = await self._send(ClientRequest(method="POST", path=_ARTIFACTS, query=query))
        presigned = decode(response, UploadResponse).presigned
        if not isinstance(presigned, PresignedPut):
            raise UnexpectedResponse("the response to an upload has no URL of the bucket")
        return presigned

    async def complete_upload(self, upload_id: Id) -> ArtifactPublic:
        """Let the service examine the file that was sent to the URL of `presign_upload`."""
        response = await self._send(ClientRequest(method="POST", path=f"{_ARTIFACTS}/{segment(upload_id)}/complete"))
        return _only_file(decode(response, UploadResponse))

    async def uploads(self) -> AsyncItems[ArtifactPublic]:
        """Yield the uploaded files, newest first. They may be deleted meanwhile."""
        yielded, skip, total = set[str](), 0, 0
        while True:
            response = await self._send(read(_ARTIFACTS, {"skip": skip, "limit": _PAGE}))
            page = decode(response, ArtifactListResponse)
            deletions, total = total - page.total, page.total
            if deletions > 0 and skip > 0:  # so the next files have moved forward
                skip = max(0, skip - deletions)
                continue
            for artifact in page.artifacts:
                if artifact.path not in yielded:
                    yielded.add(artifact.path)
                    yield artifact
            skip += len(page.artifacts)
            if len(page.artifacts) < _PAGE:
                return

    async def delete_upload(self, path: str) -> ArtifactPublic:
        """Delete an uploaded file that no workflow names. The request isn't repeated."""
        return await self._fetch(ArtifactPublic, ClientRequest(method="DELETE", path=artifact_path(path)))

    async def link(self, path: str, ttl_s: int | None = None) -> ArtifactLink:
        """Return a signed URL of a file, for anyone. It is valid for *ttl_s*."""
        content = json_body({"path": path} | ({} if ttl_s is None else {"ttl_s": ttl_s}))
        return await self._fetch(ArtifactLink, post_read(f"{_ARTIFACTS}/links", content))

    async def outputs(self, workflow_id: Id, *, page_size: int = 200) -> AsyncItems[OutputPublic]:
        """Yield the files of the results of a workflow, of its items and of its sub-workflows at any depth.

        The files of its own steps come first. A page of *page_size* is read when it is needed.
        """
        async for response in self._pages(workflow_path(workflow_id, "/outputs"), {"limit": page_size}):
            for output in decode(response, OutputListResponse).outputs:
                yield output

    async def download_outputs(self, workflow_id: Id, target: str | PathLike[str]) -> Path:
        """Write a ZIP of all outputs to the file or into the folder *target*, and return where it is. It appears there
        when it is complete. A download that is cut off raises an error, and isn't continued.
        """
        request = read(workflow_path(workflow_id, "/outputs"), headers={"Accept": "application/zip"})
        file = DownloadTarget(target_path(target, f"{workflow_id}.zip"))
        with file:
            async with self._stream(request) as response:
                async for chunk in response.aiter_bytes():
                    await async_call(file.write, chunk)
            file.finish()
        return file.path

    async def download(self, path: str, *, width: int | None = None) -> bytes:
        """Return a file. *width*: a preview of an image, at most 64, 256, 512 or 1024 pixels wide and high."""
        async with aclosing(self.chunks(path, width=width)) as chunks:
            return b"".join([chunk async for chunk in chunks])

    async def download_to(self, path: str, target: str | PathLike[str], *, width: int | None = None) -> Path:
        """Write a file to the file or into the folder *target*, and return where it is. It appears there when it is
        complete.
        """
        file = DownloadTarget(target_path(target, path.rpartition("/")[2]))
        async with aclosing(self.chunks(path, width=width)) as chunks:
            with file:
                async for chunk in chunks:
                    await async_call(file.write, chunk)
                file.finish()
        return file.path

    async def chunks(self, path: str, *, width: int | None = None) -> AsyncItems[bytes]:
        """Yield a file in chunks. A connection that is lost is replaced, and the file continues where it was."""
        retries = Retries(self._retry_s)
        position, tag = 0, ""
        while True:
            part = {"Range": f"bytes={position}-", "If-Range": tag} if position else {}
            request = read(artifact_path(path), {"w": width}, headers={"Accept-Encoding": "identity", **part})
            try:
                async with self._stream(request) as response:
                    if position and not _is_rest(response, position):
                        raise UnexpectedResponse(f"{path} has changed while it was downloaded")
                    # A position in an encoded file isn't one of the file.
                    tag = "" if "Content-Encoding" in response.headers else response.headers.get("ETag", "")
                    async for chunk in response.aiter_bytes():
                        retries.reset()
                        position += len(chunk)
                        yield chunk
                    return
            except StepwellError as failure:
                pause = retries.pause_after(failure, is_repeatable=tag != "" or not position)
            await async_sleep(pause)


def _is_rest(response: httpx.Response, position: int) -> bool:
    """True if the body begins at *position* of the file."""
    content_range: str = response.headers.get("Content-Range", "")
    return response.status_code == _PARTIAL and content_range.startswith(f"bytes {position}-")


async def _chunks_of(source: UploadSource) -> AsyncItems[bytes]:
    file, count = await async_call(source.open), 0
    try:
        while chunk := await async_call(file.read, _CHUNK):
            count += len(chunk)
            source.check(count)
            yield chunk
        source.check(count, is_end=True)
    finally:
        source.close(file)


def _only_file(response: UploadResponse) -> ArtifactPublic:
    if len(response.artifacts) != 1:
        raise UnexpectedResponse(f"the response to the upload of a file has {len(response.artifacts)} files")
    return response.artifacts[0]
