"""The context of a command over the API: its client, the ids of workflows, and its output.

What must hold:
- Each result is printed by `show`, `show_each` or `show_stream`, which need both forms of it: JSON and a text.
- Results go to stdout, all else to stderr. A closed pipe is no error.
- A text that others have chosen, like the name of a workflow, can't control the terminal: see `text_tables`.
- Every error ends the command with a message and an exit code. It never ends with a traceback.
"""

import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from functools import cached_property
from io import TextIOWrapper
from json import dumps
from time import time
from typing import TypeVar
from uuid import UUID

import click
from httpx import AsyncHTTPTransport, HTTPTransport
from msgspec import json
from rich.console import Console, RenderableType

from stepwell.basics.setting_names import TOKEN
from stepwell.cli.errors import FAILED, INTERRUPTED, MISUSED, NOT_FOUND, REFUSED, UNAVAILABLE, Refused
from stepwell.cli.outcome import fault_line
from stepwell.cli.output import print_result, write_result
from stepwell.cli.workflow_commands.endpoint import ConnectionOptions, Endpoint, find_endpoint, is_loopback
from stepwell.cli.workflow_commands.recent_workflows import LAST, SHORT, RecentWorkflows
from stepwell.cli.workflow_commands.text_tables import console_for, text_for
from stepwell.client import (
    AsyncStepwell,
    ConnectionFailed,
    Invalid,
    NotFound,
    RequestRefused,
    Stepwell,
    StepwellError,
    Unauthorized,
    UnexpectedResponse,
)
from stepwell.client.errors import UNKNOWN_PROBLEM

_TIMEOUT_S = 30.0
_RETRY_S = 2.0
_RESTART_S = 60.0
_NEWEST = 200
_ENCODER = json.Encoder(decimal_format="number")
_END_OF_ID = re.compile(rf"[0-9a-f-]{{{SHORT},36}}")
_SERVER_ERROR = 500
_WITHOUT_ROUTE = frozenset({404, 405, 501})  # how other servers refuse the paths and methods of the API
T = TypeVar("T")


def run_command(options: ConnectionOptions, command: "Callable[[CommandContext], int | None]", *, as_json: bool) -> int:
    """Run a command over the API. Returns its exit code. Raises `Refused`."""
    _set_encoding(as_json=as_json)
    with ExitStack() as stack:
        context = CommandContext(options, stack, as_json=as_json)
        try:
            return command(context) or 0
        except StepwellError as error:
            raise context.refusal_of(error) from error
        except KeyboardInterrupt:
            raise Refused(code=INTERRUPTED) from None
        except BrokenPipeError:  # nobody reads the rest
            return 0
        except OSError as error:
            raise Refused(str(error)) from error
        except click.Abort as abort:  # Ctrl-C or Ctrl-D at a prompt
            raise Refused(code=FAILED if isinstance(abort.__context__, EOFError) else INTERRUPTED) from None
        finally:
            context.store_shown_ids()


def _set_encoding(*, as_json: bool) -> None:
    """Let JSON be UTF-8 in every locale. Else a character that the locale lacks becomes "?"."""
    if isinstance(sys.stdout, TextIOWrapper):
        if as_json:
            sys.stdout.reconfigure(encoding="utf-8")
        else:
            sys.stdout.reconfigure(errors="replace")


class CommandContext:
    """The connection, the ids and the output of one command."""

    def __init__(self, options: ConnectionOptions, stack: ExitStack, *, as_json: bool) -> None:
        self.options, self.as_json = options, as_json
        self._stack, self._recent = stack, RecentWorkflows()
        self._shown_ids: dict[UUID, None] = {}
        self._submitted: UUID | None = None

    @cached_property
    def endpoint(self) -> Endpoint:
        """The service that the command is for. Raises `Refused`."""
        return find_endpoint(self.options, os.environ)

    def use_endpoint(self, url: str, token: str) -> None:
        """Connect to this service instead of the one that options, environment and profiles name."""
        self.endpoint = Endpoint(url, token, "URL")

    @cached_property
    def client(self) -> Stepwell:
        """The client for single requests. It reports soon that the service doesn't respond. Raises `Refused`."""
        return self._open(retry_s=_RETRY_S)

    @cached_property
    def patient_client(self) -> Stepwell:
        """The client for what takes long. It waits for a service that restarts. Raises `Refused`.

        A command makes its first request with `client`, because the address may be wrong.
        """
        return self._open(retry_s=_RESTART_S)

    def _open(self, *, retry_s: float) -> Stepwell:
        url, token = self.endpoint.url, self.endpoint.token
        # With its own transport, the client ignores the proxies of the environment.
        transport = HTTPTransport() if is_loopback(url) else None
        client = Stepwell(url, token=token or "", timeout_s=_TIMEOUT_S, retry_s=retry_s, transport=transport)
        return self._stack.enter_context(client)

    def async_client(self, *, retry_s: float) -> AsyncStepwell:
        """Return a client for a command with an event loop, which opens it. Raises `Refused`."""
        url, token = self.endpoint.url, self.endpoint.token
        transport = AsyncHTTPTransport() if is_loopback(url) else None
        return AsyncStepwell(url, token=token or "", timeout_s=_TIMEOUT_S, retry_s=retry_s, transport=transport)

    @cached_property
    def console(self) -> Console:
        """The console of stdout, for live displays. Results are printed by `show`."""
        return console_for(sys.stdout)

    @cached_property
    def messages(self) -> Console:
        """The console of stderr."""
        return console_for(sys.stderr)

    def show(self, value: T, render: Callable[[T], RenderableType]) -> None:
        """Print a result: *value*, a struct of the API, as JSON; or else what *render* makes of it."""
        print_result(_json_line(value) if self.as_json else text_for(self.console, render(value)))

    def show_each(self, values: Iterable[T], render: Callable[[Sequence[T]], RenderableType]) -> None:
        """Print results: each as a line of JSON, as it comes; or else what *render* makes of all of them."""
        if not self.as_json:
            print_result(text_for(self.console, render(list(values))))
            return
        with suppress(BrokenPipeError):  # nobody reads the rest
            for value in values:
                write_result(_json_line(value))

    def show_stream(self, values: Iterable[T], render: Callable[[T], RenderableType]) -> None:
        """Print results: each as it comes, as a line of JSON or as what *render* makes of it."""
        with suppress(BrokenPipeError):  # nobody reads the rest
            for value in values:
                write_result(_json_line(value) if self.as_json else text_for(self.console, render(value)))

    def report(self, *lines: RenderableType) -> None:
        """Print lines for people to stderr, without a prefix. Failures are ignored."""
        with suppress(OSError):
            self.messages.print(*lines, sep="\n", soft_wrap=True)

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before something is deleted, unless *yes*. Raises `Refused` unless the user agrees."""
        if yes:
            return
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise Refused("nothing was changed: without a terminal, this needs --yes", code=MISUSED)
        if not click.confirm(question, err=True):
            raise Refused("nothing was changed", code=FAILED)

    def remember(self, *ids: UUID, submitted: UUID | None = None) -> None:
        """Store the ids of the workflows that the command shows. Later commands then accept their last characters."""
        self._shown_ids |= dict.fromkeys(ids)
        self._submitted = submitted or self._submitted

    def store_shown_ids(self) -> None:
        """Write the ids that the command has shown into the user's state folder."""
        if self._shown_ids or self._submitted:
            self._recent.add(self.endpoint.url, self._shown_ids, submitted=self._submitted)

    def refusal_of(self, error: StepwellError) -> Refused:
        """Return the `Refused` that ends the command after an error of the client."""
        url, token = self.endpoint.url, self.endpoint.token
        return Refused(*error_lines(error, url, has_token=token is not None), code=exit_code(error))

    def workflow_id(self, text: str) -> UUID:
        """Return the id of a workflow that *text* names: a whole id, its end, or `@last`. Raises `Refused`.

        The command shows this workflow.
        """
        self.remember(found := self._named_id(text))
        return found

    def _named_id(self, text: str) -> UUID:
        if text == LAST:
            last = self._recent.last_submitted(self.endpoint.url)
            if last is None:
                raise Refused(f"no workflow was submitted to {self.endpoint.url} from here", code=NOT_FOUND)
            return last
        with suppress(ValueError):
            return UUID(text)
        end = text.lower()
        if _END_OF_ID.fullmatch(end) is None:
            raise Refused(
                f"{text}: Expected the id of a workflow, its last {SHORT} or more characters, or {LAST}", code=MISUSED
            )
        url = self.endpoint.url
        candidates = _ids_ending_with(self._recent.recent_ids(url), end) or _ids_ending_with(self._newest, end)
        if not candidates:
            raise Refused(
                f"no workflow's id ends with {end}, among those shown lately and the newest {_NEWEST} of {url}",
                code=NOT_FOUND,
            )
        if len(candidates) > 1:
            raise Refused(f"{end} is the end of several ids:", *map(str, candidates), code=MISUSED)
        return candidates[0]

    def workflow_ids(self, texts: Iterable[str]) -> list[UUID]:
        """Return the ids that *texts* name, each once. Raises `Refused`."""
        return list(dict.fromkeys(map(self.workflow_id, texts)))

    @cached_property
    def _newest(self) -> list[UUID]:
        page = self.client.page(
            limit=_NEWEST, include_steps=False, include_results=False, include_deleted=True, total=False
        )
        return [workflow.id for workflow in page.workflows]


def utc_now() -> datetime:
    """Return the time of this machine, which may differ from the service's."""
    return datetime.fromtimestamp(time(), UTC)


def _json_line(value: object) -> str:
    """Return *value* as JSON. Escapes stand for characters that might control a terminal: parsers read the same."""
    text = _ENCODER.encode(value).decode()
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else dumps(each)[1:-1] for each in text)


def _ids_ending_with(ids: Iterable[UUID], end: str) -> list[UUID]:
    return [workflow_id for workflow_id in ids if str(workflow_id).endswith(end)]


def exit_code(error: StepwellError) -> int:
    if _is_of_another_server(error):
        return UNAVAILABLE
    if isinstance(error, NotFound):
        return NOT_FOUND
    if isinstance(error, ConnectionFailed) or (error.status or 0) >= _SERVER_ERROR:
        return UNAVAILABLE
    return REFUSED if isinstance(error, RequestRefused) else FAILED


def _is_of_another_server(error: StepwellError) -> bool:
    """Return whether the response isn't one of Stepwell's API, so that the address may be wrong."""
    if isinstance(error, UnexpectedResponse):
        return True
    problem = error.problem
    return problem is not None and problem.type == UNKNOWN_PROBLEM and problem.status in _WITHOUT_ROUTE


def error_lines(error: StepwellError, url: str, *, has_token: bool) -> list[str]:
    """Return the message of an error of the client. *url* is the address of the service."""
    if isinstance(error, Invalid) and error.faults:
        return ["the service refuses this:", *map(fault_line, error.faults)]
    if isinstance(error, RequestRefused) and error.problem is not None:
        lines = [f"{error.problem.title}: {error.problem.detail}".rstrip(": ")]
    else:
        lines = [str(error)]
    if isinstance(error, Unauthorized) and not has_token:
        lines.append(f"no token was sent to {url}: use --token, {TOKEN} or `stepwell login {url}`")
    if _is_of_another_server(error):
        lines.append(f"is {url} the address of a Stepwell service, and of this version?")
    return lines
