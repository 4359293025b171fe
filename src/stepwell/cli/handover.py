"""`stepwell run` beside a running `stepwell up` of the same data folder: that `up` runs the definition.

What must hold:
- The definition is created at most once: every attempt to post it has the same Idempotency-Key, and after it has been
  sent it is never run in another way.
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

from stepwell.basics.errors import Fault
from stepwell.cli.data_folder import UP, read_address, read_token
from stepwell.cli.errors import REFUSED, UNAVAILABLE, Refused
from stepwell.cli.outcome import RunOutcome, invalid_definition, print_outcome, print_warnings
from stepwell.cli.output import print_message
from stepwell.cli.postgres import server_on
from stepwell.cli.run_progress import advice_of_service, progress_display
from stepwell.cli.tokens import make_token
from stepwell.client.responses import cursor_of
from stepwell.contract.enums import TERMINAL_EVENTS, EventType, WorkflowStatus
from stepwell.contract.problems import DefinitionWarning
from stepwell.lifecycle.model import HistoryEvent
from stepwell.settings import Settings

_API = "/api/v1/workflows/"
_START_S = 360.0  # crash recovery may replay a gigabyte of log
_RESPONSE_S = 60.0
_PAUSE_S = 0.1
_PAGE = 1_000
_TIMEOUT = httpx.Timeout(30.0, connect=5.0)  # a stream sends a heartbeat each 15 s
_TYPES = frozenset(EventType)


class UpEnded(Exception):
    """The `stepwell up` on the data folder has ended."""


class _Created(Struct):
    id: UUID
    total_steps: int
    warnings: tuple[DefinitionWarning, ...] = ()


class _Workflow(Struct):
    status: WorkflowStatus
    final_step_result: Raw
    errors: tuple[str, ...]


class _Output(Struct):
    path: str


class _Outputs(Struct):
    outputs: list[_Output]


class _Refusal(Struct):
    """A problem document, or the contract's 422 with a list of faults."""

    detail: list[Fault] | str


async def hand_over(settings: Settings, data: bytes) -> int:
    """Let the `up` on the data folder run the definition *data*, and print the outcome. Returns the exit code.

    Raises `Refused`, and `UpEnded` if the definition wasn't sent, so that it may be run in another way. If this is
    cancelled, the workflow continues.
    """
    async with httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False) as client:
        up = _UpClient(settings, client)
        try:
            return print_outcome(await up.run(data))
        except UpEnded:
            if not up.posted:
                raise
            ended = f"the `stepwell up` on {settings.data_dir} has ended: {up.describe_progress()}"
            raise Refused(ended, code=UNAVAILABLE) from None
        except asyncio.CancelledError:
            if up.posted:
                print_message(f"stopped following: {up.describe_progress()}")
            raise


class _UpClient:
    """A client of the `stepwell up` that owns the data folder."""

    def __init__(self, settings: Settings, client: httpx.AsyncClient) -> None:
        self.posted = False
        self._workflow_id: UUID | None = None
        self._settings, self._client = settings, client
        self._folder, self._server = settings.data_dir, server_on(settings)
        self._tokens = self._candidate_tokens()
        self._token: str | None = None
        self._refusal = ""  # the response to the last try, if it asks to try again later
        self._deadline = 0.0

    async def run(self, data: bytes) -> RunOutcome:
        created = await self._create(data)
        self._workflow_id = created.id
        with progress_display(created.total_steps, advice_of_service(created.id)) as progress:
            await self._follow(created.id, progress.show)
        return await self._outcome(created.id)

    def describe_progress(self) -> str:
        """Describe for a message what has happened to the definition."""
        if not self.posted:
            return "nothing was sent to it"
        is_alive = self._server.owner_command() == UP
        runner = "it" if is_alive else f"the next start on {self._folder}"
        if self._workflow_id is None:
            return f"it may have created the workflow without responding; if so, {runner} continues it"
        return f"{runner} continues workflow {self._workflow_id}"

    async def _create(self, data: bytes) -> _Created:
        await self._send("GET", "/health/ready", within_s=_START_S)
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"stepwell-run-{uuid4()}"}
        self.posted = True
        response = await self._send("POST", _API, headers=headers, content=data)
        created = json.decode(response.content, type=_Created)
        print_message(f"handed over to the `stepwell up` at {_base(response)}: workflow {created.id}")
        print_warnings(created.warnings)
        return created

    async def _outcome(self, workflow_id: UUID) -> RunOutcome:
        response = await self._send("GET", f"{_API}{workflow_id}", params={"include_steps": "false"})
        workflow = json.decode(response.content, type=_Workflow)
        result = None if bytes(workflow.final_step_result) == b"null" else workflow.final_step_result
        files = [self._file(path, response.url) for path in await self._output_paths(workflow_id)]
        return RunOutcome(workflow_id, workflow.status, result, workflow.errors, files)

    async def _output_paths(self, workflow_id: UUID) -> list[str]:
        paths, query = list[str](), {"limit": str(_PAGE)}
        while True:
            response = await self._send("GET", f"{_API}{workflow_id}/outputs", params=query)
            paths += [output.path for output in json.decode(response.content, type=_Outputs).outputs]
            cursor = cursor_of(response.links.get("next", {}).get("url"))
            if cursor is None:
                return paths
            query["cursor"] = cursor

    def _file(self, path: str, base: httpx.URL) -> str:
        local = self._settings.artifacts.absolute() / path
        return str(local) if local.is_file() else str(base.join(f"/api/v1/artifacts/{path}"))

    async def _follow(self, workflow_id: UUID, show: Callable[[HistoryEvent], None]) -> None:
        """Show the workflow's events until its end. A stream that breaks off is resumed after its last event."""
        last = 0
        async for address in self._addresses(_RESPONSE_S):
            headers = {"Accept": "text/event-stream", "Last-Event-ID": str(last), **self._authorization()}
            url = f"{address}{_API}{workflow_id}/events"
            with suppress(httpx.TransportError):
                async with self._client.stream("GET", url, headers=headers) as response:
                    if response.status_code == HTTPStatus.NO_CONTENT:
                        return
                    if response.status_code != HTTPStatus.OK:
                        await response.aread()
                        self._check(response)
                        continue
                    async for event in self._events(response):
                        last = event.id
                        show(event)
                        if event.type in TERMINAL_EVENTS:
                            return

    async def _events(self, stream: httpx.Response) -> AsyncIterator[HistoryEvent]:
        """Yield the events of *stream*. The data of each is one line."""
        kind = ""
        async for line in stream.aiter_lines():
            self._extend_deadline(_RESPONSE_S)
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            elif name == "data" and kind in _TYPES:  # an `up` of a later version may send other types
                yield json.decode(value, type=HistoryEvent)

    async def _send(self, method: str, path: str, within_s: float = _RESPONSE_S, **rest: Any) -> httpx.Response:
        """Send a request until it succeeds, and return its response. Raises `UpEnded`, and `Refused`."""
        headers = rest.pop("headers", {})
        async for address in self._addresses(within_s):
            with suppress(httpx.TransportError):
                url = f"{address}{path}"
                response = await self._client.request(method, url, headers={**headers, **self._authorization()}, **rest)
                if response.is_success:
                    return response
                self._check(response)
        raise AssertionError("tries end with an exception")

    def _check(self, response: httpx.Response) -> None:
        """Prepare another try after a response that is no success. Raises `Refused` if no try can succeed."""
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            self._token = next(self._tokens, None)
            if self._token is None:
                raise Refused(
                    f"the `stepwell up` at {_base(response)} accepts no token that {self._folder} "
                    "offers, because it verifies tokens with another key: use `stepwell submit` with a token of yours",
                    code=REFUSED,
                )
            return
        try:
            detail = json.decode(response.content, type=_Refusal).detail
        except DecodeError:
            detail = response.reason_phrase
        if not isinstance(detail, str):
            raise invalid_definition(detail)
        self._refusal = f"responds with {response.status_code}: {detail}"
        if "retry-after" not in response.headers:
            code = UNAVAILABLE if response.is_server_error else REFUSED
            raise Refused(f"the `stepwell up` on {self._folder} {self._refusal}", code=code)

    def _authorization(self) -> dict[str, str]:
        if self._token is None:  # only now, because an `up` that has written its address has made the secret
            self._token = next(self._tokens, None)
        return {} if self._token is None else {"Authorization": f"Bearer {self._token}"}

    def _candidate_tokens(self) -> Iterator[str]:
        """Yield the token in the folder, and then one signed with its secret, because the first may have expired."""
        if token := read_token(self._folder):
            yield token
        with suppress(Refused):
            yield make_token(self._settings, subject="stepwell run")

    def _extend_deadline(self, within_s: float) -> None:
        self._deadline = asyncio.get_running_loop().time() + within_s

    async def _addresses(self, within_s: float) -> AsyncIterator[str]:
        """Yield the address for each try, with pauses, until *within_s* seconds have passed without a response.

        Then raises `Refused`. Raises `UpEnded` as soon as no `up` owns the folder.
        """
        self._extend_deadline(within_s)
        waiting = False
        while self._server.owner_command() == UP:
            address, self._refusal = read_address(self._folder), ""
            if address is not None:
                yield address
            if not waiting:
                waiting = True
                print_message(
                    f"waiting for the `stepwell up` on {self._folder}" + (self._refusal and f", which {self._refusal}")
                )
            if asyncio.get_running_loop().time() > self._deadline:
                where = f"at {address}" if address else f"on {self._folder}"
                state = f"still {self._refusal}" if self._refusal else "doesn't respond"
                raise Refused(f"the `stepwell up` {where} {state}: {self.describe_progress()}", code=UNAVAILABLE)
            await asyncio.sleep(_PAUSE_S)
        raise UpEnded


def _base(response: httpx.Response) -> str:
    return str(response.url.copy_with(path="/", query=None)).rstrip("/")
