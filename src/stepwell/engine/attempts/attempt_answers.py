"""Implements `ports.providers.AnswerMemory` for one attempt: the memory for its answers, and the stored answer.

What must hold:
- If the answer to a submit must wait for memory, it is stored as a file beside the artifacts, together with the
  request that is needed to interpret it. If the process ends meanwhile, the next one interprets it, and sends nothing.
- The file is deleted once the end of the attempt is committed, and not before.
- Only an answer that an earlier process has stored replaces a submit, and only once.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import structlog
from anyio import to_thread
from msgspec import Struct, json

from stepwell.basics.artifacts import UNREAD_ANSWER, artifact_path
from stepwell.basics.errors import ArtifactError, ArtifactGone, CallFailed
from stepwell.engine.attempts.attempt_control import AttemptControl
from stepwell.engine.attempts.attempt_memory import AttemptMemory
from stepwell.ports.artifacts import Artifacts
from stepwell.ports.providers import AnswerHead, ReceivedAnswer, Request

log = structlog.get_logger()


class _FileHead(Struct, frozen=True):
    """The first line of the file. The request's body follows, in `request_size` bytes, and then the answer's."""

    answer: AnswerHead
    model: str
    request_size: int
    answer_size: int


def answer_path(task_id: UUID) -> str:
    return artifact_path(task_id, UNREAD_ANSWER)


class AttemptAnswers:
    """The answers of one attempt. `has_file`: there is a stored answer, or may be."""

    def __init__(self, memory: AttemptMemory, control: AttemptControl, artifacts: Artifacts, task_id: UUID) -> None:
        self._memory, self._control, self._artifacts = memory, control, artifacts
        self._path = answer_path(task_id)
        self._request: Request | None = None
        self._stored: ReceivedAnswer | None = None
        self.has_file = False

    @contextmanager
    def submitting(self, request: Request) -> Iterator[None]:
        """Store answers within the context with *request*, to which they belong."""
        self._request = request
        try:
            yield
        finally:
            self._request = None

    async def reserve(self, size: int) -> None:
        await self._memory.take_answer(size)

    async def reserve_for_submit(self, size: int, head: AnswerHead, chunks: AsyncIterator[bytes]) -> None:
        with self._control.until_process_stops() as allow_stop:

            async def store() -> None:
                if self._request is not None and await self._store(self._request, size, head, chunks):
                    allow_stop()

            await self._memory.take_answer(size, store)

    async def _store(self, request: Request, size: int, head: AnswerHead, chunks: AsyncIterator[bytes]) -> bool:
        """Store the answer. Return False if the store fails: then the answer waits without being stored."""
        self.has_file = True
        body = await to_thread.run_sync(json.encode, request.body)
        line = json.encode(_FileHead(head, request.model, len(body), size)) + b"\n"

        async def content() -> AsyncIterator[bytes]:
            yield line + body
            async for chunk in chunks:
                yield chunk

        try:
            await self._artifacts.put_stream(self._path, content())
        except ArtifactError as error:
            log.warning("answer.not_stored", action="attempt", path=self._path, error=str(error))
            return False
        return True

    async def load(self) -> Request | None:
        """Read the answer that an earlier process has stored. Return its request; None if there is no such answer.

        Raises `CallFailed` if the store doesn't respond.
        """
        try:
            async with self._artifacts.stream(self._path) as chunks:
                self.has_file = True
                first = await anext(chunks)
                line, _, rest = first.partition(b"\n")
                head = json.decode(line, type=_FileHead)
                await self._memory.take_decoded(head.request_size + head.answer_size)
                content = rest + b"".join([chunk async for chunk in chunks])
        except ArtifactGone:
            return None
        except ArtifactError as error:
            raise CallFailed(str(error)) from error
        self._stored = ReceivedAnswer(head.answer, content[head.request_size :])
        body: dict[str, Any] = await to_thread.run_sync(json.decode, content[: head.request_size])
        return Request(model=head.model, body=body)

    @property
    def is_loaded(self) -> bool:
        """True if there is a loaded answer that has not replaced a submit yet."""
        return self._stored is not None

    def take_stored_answer(self) -> ReceivedAnswer | None:
        stored, self._stored = self._stored, None
        return stored
