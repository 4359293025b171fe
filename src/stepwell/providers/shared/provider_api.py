"""Calls to a provider's API: bounded in time and size, without redirects. Failures raise the errors of the port.

A large answer is read to a temporary file first, and to memory once the attempt may hold it. So a provider never
waits for memory. An answer that may be paid for isn't lost while the attempt waits, even if the process ends.

The URLs here are the operator's own (base URLs from the settings), so they are trusted. URLs that a provider or a user
names go through `outbound.ssrf_guard` instead.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from tempfile import TemporaryFile
from typing import IO, TypeVar

import anyio
import httpx
from anyio import to_thread
from msgspec import Struct

from stepwell.basics.errors import AttemptError, CallFailed
from stepwell.definition.provider_descriptors import ProviderDescriptor
from stepwell.outbound.http_client import GONE, retry_after_s
from stepwell.outbound.sanitise import sanitised
from stepwell.ports.providers import AnswerHead, AnswerMemory, ErrorText
from stepwell.providers.shared.bounded_json import has_bounded_values, read_json
from stepwell.providers.shared.connection_errors import connection_message
from stepwell.providers.shared.credentials import Key
from stepwell.providers.shared.submit_outcomes import (
    SubmitOutcome,
    is_away,
    outcome_of_answer,
    outcome_of_error,
    raise_outcome,
)
from stepwell.runtime.memory import FREE_BYTES

T = TypeVar("T")
Part = tuple[str, tuple[str | None, bytes, str | None]]
"""The name of a field, and its file name, content and media type. A field without a file has None for both."""

_CHUNK = 1024 * 1024  # bytes
# The window of time in which `reconcile` looks for a job: a provider's clock may date a job up to `BEFORE` earlier or
# `AFTER` later than this service did in `Sent.at`.
BEFORE, AFTER = timedelta(seconds=60), timedelta(minutes=15)
UNAUTHORIZED = 401
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "stepwell"}
_JSON = {"Content-Type": "application/json"}
# The errors of a failed call. The type shows whether anything may have been sent.
_CALL_ERRORS = (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError, UnicodeError)


def encode_form(parts: Sequence[Part], boundary: str) -> tuple[str, bytes]:
    """Return the content type and the body of multipart/form-data (RFC 7578). The same parts give the same bytes.

    *boundary* must not occur in any content, so callers derive it by a hash. httpx takes it from the header.
    """
    content_type = f"multipart/form-data; boundary={boundary}"
    request = httpx.Request("POST", "http://unused", headers={"Content-Type": content_type}, files=list(parts))
    return content_type, request.read()


class AnswerSpool:
    """Stores an answer as it comes. Close it when done. `size` is the number of its bytes.

    What can't be written because the disk is full stays in memory: the answer may be paid for.
    """

    def __init__(self) -> None:
        self.size = 0
        self._small, self._tail = bytearray(), bytearray()
        self._file: IO[bytes] | None = None
        self._broken = False

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    async def write(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self.size <= FREE_BYTES:
            self._small += chunk
        elif self._broken:
            self._tail += chunk
        else:
            await to_thread.run_sync(self._write_to_file, chunk)

    async def read(self) -> bytes:
        return bytes(self._small) if self.size <= FREE_BYTES else await to_thread.run_sync(self._read)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the answer in chunks of up to a megabyte, without reading all of it to memory."""
        if self.size <= FREE_BYTES:
            yield bytes(self._small)
            return
        offset = 0
        while chunk := await to_thread.run_sync(self._read_at, offset):
            offset += len(chunk)
            yield chunk
        if self._tail:
            yield bytes(self._tail)

    def _read_at(self, offset: int) -> bytes:
        return b"" if self._file is None else os.pread(self._file.fileno(), _CHUNK, offset)

    def _write_to_file(self, chunk: bytes) -> None:
        rest = memoryview(chunk if self._file is not None else bytes(self._small) + chunk)
        try:
            if self._file is None:
                self._file = TemporaryFile(buffering=0)  # noqa: SIM115 - `close` closes it
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            self._broken = True
            self._tail += rest

    def _read(self) -> bytes:
        if self._file is None:
            return bytes(self._tail)
        self._file.seek(0)
        written = self._file.read()  # the only copy in memory, if all is in the file
        return written + self._tail if self._tail else written


class AnswerTooBig(CallFailed):
    """The answer is larger than the limit."""


class TooBig(httpx.ReadError):
    """The body of a response is larger than the limit, or has more JSON values than memory is meant for."""


class ApiAnswer(Struct, frozen=True):
    """A complete response of a provider's API."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300  # noqa: PLR2004 - by HTTP

    def read(self, kind: type[T]) -> T | None:
        """Decode the body as JSON of *kind*; None if it is anything else."""
        return read_json(self.body, kind)


def is_unauthorized(answer: ApiAnswer) -> bool:
    """Return whether the answer is a 401, by which every API refuses an unknown key. A 403 may be about a model."""
    return answer.status == UNAUTHORIZED


def key_refusal(key: Key) -> str:
    """Return the beginning of a message about an answer that refuses *key*."""
    return f"the key was refused (set {key.setting}): "


@contextmanager
def as_call_failed() -> Iterator[None]:
    """Raise `CallFailed` instead of `AttemptError`. For calls about a job, which continues without a key, too."""
    try:
        yield
    except AttemptError as error:
        raise CallFailed(str(error), retry_after_s=error.retry_after_s) from error


class ProviderApi:
    """A client for one provider's API.

    *client* is an `http_client.plain_client`. *name* is the provider's name in messages. *error_text* reads the errors
    that the provider documents. *timeout_s* is the deadline of a call. *work_s* is the deadline of a submit whose
    answer is the result itself. *max_answer* bounds an answer, in bytes.

    *key* is the credential in the callers' headers. Successes and answers for which *refuses_key* is true are reported
    to it. *setting* is the setting of the URL, for messages (default: that of *provider*).

    *answers* is the attempt's memory for answers. It is None for a call during which other attempts wait, for example
    for a lock: this call could wait for memory that those attempts hold.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        name: str,
        error_text: ErrorText,
        *,
        answers: AnswerMemory | None = None,
        timeout_s: float = 30.0,
        work_s: float | None = None,
        max_answer: int = 8 * 1024 * 1024,
        provider: ProviderDescriptor | None = None,
        key: Key | None = None,
        refuses_key: Callable[[ApiAnswer], bool] = is_unauthorized,
        setting: str | None = None,
    ) -> None:
        self._client, self.name, self._error_text, self._timeout_s = client, name, error_text, timeout_s
        self._submit_s, self.max_answer = work_s or timeout_s, max_answer
        self._answers = answers
        self._key, self._refuses_key, self._setting = key, refuses_key, setting
        self._public_hosts: tuple[str, ...] = ()
        if provider is not None:
            self._setting, self._public_hosts = setting or provider.url_setting, provider.public_hosts

    async def submit(  # noqa: RET503 - it ends by raising
        self, url: str, body: bytes, headers: Mapping[str, str], accepted: type[T]
    ) -> tuple[ApiAnswer, T]:
        """POST a job. Returns the answer and its body, decoded as *accepted*. Raises as `RemoteProvider.submit`."""
        try:
            answer = self._stored_answer() or await self._request(
                "POST", url, body, headers, self._submit_s, submits=True
            )
        except _CALL_ERRORS as error:
            connection = connection_message(error, url, self._setting, self._public_hosts)
            why = f"the submit was not sent: {connection}" if connection else f"the submit got {self._no_answer(error)}"
            raise_outcome(outcome_of_error(error), self.name, why)
        refusal = self._report_key(answer)
        content = answer.read(accepted) if answer.is_success else None
        words = None if answer.is_success else self._error_text(answer.body)
        again_s, readable = retry_after_s(answer.headers), content is not None or words is not None
        outcome = outcome_of_answer(answer.status, readable=readable, retry_after=again_s is not None)
        if outcome is SubmitOutcome.ACCEPTED and content is not None:
            return answer, content
        why = f"the submit was answered {answer.status}" + (f": {words}" if words else " without an error message")
        raise_outcome(outcome, self.name, refusal + why, again_s)

    async def call(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None, *, ok: frozenset[int]
    ) -> ApiAnswer:
        """Make any other call. Returns an answer with a status in *ok*, else raises `CallFailed`.

        The error is `forgotten` for a 404 or 410 whose body is an error as the provider documents it.
        """
        try:
            answer = await self._request(method, url, body, headers, self._timeout_s)
        except _CALL_ERRORS as error:
            kind = AnswerTooBig if isinstance(error, TooBig) else CallFailed
            why = connection_message(error, url, self._setting, self._public_hosts) or self._no_answer(error)
            raise kind(f"{self.name}: {why}", provider_away=outcome_of_error(error) is SubmitOutcome.AWAY) from error
        refusal = self._report_key(answer)
        if answer.status in ok:
            return answer
        words = self._error_text(answer.body)
        message = f"{self.name}: {refusal}it answered" if refusal else f"{self.name} answered"
        message += f" {answer.status}" + (f": {words}" if words else "")
        forgotten, again_s = answer.status in GONE and words is not None, retry_after_s(answer.headers)
        away = is_away(answer.status, retry_after=again_s is not None)
        raise CallFailed(sanitised(message), forgotten=forgotten, retry_after_s=again_s, provider_away=away)

    def readable(self, answer: ApiAnswer, kind: type[T]) -> T:
        """Decode the body of an answer to `call`. Raises `CallFailed` if it isn't of *kind*."""
        content = answer.read(kind)
        if content is None:
            raise CallFailed(f"{self.name}: its answer can't be read")
        return content

    def _no_answer(self, error: Exception) -> str:
        """Return the message for *error*, which came instead of an answer."""
        return f"no answer ({type(error).__name__})"

    def _report_key(self, answer: ApiAnswer) -> str:
        """Report to the key whether *answer* accepts it. Returns the beginning of a message if it doesn't, else ""."""
        if self._key is None:
            return ""
        if answer.is_success:
            self._key.report_accepted()
        elif self._refuses_key(answer):
            self._key.report_refused()
            return key_refusal(self._key)
        return ""

    async def _request(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
        timeout_s: float,
        *,
        submits: bool = False,
    ) -> ApiAnswer:
        # httpx's timeouts restart with each byte, so only this deadline ends a slow drip.
        before = min(timeout_s / 2, 10.0)
        with closing(AnswerSpool()) as spool:
            with anyio.fail_after(timeout_s):
                async with self._client.stream(
                    method,
                    url,
                    content=body,
                    headers={**_HEADERS, **({} if body is None else _JSON), **headers},
                    # Shorter than the deadline, so that a failed connection is known to have sent nothing.
                    timeout=httpx.Timeout(timeout_s, connect=before, pool=before),
                    follow_redirects=False,
                ) as response:
                    async for chunk in response.aiter_raw():
                        await spool.write(chunk)
                        if spool.size > self.max_answer:
                            raise TooBig("the answer is too big")
            if (memory := self._answers) is not None:
                if submits:
                    head = AnswerHead(response.status_code, dict(response.headers))
                    await memory.reserve_for_submit(spool.size, head, spool.chunks())
                else:
                    await memory.reserve(spool.size)
            answer = ApiAnswer(response.status_code, response.headers, await spool.read())
        if not await has_bounded_values(answer.body):
            raise TooBig("the answer has too many JSON values")
        return answer

    def _stored_answer(self) -> ApiAnswer | None:
        """Return the answer that an earlier process has stored for this submit; None if the submit must be sent."""
        if self._answers is None or (stored := self._answers.take_stored_answer()) is None:
            return None
        return ApiAnswer(stored.head.status, httpx.Headers(stored.head.headers), stored.body)
