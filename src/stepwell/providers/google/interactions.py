"""Interactions of the Gemini API, in the background: how Gemini Omni makes films.

https://ai.google.dev/gemini-api/docs/omni and https://ai.google.dev/gemini-api/docs/interactions; the statuses, the
steps of an answer and the cancel are as in Google's own SDK, https://github.com/googleapis/python-genai. Files of the
Gemini API are kept for 48 hours (https://ai.google.dev/gemini-api/docs/files).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from stepwell.domain.errors import AttemptError, CallFailed, OutcomeUnknown
from stepwell.outbound.sanitise import sanitised
from stepwell.ports.providers import CancelAnswer, Job, JobState, JobStatus
from stepwell.providers.google.session import SUCCESS, GoogleSession
from stepwell.providers.google.video_operations import OperationVideo

_ID = re.compile(r"[A-Za-z0-9_-]{1,500}")
# What says nothing about the interaction: the key is wrong, or it is too much at once.
_CANCEL_ANSWERS = SUCCESS | (frozenset(range(400, 500)) - {401, 403, 408, 425, 429})
_GONE = frozenset({404, 410})
_COMPLETED, _CANCELLED = "completed", "cancelled"
_FAILED = frozenset({"failed", "incomplete", "budget_exceeded", "requires_action", "continuation_required"})
_SAFETY = re.compile(r"safety|prohibited|blocked|policy|invalid", re.IGNORECASE)
_PARAMETER = "?"
_COUNTS = {
    "input_tokens": "total_input_tokens",
    "output_tokens": "total_output_tokens",
    "total_tokens": "total_tokens",
}


class _Created(Struct):
    id: str


class _Interaction(Struct):
    status: str
    steps: Any = None
    error: Any = None
    errors: Any = None
    usage: Any = None


class Interactions:
    """*name* is how messages call the provider, *url* the address of them all."""

    def __init__(self, name: str, url: str) -> None:
        self._name, self._url = name, url

    def has(self, job: Job) -> bool:
        """Whether the job is one of them; names of operations have slashes."""
        return _ID.fullmatch(job.id) is not None

    async def create(self, session: GoogleSession, body: bytes) -> Job:
        """Raises as `Provider.submit`."""
        job = Job(id=(await session.submit(self._url, body, _Created)).id)
        if not self.has(job):
            raise OutcomeUnknown(f"{self._name}: the id of the interaction can't be read")
        return job

    async def state(self, session: GoogleSession, job: Job) -> JobState:
        found = await self._get(session, job)
        word = sanitised(found.status, 100)
        if found.status == _COMPLETED:
            if _film(found) is None:
                # The model has answered in words: most likely that it won't.
                why = sanitised(session.scrubbed(f"{self._name}: no film: {_said(found) or 'no reason given'}"), 400)
                return JobState(status=JobStatus.FAILED, word=word, error=why, retryable=False)
            return JobState(status=JobStatus.SUCCEEDED, word=word)
        if found.status == _CANCELLED:
            return JobState(status=JobStatus.CANCELLED, word=word)
        if found.status in _FAILED:
            said = _problem(found) or f"the interaction is {found.status}"
            why = sanitised(session.scrubbed(f"{self._name}: {said}"), 400)
            retryable = found.status == "failed" and not _SAFETY.search(said)
            return JobState(status=JobStatus.FAILED, word=word, error=why, retryable=retryable)
        return JobState(status=JobStatus.RUNNING, word=word)

    async def film(self, session: GoogleSession, job: Job) -> tuple[OperationVideo, dict[str, Any]]:
        """The film, and what else a step's result says. Raises `CallFailed` while it isn't completed."""
        found = await self._get(session, job)
        if found.status != _COMPLETED:
            raise CallFailed(sanitised(f"{self._name}: the interaction is {found.status}, not completed", 200))
        film = _film(found)
        if film is None:
            raise AttemptError(f"{self._name}: the interaction gave no film", retryable=False)
        return film, _usage(found.usage)

    async def cancel(self, session: GoogleSession, job: Job) -> CancelAnswer:
        answer = await session.call("POST", f"{self._url}/{job.id}/cancel", b"", ok=_CANCEL_ANSWERS)
        if not answer.is_success:
            if session.words(answer) is None:
                raise CallFailed(f"{self._name} answered the cancel {answer.status}, without words of its own")
            return CancelAnswer.UNKNOWN_JOB if answer.status in _GONE else CancelAnswer.REFUSED
        status = session.readable(answer, _Interaction).status
        return CancelAnswer.ENDED if status == _COMPLETED or status in _FAILED else CancelAnswer.ACCEPTED

    async def _get(self, session: GoogleSession, job: Job) -> _Interaction:
        return session.readable(await session.call("GET", f"{self._url}/{job.id}"), _Interaction)


def _film(found: _Interaction) -> OperationVideo | None:
    for content in _contents(found):
        if content.get("type") != "video":
            continue
        if isinstance(uri := content.get("uri"), str) and uri:
            # A file's address names the file; its bytes are asked for by a parameter.
            return OperationVideo(uri=uri if _PARAMETER in uri else f"{uri}?alt=media")
        if isinstance(text := content.get("data"), str) and text:
            return OperationVideo(text=text)
    return None


def _said(found: _Interaction) -> str:
    texts = (content.get("text") for content in _contents(found) if content.get("type") == "text")
    return " ".join(text for text in texts if isinstance(text, str))


def _contents(found: _Interaction) -> Iterator[Mapping[str, Any]]:
    for step in _listed(found.steps):
        if step.get("type") == "model_output":
            yield from _listed(step.get("content"))


def _problem(found: _Interaction) -> str:
    errors = [*_listed(found.errors), *_listed([found.error])]
    return "; ".join(error["message"] for error in errors if isinstance(error.get("message"), str))


def _usage(usage: Any) -> dict[str, Any]:
    names = {
        "input_tokens": "total_input_tokens",
        "output_tokens": "total_output_tokens",
        "total_tokens": "total_tokens",
    }
    if not isinstance(usage, Mapping):
        return {}
    counts = {name: usage[theirs] for name, theirs in names.items() if isinstance(usage.get(theirs), int)}
    return {"usage": counts} if counts else {}


def _listed(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
