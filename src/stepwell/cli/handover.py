"""`stepwell run` beside a running `stepwell up` of the same data folder: that `up` runs the definition.

What must hold:
- The definition is created at most once: every try to post it has the same Idempotency-Key, and once it has been sent
  it isn't run in any other way.
- The token goes only to the process that owns the data folder.
- Every wait has a deadline, and ends when that `up` does.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from uuid import UUID, uuid4

import httpx
from msgspec import DecodeError, Raw, Struct, json

from stepwell.cli.folder import read_address, read_token
from stepwell.cli.outcome import Outcome, invalid_definition, print_outcome
from stepwell.cli.output import complain
from stepwell.cli.postgres import UP, server_on
from stepwell.cli.progress import progress_display
from stepwell.cli.refusal import Refused
from stepwell.cli.tokens import make_token
from stepwell.domain.errors import Fault
from stepwell.domain.model import EventType, HistoryEvent, Output, WorkflowStatus
from stepwell.domain.notices import TERMINAL
from stepwell.settings import Settings

_API = "/api/v1/workflows/"
_START_S = 360.0  # recovery after a crash may have a gigabyte of log to replay
_ANSWER_S = 60.0
_PAUSE_S = 0.1
_TIMEOUT = httpx.Timeout(30.0, connect=5.0)  # a stream sends a heartbeat each 15 s
_TYPES = frozenset(EventType)


class UpEnded(Exception):
    """The `stepwell up` of the data folder has ended, and nothing was sent to it."""


class _Created(Struct):
    id: UUID
    total_steps: int


class _Ended(Struct):
    status: WorkflowStatus
    final_step_result: Raw
    errors: tuple[str, ...]


class _Task(Struct):
    outputs: list[Output]


class _Tasks(Struct):
    tasks: list[_Task]


class _Refusal(Struct):
    """A problem document, or the contract's 422 with a list of faults."""

    detail: list[Fault] | str


async def hand_over(settings: Settings, data: bytes) -> int:
    """Have the `up` on the data folder run the definition *data* and print its outcome; the exit code.

    Raises `Refused`, and `UpEnded`, after which the definition may be run in another way. If it is cancelled, the
    workflow goes on.
    """
    async with httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False) as client:
        up = _RunningUp(settings, client)
        try:
            return print_outcome(await up.run(data))
        except UpEnded:
            if not up.posted:
                raise
            raise Refused(f"the `stepwell up` on {settings.data_dir} has ended: {up.whereabouts()}") from None
        except asyncio.CancelledError:
            if up.posted:
                complain(f"stopped following: {up.whereabouts()}")
            raise


class _RunningUp:
    """The `stepwell up` that owns the data folder, by its API."""

    def __init__(self, settings: Settings, client: httpx.AsyncClient) -> None:
        self.posted = False
        self._workflow_id: UUID | None = None
        self._settings, self._client = settings, client
        self._folder, self._server = settings.data_dir, server_on(settings)
        self._tokens = self._offered_tokens()
        self._token: str | None = None
        self._answer = ""  # what the last try was answered, if that was to come back later
        self._deadline = 0.0

    async def run(self, data: bytes) -> Outcome:
        created = await self._create(data)
        self._workflow_id = created.id
        with progress_display(created.total_steps) as progress:
            await self._follow(created.id, progress.show)
        return await self._outcome(created.id)

    def whereabouts(self) -> str:
        """Where the definition is by now."""
        if not self.posted:
            return "nothing was sent to it"
        living = self._server.owned_by() == UP
        goes_on = "it goes on" if living else f"the next start on {self._folder} goes on"
        if self._workflow_id is None:
            return f"it may have created the workflow before it could answer; if so, {goes_on} with it"
        return f"{goes_on} with workflow {self._workflow_id}"

    async def _create(self, data: bytes) -> _Created:
        await self._send("GET", "/health/ready", within_s=_START_S)
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"stepwell-run-{uuid4()}"}
        self.posted = True
        answer = await self._send("POST", _API, headers=headers, content=data)
        created = json.decode(answer.content, type=_Created)
        complain(f"handed over to the `stepwell up` at {_base(answer)}: workflow {created.id}")
        return created

    async def _outcome(self, workflow_id: UUID) -> Outcome:
        ended = await self._send("GET", f"{_API}{workflow_id}", params={"include_steps": "false"})
        made = await self._send("GET", f"{_API}{workflow_id}/tasks")
        paths = [output.path for task in json.decode(made.content, type=_Tasks).tasks for output in task.outputs]
        found = json.decode(ended.content, type=_Ended)
        result = None if bytes(found.final_step_result) == b"null" else found.final_step_result
        files = [self._file(path, ended.url) for path in paths]
        return Outcome(workflow_id, found.status, result, found.errors, files)

    def _file(self, path: str, base: httpx.URL) -> str:
        local = self._settings.artifacts.absolute() / path
        return str(local) if local.is_file() else str(base.join(f"/api/v1/artifacts/{path}"))

    async def _follow(self, workflow_id: UUID, show: Callable[[HistoryEvent], None]) -> None:
        """Show the workflow's events until its end; a stream that breaks off is resumed after the last one."""
        last = 0
        async for address in self._tries(_ANSWER_S):
            headers = {"Accept": "text/event-stream", "Last-Event-ID": str(last), **self._authorization()}
            url = f"{address}{_API}{workflow_id}/events"
            with suppress(httpx.TransportError):
                async with self._client.stream("GET", url, headers=headers) as answer:
                    if answer.status_code == HTTPStatus.NO_CONTENT:
                        return
                    if answer.status_code != HTTPStatus.OK:
                        await answer.aread()
                        self._check(answer)
                        continue
                    async for event in self._events(answer):
                        last = event.id
                        show(event)
                        if event.type in TERMINAL:
                            return

    async def _events(self, stream: httpx.Response) -> AsyncIterator[HistoryEvent]:
        """The events of a stream; their data is one line each."""
        kind = ""
        async for line in stream.aiter_lines():
            self._heard(_ANSWER_S)
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            elif name == "data" and kind in _TYPES:  # an `up` of another version may have more of them
                yield json.decode(value, type=HistoryEvent)

    async def _send(self, method: str, path: str, within_s: float = _ANSWER_S, **rest: Any) -> httpx.Response:
        """The answer, which is a success. Raises `UpEnded`, and `Refused`."""
        headers = rest.pop("headers", {})
        async for address in self._tries(within_s):
            with suppress(httpx.TransportError):
                url = f"{address}{path}"
                answer = await self._client.request(method, url, headers={**headers, **self._authorization()}, **rest)
                if answer.is_success:
                    return answer
                self._check(answer)
        raise AssertionError("tries end with an exception")

    def _check(self, answer: httpx.Response) -> None:
        """Raise `Refused` unless it makes sense to try again."""
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            self._token = next(self._tokens, None)
            if self._token is None:
                raise Refused(
                    f"the `stepwell up` at {_base(answer)} accepts no token that {self._folder} "
                    "offers, because it has a key of its own: post the definition to it with a token of yours"
                )
            return
        try:
            detail = json.decode(answer.content, type=_Refusal).detail
        except DecodeError:
            detail = answer.reason_phrase
        if not isinstance(detail, str):
            raise invalid_definition(detail)
        self._answer = f"answers {answer.status_code}: {detail}"
        if "retry-after" not in answer.headers:
            raise Refused(f"the `stepwell up` on {self._folder} {self._answer}")

    def _authorization(self) -> dict[str, str]:
        if self._token is None:  # not before there is an address: the first `up` on a folder has made a secret by then
            self._token = next(self._tokens, None)
        return {} if self._token is None else {"Authorization": f"Bearer {self._token}"}

    def _offered_tokens(self) -> Iterator[str]:
        """What the folder offers: the token in it, and for when that has expired one that its secret signs."""
        if token := read_token(self._folder):
            yield token
        with suppress(Refused):
            yield make_token(self._settings, tenant=None, every=True, scopes=(), subject="stepwell run")

    def _heard(self, within_s: float) -> None:
        self._deadline = asyncio.get_running_loop().time() + within_s

    async def _tries(self, within_s: float) -> AsyncIterator[str]:
        """Its address for one try after the other, with pauses, until *within_s* have passed without a sign of life.

        Then raises `Refused`, and `UpEnded` as soon as nobody, or another command, owns the folder.
        """
        self._heard(within_s)
        told = False
        while self._server.owned_by() == UP:
            address, self._answer = read_address(self._folder), ""
            if address is not None:
                yield address
            if asyncio.get_running_loop().time() > self._deadline:
                where = f"at {address}" if address else f"on {self._folder}"
                said = f"still {self._answer}" if self._answer else "doesn't answer"
                raise Refused(f"the `stepwell up` {where} {said}: {self.whereabouts()}")
            if not told:
                told = True
                complain(
                    f"waiting for the `stepwell up` on {self._folder}" + (self._answer and f", which {self._answer}")
                )
            await asyncio.sleep(_PAUSE_S)
        raise UpEnded


def _base(answer: httpx.Response) -> str:
    return str(answer.url.copy_with(path="/", query=None)).rstrip("/")
