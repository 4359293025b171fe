# Generated from the asynchronous client by `poe generate`: don't change it.
"""The operations on files: uploads, and the outputs of workflows."""

from __future__ import annotations

from contextlib import closing
from os import PathLike
from pathlib import Path

import httpx

from stepwell.client.concurrency import Items, sync_call, sync_sleep
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
from stepwell.client.synchronous.history import HistoryCalls
from stepwell.client.transfers import Content, DownloadTarget, UploadSource, target_path
from stepwell.contract.files import ArtifactLink, ArtifactListResponse, ArtifactPublic, PresignedPut, UploadResponse
from stepwell.contract.workflows import OutputListResponse, OutputPublic

_ARTIFACTS = "/api/v1/artifacts"
_CHUNK = 256 * 1024
_PAGE = 100
_PARTIAL = 206


class FileCalls(HistoryCalls):
    """The operations on files."""

    def upload(
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
        response = self._send(request, body=lambda: _chunks_of(source))
        return _only_file(decode(response, UploadResponse))

    def presign_upload(self, size: int, name: str | None = None) -> PresignedPut:
        """Return a URL of the bucket to which a file of *size* bytes may be sent. Then call `complete_upload`."""
        query = {"presign": True, "size": size, "name": name}
        response = self._send(ClientRequest(method="POST", path=_ARTIFACTS, query=query))
        presigned = decode(response, UploadResponse).presigned
        if not isinstance(presigned, PresignedPut):
            raise UnexpectedResponse("the response to an upload has no URL of the bucket")
        return presigned

    def complete_upload(self, upload_id: Id) -> ArtifactPublic:
        """Let the service examine the file that was sent to the URL of `presign_upload`."""
        response = self._send(ClientRequest(method="POST", path=f"{_ARTIFACTS}/{segment(upload_id)}/complete"))
        return _only_file(decode(response, UploadResponse))

    def uploads(self) -> Items[ArtifactPublic]:
        """Yield the uploaded files, newest first. They may be deleted meanwhile."""
        yielded, skip, total = set[str](), 0, 0
        while True:
            response = self._send(read(_ARTIFACTS, {"skip": skip, "limit": _PAGE}))
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

    def delete_upload(self, path: str) -> ArtifactPublic:
        """Delete an uploaded file that no workflow names. The request isn't repeated."""
        return self._fetch(ArtifactPublic, ClientRequest(method="DELETE", path=artifact_path(path)))

    def link(self, path: str, ttl_s: int | None = None) -> ArtifactLink:
        """Return a signed URL of a file, for anyone. It is valid for *ttl_s*."""
        content = json_body({"path": path} | ({} if ttl_s is None else {"ttl_s": ttl_s}))
        return self._fetch(ArtifactLink, post_read(f"{_ARTIFACTS}/links", content))

    def outputs(self, workflow_id: Id, *, page_size: int = 200) -> Items[OutputPublic]:
        """Yield the files of the results of a workflow, of its items and of its sub-workflows at any depth.

        The files of its own steps come first. A page of *page_size* is read when it is needed.
        """
        for response in self._pages(workflow_path(workflow_id, "/outputs"), {"limit": page_size}):
            yield from decode(response, OutputListResponse).outputs

    def download_outputs(self, workflow_id: Id, target: str | PathLike[str]) -> Path:
        """Write a ZIP of all outputs to the file or into the folder *target*, and return where it is. It appears there
        when it is complete. A download that is cut off raises an error, and isn't continued.
        """
        request = read(workflow_path(workflow_id, "/outputs"), headers={"Accept": "application/zip"})
        file = DownloadTarget(target_path(target, f"{workflow_id}.zip"))
        with file:
            with self._stream(request) as response:
                for chunk in response.iter_bytes():
                    sync_call(file.write, chunk)
            file.finish()
        return file.path

    def download(self, path: str, *, width: int | None = None) -> bytes:
        """Return a file. *width*: a preview of an image, at most 64, 256, 512 or 1024 pixels wide and high."""
        with closing(self.chunks(path, width=width)) as chunks:
            return b"".join(list(chunks))

    def download_to(self, path: str, target: str | PathLike[str], *, width: int | None = None) -> Path:
        """Write a file to the file or into the folder *target*, and return where it is. It appears there when it is
        complete.
        """
        file = DownloadTarget(target_path(target, path.rpartition("/")[2]))
        with closing(self.chunks(path, width=width)) as chunks, file:
            for chunk in chunks:
                sync_call(file.write, chunk)
            file.finish()
        return file.path

    def chunks(self, path: str, *, width: int | None = None) -> Items[bytes]:
        """Yield a file in chunks. A connection that is lost is replaced, and the file continues where it was."""
        retries = Retries(self._retry_s)
        position, tag = 0, ""
        while True:
            part = {"Range": f"bytes={position}-", "If-Range": tag} if position else {}
            request = read(artifact_path(path), {"w": width}, headers={"Accept-Encoding": "identity", **part})
            try:
                with self._stream(request) as response:
                    if position and not _is_rest(response, position):
                        raise UnexpectedResponse(f"{path} has changed while it was downloaded")
                    # A position in an encoded file isn't one of the file.
                    tag = "" if "Content-Encoding" in response.headers else response.headers.get("ETag", "")
                    for chunk in response.iter_bytes():
                        retries.reset()
                        position += len(chunk)
                        yield chunk
                    return
            except StepwellError as failure:
                pause = retries.pause_after(failure, is_repeatable=tag != "" or not position)
            sync_sleep(pause)


def _is_rest(response: httpx.Response, position: int) -> bool:
    """True if the body begins at *position* of the file."""
    content_range: str = response.headers.get("Content-Range", "")
    return response.status_code == _PARTIAL and content_range.startswith(f"bytes {position}-")


def _chunks_of(source: UploadSource) -> Items[bytes]:
    file, count = sync_call(source.open), 0
    try:
        while chunk := sync_call(file.read, _CHUNK):
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
